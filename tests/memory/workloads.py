"""Workloads with few words, and tiny networks for them."""

from dataclasses import replace
from typing import Any

from pushcut.memory import Workload
from pushcut.policies.networks.context_block import BlockSizes
from pushcut.policies.networks.dit import DiTSizes
from pushcut.policies.networks.gemma import GemmaSizes
from pushcut.policies.networks.groot import GrootSizes
from pushcut.policies.networks.llama import LlamaSizes
from pushcut.policies.networks.openvla import OpenVLASizes
from pushcut.policies.networks.paligemma import VLMSizes
from pushcut.policies.networks.pi0 import Pi0Sizes
from pushcut.policies.networks.qwen3 import Qwen3Sizes
from pushcut.policies.networks.siglip import SiglipSizes
from pushcut.policies.networks.smolvla import SmolVLASizes
from pushcut.policies.networks.vit import ViTSizes
from pushcut.policies.released.options import ReleasedNetwork
from pushcut.presets import PRESETS

PRESET = {
    "pi0": "libero-spatial-pi0-flow-sde",
    "pi05": "libero-spatial-pi05-flow-sde",
    "smolvla": "libero-spatial-smolvla-flow-sde",
    "openvla-oft": "libero-spatial-openvla-oft",
    "pi0-fast": "libero-spatial-pi0fast-grpo",
    "groot": "libero-spatial-groot-flow-sde",
}

PI0 = Pi0Sizes(
    vision=SiglipSizes(width=96, depth=5, mlp=384, heads=4, image_size=64, patch_size=16),
    vlm=GemmaSizes(width=128, depth=6, mlp=512, heads=4, kv_heads=1, head_dim=32),
    expert=GemmaSizes(width=64, depth=6, mlp=256, heads=4, kv_heads=1, head_dim=32),
    vocab_size=300,
    chunk=12,
    state_dim=8,
    action_dim=8,
)
FAST = VLMSizes(PI0.vision, PI0.vlm, vocab_size=300)
OPENVLA = OpenVLASizes(
    dino=ViTSizes(width=48, depth=5, heads=4, mlp=192, prefix_tokens=5),
    siglip=ViTSizes(width=64, depth=5, heads=4, mlp=240),
    llm=LlamaSizes(64, 160, layers=6, heads=4, kv_heads=4, vocab_padded=384),
    image_size=56,
    chunk=4,
    vocab_size=320,
)
SMOLVLA = SmolVLASizes(
    vision=SiglipSizes(width=64, depth=8, mlp=256, heads=4, image_size=64, patch_size=8),
    pixel_shuffle=2,
    vlm=BlockSizes(96, 9, 384, heads=6, kv_heads=2, head_dim=16),
    expert=BlockSizes(72, 9, 256, heads=6, kv_heads=2, head_dim=16),
    vocab_size=300,
    chunk=12,
    state_dim=8,
    action_dim=8,
    image_size=64,
)
"""Nine blocks of two kinds in turn: units of two are left out."""
GROOT = GrootSizes(
    vision=SiglipSizes(width=96, depth=5, mlp=384, heads=4, image_size=64, patch_size=16),
    llm=Qwen3Sizes(128, 512, layers=6, heads=4, kv_heads=2, head_dim=32, vocab_size=300),
    vl=DiTSizes(heads=4, head_dim=32, depth=5),
    dit=DiTSizes(heads=4, head_dim=16, depth=12),
    dit_output=48,
    hidden=40,
    embodiments=3,
    future_tokens=4,
    positions=20,
    chunk=12,
    state_dim=8,
    action_dim=8,
)
TINY = {
    "pi0": PI0,
    "pi05": replace(PI0, pi05=True),
    "smolvla": SMOLVLA,
    "openvla-oft": OPENVLA,
    "pi0-fast": FAST,
    "groot": GROOT,
}


def workload(
    network: ReleasedNetwork,
    *,
    gpus: int = 1,
    micro_batch: int = 32,
    inference_batch: int = 32,
    released: dict[str, Any] | None = None,
    train: dict[str, Any] | None = None,
    ranks: dict[str, Any] | None = None,
    **policy: Any,
) -> Workload:
    """The preset of a network in plain bfloat16, with other fields of its parts."""
    base = PRESETS[PRESET[network]].train
    reading = {"horizon": None, "master_weights": False} | (released or {})
    source = replace(base.policy, **policy, released=replace(base.policy.released, **reading))
    changed = replace(
        base,
        policy=source,
        learner=replace(base.learner, micro_batch=micro_batch),
        rollout=replace(base.rollout, inference_batch=inference_batch),
        ranks=replace(base.ranks, **(ranks or {})),
    )
    return Workload(network, replace(changed, **(train or {})), gpus)
