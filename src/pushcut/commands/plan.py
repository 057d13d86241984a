"""`pushcut plan`: what a run of a released VLA takes of GPUs and host, and what helps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pushcut.algorithms.ppo import PPO
from pushcut.config import TrainConfig
from pushcut.errors import UserError
from pushcut.memory import Workload, advice, plan
from pushcut.memory.workload import NetworkKind
from pushcut.policies.source import FlowPolicySource
from pushcut.presets.base import Preset

ADVICES = 6
"""Switches that are listed, those that save most."""


KINDS: dict[str, NetworkKind] = {"openvla-oft": "openvla-oft", "-pi05-": "pi05", "-pi0-": "pi0"}
"""What the name of a preset holds -> its network."""


@dataclass(frozen=True)
class PlanConfig:
    """Will it fit? Adds up weights, optimiser, activations and rollouts; loads nothing."""

    network: NetworkKind
    """Which VLA, at its released size."""
    train: TrainConfig
    gpus: int = 1
    """GPUs that share the work."""
    sharding: Literal["replicated", "full-shard"] = "replicated"
    """Every GPU holds everything; or parameters, gradients and AdamW are divided among them, as
    torch's FSDP does (--ranks.weights sharded)."""
    out: Path | None = None
    """File for the plan as JSON."""

    @staticmethod
    def of(preset: Preset, name: str) -> PlanConfig:
        """For a preset of a released VLA, told by its name."""
        found: list[NetworkKind] = [kind for part, kind in KINDS.items() if part in name]
        if not found:
            raise UserError(
                f"{name} is a small policy, which fits anywhere; plans are for the presets of "
                "released VLAs, such as libero-long-openvla-oft or libero-spatial-pi0-flow-sde"
            )
        return PlanConfig(found[0], preset.train)


def run_plan(config: PlanConfig) -> str:
    """The plan as text, with the switches that save most."""
    workload = workload_of(config)
    memory = plan(workload)
    if config.out is not None:
        memory.save(config.out)
    lines = [memory.table(), "", "what would save memory:"]
    lines += [f"  {saving.line()}" for saving in advice(workload)[:ADVICES]]
    return "\n".join(lines)


def workload_of(config: PlanConfig) -> Workload:
    """What a training run asks of the hardware."""
    train, source = config.train, config.train.policy
    released, size = source.released, source.released.image_size or 256
    return Workload(
        config.network,
        trained=source.trained,
        lora=source.lora,
        images=len(released.cameras or ("camera",)),
        horizon=released.horizon,
        chunk=released.chunk or 8,
        dtype=released.precision,
        master_weights=released.precision == "bfloat16" and released.master_weights,
        gradient_checkpointing=released.gradient_checkpointing,
        micro_batch=train.learner.micro_batch,
        inference_batch=train.rollout.inference_batch,
        decisions=decisions(train, released.chunk or 8),
        num_steps=source.steps if isinstance(source, FlowPolicySource) else 1,
        mdp=source.formulation if isinstance(source, FlowPolicySource) else "hybrid",
        keep_prefix=isinstance(source, FlowPolicySource)
        and source.keep_prefix
        and source.trained == "expert",
        critic_width=critic_width(config) if train.algorithm.needs_critic else 0,
        reference=train.algorithm.needs_reference,
        overlap=train.overlap,
        gpus=config.gpus,
        sharding=config.sharding,
        rollouts=train.ranks.rollouts,
        image=(size, size),
        state_size=train.env.spec.state_size,
        action_size=train.env.spec.action_size,
    )


def decisions(train: TrainConfig, chunk: int) -> int:
    """The most decisions of an iteration: all episodes up to the time limit."""
    algorithm, limit = train.algorithm, -(-train.env.spec.max_steps // chunk)
    if isinstance(algorithm, PPO):
        return algorithm.episodes * (algorithm.stream_decisions or limit)
    return algorithm.max_groups * algorithm.group_size * limit


def critic_width(config: PlanConfig) -> int:
    """Size of the features that the critic sees, at the released sizes."""
    if config.network == "openvla-oft":
        return 4096
    return 2048 if config.train.critic.placement == "vlm" else 1024
