"""Presets of SmolVLA (Shukor et al. 2025), the released VLA of 0.45 B parameters.

No RL of it has been published: its settings are those of pi_RL's pi0 (tables 11 and 13) where its
sizes allow them, and its critic sees the VLM, which sees the state. Fine-tuning is LeRobot's.
"""

from __future__ import annotations

from dataclasses import replace

from pushcut.config import SFTConfig
from pushcut.learning.sft import FitConfig
from pushcut.policies.source import StartPolicy
from pushcut.presets.base import Preset
from pushcut.presets.vla import SUITES, pi_libero, pi_metaworld
from pushcut.presets.vla_sources import smolvla_sources


def smolvla(made: Preset, title: str, table: str) -> Preset:
    """A preset that was made after pi0's, with LeRobot's fine-tuning."""
    released = made.train.policy.released
    return replace(
        made,
        summary=f"SmolVLA on {title}: flow-sde, PPO (pi0's settings of pi_RL, {table}; no published"
        " RL of SmolVLA)",
        sft=SFTConfig(
            policy=StartPolicy(released=released, trained="expert"),
            fit=FitConfig(
                steps=100_000,  # ours
                batch_size=64,
                micro_batch=16,
                lr=1e-4,
                warmup_steps=1000,
                weight_decay=1e-10,
                grad_clip=10.0,
            ),
        ),
        sources=smolvla_sources(f"pi_RL, {table}"),
    )


SMOLVLA = {
    f"libero-{suite}-smolvla-flow-sde": smolvla(
        pi_libero("smolvla", suite, "flow-sde"), f"libero_{name}", "table 11"
    )
    for suite, name in SUITES.items()
} | {
    "metaworld-smolvla-flow-sde": smolvla(
        pi_metaworld("smolvla", "flow-sde"), "MetaWorld MT50", "table 13"
    )
}
