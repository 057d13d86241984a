"""The memory plan against what tiny networks take on the CPU, and full ones without memory."""

import contextlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from pushcut.memory import Workload, plan
from pushcut.memory.footprint import footprint, loss_bytes
from pushcut.memory.parameters import (
    Network,
    Sizes,
    adaptable,
    count_parameters,
    meta_network,
    released_sizes,
)
from pushcut.policies.lora import LoRAConfig, add_lora
from pushcut.policies.networks import attention
from pushcut.policies.networks import pi0 as pi0_module
from pushcut.policies.networks.gemma import GemmaSizes
from pushcut.policies.networks.gradient_checkpointing import checkpoint_activations
from pushcut.policies.networks.llama import LlamaSizes
from pushcut.policies.networks.openvla import OpenVLANetwork, OpenVLASizes
from pushcut.policies.networks.pi0 import Pi0Network, Pi0Sizes, stays_float32
from pushcut.policies.networks.siglip import SiglipSizes
from pushcut.policies.networks.vit import ViTSizes
from pushcut.policies.precision import Compute
from tests.memory.live_bytes import LiveBytes, saved_bytes

BATCH = 3

PI0 = Pi0Sizes(
    vision=SiglipSizes(width=96, depth=3, mlp=384, heads=4, image_size=64, patch_size=16),
    vlm=GemmaSizes(width=128, depth=4, mlp=512, heads=4, kv_heads=1, head_dim=32),
    expert=GemmaSizes(width=64, depth=4, mlp=256, heads=4, kv_heads=1, head_dim=32),
    vocab_size=300,
    chunk=12,
    state_dim=8,
    action_dim=8,
)
OPENVLA = OpenVLASizes(
    dino=ViTSizes(width=48, depth=3, heads=4, mlp=192, prefix_tokens=5),
    siglip=ViTSizes(width=64, depth=3, heads=4, mlp=240),
    llm=LlamaSizes(64, 160, layers=4, heads=4, kv_heads=4, vocab_padded=384),
    image_size=56,
    chunk=4,
    vocab_size=320,
)

PRECISIONS = (("float32", False), ("bfloat16", False), ("bfloat16", True))


@dataclass
class Trial:
    """A tiny network in the state that a workload asks for, and its forward pass."""

    network: Network
    sizes: Sizes
    forward: Callable[[], Tensor]
    inputs: int
    """Bytes of the images."""


def workload_of(network: str, trained: str, **changes: Any) -> Workload:
    ranks = tuple((part, 4) for part in ("language", *changes.pop("also", ())))
    lora = LoRAConfig(rank_of=ranks if trained == "lora" else ())
    kind: Any = network
    part: Any = trained
    images = 1 if network == "openvla-oft" else 2
    base = Workload(kind, part, lora=lora, images=images, prompt_tokens=10, micro_batch=BATCH)
    return replace(base, **changes)


def trial(workload: Workload) -> Trial:
    torch.manual_seed(0)
    made = openvla_trial() if workload.network == "openvla-oft" else pi0_trial(workload)
    network = made.network
    parts = adaptable(network)
    if workload.trained != "all":
        frozen = network.vlm if isinstance(network, Pi0Network) else network
        frozen.requires_grad_(False)
    for part, rank in workload.ranks.items():
        for module in parts[part]:
            add_lora(module, rank=rank, alpha=4)
    kept = stays_float32 if isinstance(network, Pi0Network) else lambda name: False
    compute = Compute(workload.dtype, workload.master_weights)
    compute.cast(network, kept)
    checkpoint_activations(network, workload.gradient_checkpointing)
    plain = made.forward

    def forward() -> Tensor:
        with compute.context(torch.device("cpu")):
            return plain()

    return replace(made, forward=forward)


def pi0_trial(workload: Workload) -> Trial:
    sizes = replace(PI0, pi05=workload.network == "pi05")
    network = Pi0Network(sizes)
    network.tie()
    observed = (
        torch.rand(BATCH, 2, 3, 64, 64),
        torch.ones(BATCH, 2, dtype=torch.bool),
        torch.randint(0, 99, (BATCH, 10)),
        torch.ones(BATCH, 10, dtype=torch.bool),
    )
    x, t = torch.rand(BATCH, workload.points, 12, 8), torch.rand(BATCH, workload.points)
    state = torch.rand(BATCH, 8)

    def forward() -> Tensor:
        return network.denoise(network.encode(*observed), state, x, t).velocity

    return Trial(network, sizes, forward, observed[0].nbytes)


def openvla_trial() -> Trial:
    network = OpenVLANetwork(OPENVLA)
    pixels, words = torch.rand(BATCH, 6, 56, 56), torch.randint(0, 99, (BATCH, 10))
    mask = torch.ones(BATCH, 10, dtype=torch.long)
    return Trial(network, OPENVLA, lambda: network(pixels, words, mask).logits, pixels.nbytes)


TRAININGS = [
    ("pi0", "expert", {}),
    ("pi0", "expert", {"mdp": "two-layer"}),
    ("pi05", "expert", {}),
    ("pi05", "expert", {"mdp": "two-layer"}),
    ("pi0", "lora", {}),
    ("pi05", "lora", {"also": ("vision", "expert")}),
    ("pi0", "all", {}),
    ("openvla-oft", "lora", {}),
    ("openvla-oft", "lora", {"also": ("vision", "projector")}),
    ("openvla-oft", "all", {}),
]


@pytest.mark.parametrize(
    ("training", "precision"), list(itertools.product(TRAININGS, PRECISIONS)), ids=str
)
def test_the_activations_are_what_autograd_saves(training, precision):
    network, trained, changes = training
    dtype, masters = precision
    workload = workload_of(network, trained, dtype=dtype, master_weights=masters, **changes)
    tried = trial(workload)
    want = saved_bytes(tried.forward, list(tried.network.parameters()))
    got = BATCH * footprint(workload, tried.sizes).saved(checkpointing=False)
    got += count_parameters(workload, tried.sizes).copies
    # Reached: 5 %; two thirds of these are within 2 %.
    assert got == pytest.approx(want, rel=0.06)


@pytest.mark.parametrize("training", TRAININGS, ids=str)
def test_checkpointing_leaves_the_inputs_of_blocks(training):
    network, trained, changes = training
    workload = workload_of(network, trained, gradient_checkpointing=True, **changes)
    tried = trial(workload)
    counter = LiveBytes()
    with counter:
        output = tried.forward()
        alive = counter.now - output.untyped_storage().nbytes()
    # The images were there before; a patch embedding in float32 keeps them as they are.
    alive += tried.inputs if trained == "all" and network != "openvla-oft" else 0
    got = BATCH * footprint(workload, tried.sizes).saved(checkpointing=True)
    assert got == pytest.approx(alive, rel=0.04)


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("training", TRAININGS, ids=str)
def test_the_peak_of_the_backward_pass_is_within_a_third(training, checkpointing):
    network, trained, changes = training
    workload = workload_of(network, trained, gradient_checkpointing=checkpointing, **changes)
    tried = trial(workload)
    for parameter in tried.network.parameters():
        # Gradients have a line of their own: here they exist before.
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    counter = LiveBytes()
    with counter:
        output = tried.forward()
        counter.peak = counter.now
        output.sum().backward()
    found = counter.peak + (tried.inputs if trained == "all" and network != "openvla-oft" else 0)
    planned = plan(workload, tried.network)
    got = planned.activations + planned.temporary - BATCH * loss_bytes(workload, tried.sizes)
    # Above what is there rather than below: inputs of blocks are given back on the way.
    assert 0.88 < got / found < 1.35


@pytest.mark.slow
@pytest.mark.parametrize("training", TRAININGS, ids=str)
def test_inference_takes_what_the_plan_says(training):
    network, trained, changes = training
    workload = workload_of(network, trained, **changes | {"mdp": "hybrid"})
    tried, counter = trial(workload), LiveBytes()
    with torch.no_grad(), counter:
        tried.forward()
    got = BATCH * footprint(workload, tried.sizes).forward
    assert got == pytest.approx(counter.peak + tried.inputs, rel=0.02)


@pytest.mark.parametrize("training", TRAININGS, ids=str)
@pytest.mark.parametrize("masters", [False, True])
def test_parameters_and_gradients_are_those_of_the_network(training, masters):
    network, trained, changes = training
    workload = workload_of(network, trained, master_weights=masters, **changes)
    tried = trial(workload)
    tried.forward().sum().backward()
    parameters = list(tried.network.parameters())
    planned = plan(workload, tried.network)
    assert planned.trained == sum(p.nbytes for p in parameters if p.requires_grad)
    assert planned.frozen == sum(p.nbytes for p in parameters if not p.requires_grad)
    gradients = sum(p.grad.nbytes for p in parameters if p.grad is not None)
    if trained == "lora" and network != "openvla-oft":
        # Adapters of the VLM's last block are counted, though only its keys and values matter.
        assert gradients <= planned.gradients <= 1.1 * gradients
    else:
        assert planned.gradients == gradients
    assert planned.optimiser == 2 * planned.gradients


@pytest.mark.parametrize(
    ("network", "trained", "mdp"),
    [("pi0", "expert", "hybrid"), ("pi05", "expert", "two-layer"), ("pi0", "all", "hybrid"),
     ("openvla-oft", "all", "hybrid")],
)  # fmt: skip
def test_at_full_size_autograd_saves_the_same_on_the_meta_device(
    monkeypatch, network, trained, mdp
):
    workload = Workload(network, trained, images=1, mdp=mdp)
    sizes = released_sizes(workload)
    built = meta_network(workload, sizes)

    def fused(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None) -> Tensor:
        # The meta device would take the plain kernel, which saves the weights of attention.
        mask = None if attn_mask is None else 1.0 * attn_mask.to(query.dtype)
        kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        return kernel(query, key, value, 0.0, False, attn_mask=mask)[0]

    monkeypatch.setattr(attention.F, "scaled_dot_product_attention", fused)
    # There is no autocast for the meta device.
    monkeypatch.setattr(pi0_module, "full_precision", lambda x: contextlib.nullcontext())
    with torch.device("meta"):
        words = torch.zeros(1, workload.prompt, dtype=torch.long)
        if isinstance(built, OpenVLANetwork):
            pixels = torch.rand(1, 6, 224, 224)
            got = saved_bytes(lambda: built(pixels, words, words), built.parameters())
        else:
            image, ones = torch.rand(1, 1, 3, 224, 224), torch.ones(1, 1, dtype=torch.bool)
            x, t = torch.rand(1, workload.points, 50, 32), torch.rand(1, workload.points)
            got = saved_bytes(
                lambda: built.denoise(
                    built.encode(image, ones, words, words.bool()), torch.rand(1, 32), x, t
                ),
                built.parameters(),
            )
    assert footprint(workload, sizes).saved(checkpointing=False) == pytest.approx(got, rel=0.01)
