"""What the benchmark of OpenVLA-OFT times: logits, updates, their inputs and their FLOP."""

from __future__ import annotations

import torch
from common import Batch, Bench, sharpen
from record import linear_flops
from torch import Tensor, nn

from pushcut.errors import UserError
from pushcut.policies.lora import add_lora
from pushcut.policies.networks.attention import rotation
from pushcut.policies.networks.llama import LlamaBlock, LlamaSizes
from pushcut.policies.networks.openvla import PARALLEL_STOP, OpenVLANetwork, OpenVLASizes
from pushcut.policies.networks.vit import VisionTower, ViTBlock, ViTSizes

RANK, ALPHA = 32, 16
LAST_BLOCKS = 4

TINY = OpenVLASizes(
    dino=ViTSizes(width=32, depth=2, heads=4, mlp=64, prefix_tokens=5),
    siglip=ViTSizes(width=32, depth=2, heads=4, mlp=64),
    llm=LlamaSizes(64, 128, layers=2, heads=4, kv_heads=4, vocab_padded=320),
    image_size=28,
    bins=16,
    vocab_size=300,
)


def build(bench: Bench, sizes: OpenVLASizes) -> OpenVLANetwork:
    """Random weights, made where they stay and in the dtype they have; nothing is trained."""
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(bench.dtype)
    try:
        with bench.device:
            network = OpenVLANetwork(sizes)
    finally:
        torch.set_default_dtype(before)
    sharpen(network)
    return network.requires_grad_(False).eval()


def observation(sizes: OpenVLASizes, size: int, prompt: int, device: torch.device) -> Batch:
    """Random images (as both towers want them) and prompts, and what an update needs."""
    generator = torch.Generator(device).manual_seed(size)

    def normal(*shape: int) -> Tensor:
        return torch.randn(size, *shape, generator=generator, device=device)

    def words(below: int, length: int) -> Tensor:
        return torch.randint(below, (size, length), generator=generator, device=device)

    return {
        "pixel_values": normal(6 * sizes.num_images, sizes.image_size, sizes.image_size),
        "input_ids": words(sizes.vocab_size, prompt),
        "attention_mask": torch.ones(size, prompt, dtype=torch.long, device=device),
        "tokens": words(sizes.bins, sizes.slots),
        "advantage": normal(),
    }


def logits(network: OpenVLANetwork, batch: Batch) -> Tensor:
    return network(batch["pixel_values"], batch["input_ids"], batch["attention_mask"]).logits


def straightforward_logits(network: OpenVLANetwork, batch: Batch) -> Tensor:
    """Tokens in the order of their positions; of the logits of all words, those of actions."""
    seen, ids = network.patch_embeddings(batch["pixel_values"]), batch["input_ids"]
    llama, slots = network.language_model.model, network.sizes.slots
    said = llama.embed_tokens(ids)
    stop = llama.embed_tokens(ids.new_full((len(ids), 1), PARALLEL_STOP))
    empty = seen.new_zeros(len(seen), slots, seen.shape[-1])
    x = torch.cat((said[:, :1], seen, said[:, 1:], empty, stop), dim=1)
    place = torch.arange(x.shape[1], device=x.device).expand(len(x), -1)
    mask = torch.ones(len(x), 1, 1, x.shape[1], dtype=torch.bool, device=x.device)
    out = llama(x, rotation(place, network.sizes.llm.head_dim), mask)
    words = network.language_model.lm_head(llama.norm(out)).float()
    first = x.shape[1] - slots - 2
    last = network.sizes.vocab_size
    return words[:, first : first + slots, last - network.sizes.bins : last]


class Sampler:
    """Logits of the action tokens."""

    def __init__(self, network: OpenVLANetwork, how: str) -> None:
        self.network = network
        self.logits = straightforward_logits if how == "straightforward" else logits

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Tensor:
        return self.logits(self.network, batch)


class Update(Sampler):
    """Forward and backward pass of the policy gradient on one minibatch."""

    def __init__(self, network: OpenVLANetwork, how: str) -> None:
        super().__init__(network, how)
        self.trained = [p for p in network.parameters() if p.requires_grad]
        last = network.language_model.model.layers[-1]
        names = dict(last.named_parameters())
        # An adapter's first half has no gradient as long as its second half is zero.
        watched = [name for name in names if "q_proj" in name and "lora_A" not in name]
        self.watched = [names[name] for name in watched if names[name].requires_grad]

    @torch.enable_grad()
    def __call__(self, batch: Batch) -> Tensor:
        """Gradients of the last block's queries, each of length 1."""
        for parameter in self.trained:
            parameter.grad = None
        logprob = self.logits(self.network, batch).log_softmax(-1)
        chosen = logprob.gather(-1, batch["tokens"].unsqueeze(-1)).squeeze(-1)
        # Before the first update the old log-probability is this one.
        ratio = torch.exp(chosen - chosen.detach())
        (-(ratio * batch["advantage"].view(-1, 1)).mean()).backward()
        grads = [p.grad.float().flatten() for p in self.watched if p.grad is not None]
        return torch.cat([grad / grad.norm() for grad in grads])


def blocks_of(network: OpenVLANetwork) -> list[nn.Module]:
    return [part for part in network.modules() if isinstance(part, LlamaBlock | ViTBlock)]


def flops(network: OpenVLANetwork, prompt: int) -> tuple[int, int]:
    """Of a decision, and of one of Llama's blocks in it."""
    sizes, vision = network.sizes, network.vision_backbone
    seen = linear_flops([network.projector]) * sizes.patches
    for tower in (vision.featurizer, vision.fused_featurizer):
        tokens = sizes.patches + tower.sizes.prefix_tokens
        seen += linear_flops([tower.patch_embed]) * sizes.patches
        seen += linear_flops(list(tower.blocks)[:-1]) * tokens
        seen += 4 * tokens**2 * tower.sizes.width * (tower.sizes.depth - 1)
    tokens = sizes.num_images * sizes.patches + prompt + sizes.slots + 1
    block = linear_flops([network.language_model.model.layers[0]]) * tokens
    block += 4 * tokens**2 * sizes.llm.hidden
    head = 2 * sizes.bins * sizes.llm.hidden * sizes.slots
    return sizes.num_images * seen + sizes.llm.layers * block + head, block


def train_part(network: OpenVLANetwork) -> str:
    """Decides what is trained, and says it: adapters where peft is installed and works."""
    llama = network.language_model.model
    parts = (network.vision_backbone, network.projector, llama)
    try:
        with torch.device(llama.norm.weight.device):
            for part in parts:
                add_lora(part, rank=RANK, alpha=ALPHA)
    except (UserError, ImportError, RuntimeError) as error:
        for block in list(llama.layers)[-LAST_BLOCKS:]:
            block.requires_grad_(True)
        return f"last blocks: {error}"
    for tower in (part for part in network.modules() if isinstance(part, VisionTower)):
        for unused in tower.unused():
            unused.requires_grad_(False)
    return "lora"


def update_flops(network: OpenVLANetwork, prompt: int, trained: str, cost: tuple[int, int]) -> int:
    """Of a decision; ``cost`` is that of ``flops``, before there were adapters."""
    if trained.startswith("last blocks"):
        return cost[0] + 2 * min(LAST_BLOCKS, network.sizes.llm.layers) * cost[1]
    sizes = network.sizes
    tokens = sizes.num_images * sizes.patches + prompt + sizes.slots + 1
    adapters = 0
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            adapters += parameter.numel() * (tokens if "language_model" in name else sizes.patches)
    return 2 * cost[0] + 6 * adapters
