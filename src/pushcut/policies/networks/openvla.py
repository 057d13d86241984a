"""OpenVLA-OFT with action tokens (Kim et al. 2025; SimpleVLA-RL F.2), names as released."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from pushcut.policies.networks.attention import rotation
from pushcut.policies.networks.llama import LlamaModel, LlamaSizes
from pushcut.policies.networks.vit import VisionTower, ViTSizes

PARALLEL_STOP = 2
"""Token after the action slots: </s>."""


@dataclass(frozen=True)
class OpenVLASizes:
    """Shape of an OpenVLA-OFT; the defaults are those of the released checkpoints."""

    dino: ViTSizes = ViTSizes(width=1024, depth=24, heads=16, mlp=4096, prefix_tokens=5)
    siglip: ViTSizes = ViTSizes(width=1152, depth=27, heads=16, mlp=4304)
    llm: LlamaSizes = LlamaSizes()
    image_size: int = 224
    patch_size: int = 14
    num_images: int = 1
    chunk: int = 8
    """Steps that are predicted."""
    action_dim: int = 7
    proprio_dim: int = 0
    """Length of the proprioceptive state; 0 without the projector for it."""
    bins: int = 256
    """Action tokens: the last words before the padding of the word table."""
    vocab_size: int = 32000
    """Words without padding."""

    @property
    def patches(self) -> int:
        """Tokens of an image."""
        return (self.image_size // self.patch_size) ** 2

    @property
    def slots(self) -> int:
        """Action tokens of a chunk."""
        return self.chunk * self.action_dim


class _Vision(nn.Module):
    def __init__(self, sizes: OpenVLASizes) -> None:
        super().__init__()
        shape = {"patches": sizes.patches, "patch_size": sizes.patch_size}
        self.featurizer = VisionTower(sizes.dino, **shape)
        self.fused_featurizer = VisionTower(sizes.siglip, **shape)


class _Projector(nn.Module):
    def __init__(self, seen: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(seen, 4 * seen)
        self.fc2 = nn.Linear(4 * seen, hidden)
        self.fc3 = nn.Linear(hidden, hidden)

    def forward(self, x: Float[Tensor, "b t seen"]) -> Float[Tensor, "b t d"]:
        return self.fc3(F.gelu(self.fc2(F.gelu(self.fc1(x)))))


class _ProprioProjector(nn.Module):
    def __init__(self, proprio_dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(proprio_dim, hidden)
        self.fc2 = nn.Linear(hidden, hidden)

    def forward(self, x: Float[Tensor, "b s"]) -> Float[Tensor, "b d"]:
        return self.fc2(F.gelu(self.fc1(x)))


class _Llama(nn.Module):
    def __init__(self, sizes: LlamaSizes) -> None:
        super().__init__()
        self.model = LlamaModel(sizes)
        self.lm_head = nn.Linear(sizes.hidden, sizes.vocab_padded, bias=False)


@dataclass(frozen=True)
class OpenVLAOutput:
    """Outputs of the network for a batch."""

    logits: Float[Tensor, "b slots bins"]
    """Logits in float32, in the order of the vocabulary."""
    prefix: Float[Tensor, "b p d"]
    """The last block's output at patches, state and prompt."""
    visible: Bool[Tensor, "b p"]
    """Which tokens of the prefix are no padding."""
    last: Float[Tensor, "b d"]
    """The final norm's output at the token before the first action's."""


class OpenVLANetwork(nn.Module):
    """Two vision towers, a projector and Llama; all actions of a chunk are decoded at once."""

    def __init__(self, sizes: OpenVLASizes) -> None:
        super().__init__()
        self.sizes = sizes
        seen = sizes.dino.width + sizes.siglip.width
        self.vision_backbone = _Vision(sizes)
        self.projector = _Projector(seen, sizes.llm.hidden)
        self.language_model = _Llama(sizes.llm)
        if sizes.proprio_dim:
            self.proprio_projector = _ProprioProjector(sizes.proprio_dim, sizes.llm.hidden)

    @property
    def adaptable(self) -> dict[str, nn.Module]:
        """What can have low-rank adapters: the blocks that are used, and the projector."""
        vision = self.vision_backbone
        towers = (vision.featurizer, vision.fused_featurizer)
        used = nn.ModuleList(block for tower in towers for block in tower.used_blocks)
        layers = self.language_model.model.layers
        return {"language": layers, "vision": used, "projector": self.projector}

    def patch_embeddings(
        self,
        pixel_values: Float[Tensor, "b channels s s"],
        proprio: Float[Tensor, "b st"] | None = None,
    ) -> Float[Tensor, "b p d"]:
        """Tokens of the images, one after the other, then of the state.

        Channels: for each image 3 normalised for DINOv2, then 3 for SigLIP.
        """
        dtype = self.projector.fc1.weight.dtype
        images = pixel_values.to(dtype).unflatten(1, (-1, 2, 3)).flatten(0, 1)
        vision = self.vision_backbone
        features = vision.featurizer(images[:, 0]), vision.fused_featurizer(images[:, 1])
        seen = self.projector(torch.cat(features, dim=-1))
        seen = seen.view(len(pixel_values), -1, seen.shape[-1])
        if not self.sizes.proprio_dim:
            return seen
        if proprio is None:
            raise ValueError("this network has a projector for the state: give proprio")
        state = self.proprio_projector(proprio.clamp(-1, 1).to(dtype))
        return torch.cat((seen, state.unsqueeze(1)), dim=1)

    def forward(
        self,
        pixel_values: Float[Tensor, "b channels s s"],
        input_ids: Int[Tensor, "b l"],
        attention_mask: Shaped[Tensor, "b l"],
        proprio: Float[Tensor, "b st"] | None = None,
        *,
        padded: bool = True,
    ) -> OpenVLAOutput:
        """Left-padded prompts that begin with BOS and end with the empty token.

        Not ``padded``: the attention mask is known to be true everywhere, and attention takes none,
        which on GPUs has faster kernels.

        Tokens stand as [patches, prompt, slots, stop] with the positions of [BOS, patches,
        rest of the prompt, slots, stop]: attention sees positions only, and so the slots of all
        rows are at the same place whatever the length of the prompt.
        """
        seen = self.patch_embeddings(pixel_values, proprio)
        llama, slots, p = self.language_model.model, self.sizes.slots, seen.shape[1]
        llm = self.sizes.llm
        stop = input_ids.new_full((len(input_ids), 1), PARALLEL_STOP)
        x = torch.cat(
            (
                seen,
                llama.embed_tokens(input_ids),
                seen.new_zeros(len(seen), slots, seen.shape[-1]),
                llama.embed_tokens(stop),
            ),
            dim=1,
        )
        is_prompt = attention_mask.bool()
        visible = torch.cat((is_prompt.new_ones(len(x), p), is_prompt), dim=1)
        mask = F.pad(visible, (0, slots + 1), value=True)[:, None, None, :] if padded else None
        by = rotation(_positions(is_prompt, p, slots), llm.head_dim, llm.rope_theta)
        out = llama(x, by, mask)
        first = p + input_ids.shape[1] - 1  # each token is predicted by the one before
        words = self.language_model.lm_head.weight[self._action_words]
        normed = llama.norm(out[:, first : first + slots])
        logits = F.linear(normed, words).float()
        return OpenVLAOutput(logits, out[:, : first + 1], visible, normed[:, 0])

    @property
    def _action_words(self) -> slice:
        return slice(self.sizes.vocab_size - self.sizes.bins, self.sizes.vocab_size)


def _positions(is_prompt: Bool[Tensor, "b l"], p: int, slots: int) -> Int[Tensor, "b t"]:
    """Positions: BOS at 0, p patches, the rest of the prompt, the slots and the stop."""
    b = len(is_prompt)
    patches = torch.arange(1, p + 1, device=is_prompt.device).expand(b, p)
    count = is_prompt.long().cumsum(1)
    prompt = torch.where(count > 1, count - 1 + p, 0)
    after = torch.arange(slots + 1, device=is_prompt.device)
    return torch.cat((patches, prompt, p + count[:, -1:] + after), dim=1)
