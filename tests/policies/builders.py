"""Small policies of every kind, and what they look at."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pushcut.policies import load
from pushcut.policies.base import Policy
from pushcut.policies.flow.policy import FlowMatchingPolicy
from pushcut.policies.flow.transitions import Denoising
from pushcut.policies.noise import DecisionKey, DecisionNoise
from pushcut.policies.normalisation import small_stats
from pushcut.policies.released.options import ReleasedConfig
from pushcut.policies.small.flow_vla import FlowConfig, FlowPolicy
from pushcut.policies.small.token_vla import TinyConfig, TinyPolicy
from pushcut.types import Observation
from tests.policies.released.folders import (
    OPENVLA,
    PI0,
    write_lerobot,
    write_openpi,
    write_openvla,
    write_pi0_fast,
    write_smolvla,
)
from tests.policies.released.groot_folders import write_groot, write_lerobot_groot

STATISTICS = small_stats(
    action_low=(-1.0, -2.0, 0.0),
    action_high=(1.0, 2.0, 0.0),
    state_mean=(0.5, 0.5),
    state_std=(0.1, 0.2),
)


def tiny(*, cameras: tuple[str, ...] = ("top",), **fields: Any) -> TinyPolicy:
    torch.manual_seed(0)
    config = TinyConfig(
        cameras=cameras, image_size=32, width=32, depth=2, heads=2, bins=16, chunk=4, **fields
    )
    policy = TinyPolicy.for_data(
        config, statistics=STATISTICS, instructions=["push the red block", "open the door"]
    )
    # An untrained head is nearly uniform; make the distribution worth testing.
    torch.nn.init.normal_(policy.head.project.weight, std=0.5)
    return policy.eval()


def flow(
    *, keeps_prefix: bool = False, cameras: tuple[str, ...] = ("top",), **denoising: Any
) -> FlowPolicy:
    torch.manual_seed(0)
    config = FlowConfig(
        cameras=cameras, image_size=32, width=32, depth=2, heads=2, expert_width=24, chunk=4
    )
    policy = FlowPolicy.for_data(
        config, statistics=STATISTICS, instructions=["push the red block", "open the door"]
    )
    policy.explore(Denoising(**denoising))
    policy.keeps_prefix = keeps_prefix
    return policy.eval()


def released(
    write: Callable[[Path], Path], *, reading: Mapping[str, Any] | None = None, **denoising: Any
) -> Policy:
    """A tiny checkpoint in a layout of others."""
    with tempfile.TemporaryDirectory() as folder:
        config = ReleasedConfig(cameras=("top",), image_size=32, chunk=4, **(reading or {}))
        policy = load(write(Path(folder) / "p"), config)
    if denoising:
        assert isinstance(policy, FlowMatchingPolicy)
        policy.explore(Denoising(**denoising))
    return policy


PI05 = replace(PI0, pi05=True)

POLICIES: dict[str, Callable[[], Policy]] = {
    "tiny": tiny,
    "tiny-without-state": lambda: tiny(use_state=False),
    "tiny-one-query": lambda: tiny(stem_channels=8, queries_per_step=1),
    "tiny-without-cameras": lambda: tiny(cameras=()),
    "flow-hybrid": flow,
    "flow-without-cameras": lambda: flow(cameras=()),
    "flow-kept-prefix": lambda: flow(keeps_prefix=True),
    "flow-one-step": lambda: flow(num_steps=1),
    "flow-last-step-exact": lambda: flow(last_step_noise=False),
    "flow-two-layer": lambda: flow(mdp="two-layer"),
    "flow-one-layer": lambda: flow(mdp="one-layer"),
    "flow-noise": lambda: flow(noise="flow-noise"),
    "flow-noise-hybrid": lambda: flow(noise="flow-noise", mdp="hybrid"),
    "flow-noise-sum": lambda: flow(noise="flow-noise", chain_reduction="sum"),
    "flow-cps": lambda: flow(noise="flow-cps"),
    "openvla-oft": lambda: released(write_openvla),
    "openvla-oft-proprio": lambda: released(
        lambda path: write_openvla(path, replace(OPENVLA, proprio_dim=2))
    ),
    "pi0-fast": lambda: released(write_pi0_fast),
    "pi0-openpi": lambda: released(write_openpi),
    "pi0-lerobot": lambda: released(write_lerobot, num_steps=2),
    "smolvla": lambda: released(write_smolvla, num_steps=2),
    "smolvla-flow-noise": lambda: released(write_smolvla, noise="flow-noise", num_steps=3),
    "pi05-openpi": lambda: released(lambda path: write_openpi(path, PI05)),
    "pi05-lerobot-flow-noise": lambda: released(
        lambda path: write_lerobot(path, PI05), noise="flow-noise", num_steps=3
    ),
    "groot": lambda: released(write_groot),
    "groot-padding-seen": lambda: released(write_groot, reading={"padded_length": 140}),
    "groot-lerobot-flow-noise": lambda: released(
        write_lerobot_groot, noise="flow-noise", num_steps=3
    ),
}


def observation(n: int, seed: int = 0) -> Observation:
    generator = np.random.default_rng(seed)
    return Observation(
        images={"top": generator.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)},
        state=generator.random((n, 2), dtype=np.float32),
        instruction=[["push the red block", "open the door"][i % 2] for i in range(n)],
    )


def noise(n: int, decision: int = 0) -> DecisionNoise:
    return DecisionNoise([DecisionKey(0, 0, i, 0, decision) for i in range(n)])
