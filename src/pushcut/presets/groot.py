"""Presets of pi_RL with GR00T N1.5 on LIBERO (appendix H), with the numbers of its program.

They want RLinf's checkpoints (RLinf-Gr00t-SFT-Spatial and so on), or NVIDIA's base and `pushcut
sft`, and a GPU of 80 GB or several: `--policy.path FOLDER`.
"""

from __future__ import annotations

from dataclasses import replace

from pushcut.config import SFTConfig
from pushcut.learning.sft import FitConfig
from pushcut.policies.released.options import ReleasedConfig
from pushcut.policies.source import StartPolicy
from pushcut.presets.base import Preset
from pushcut.presets.vla import IMAGE_SIZE, SUITES, both_cameras, flow
from pushcut.presets.vla_columns import GROOT
from pushcut.presets.vla_sources import groot_sources

PADDED_LENGTH = 570
"""Rows that RLinf pads every prompt to; its checkpoints were trained with them."""


def nvidia_fine_tuning(released: ReleasedConfig) -> SFTConfig:
    """As NVIDIA fine-tunes it: the action head alone, whose pictures are cropped by 5 % a side.

    Rate and warm-up are its script's; steps, micro-batch and the changes of colours are ours.
    """
    return SFTConfig(
        policy=StartPolicy(released=released, trained="expert"),
        fit=FitConfig(
            steps=10_000,
            batch_size=32,
            micro_batch=16,
            lr=1e-4,
            warmup_steps=500,
            augment="openvla",
            tail="repeat",
        ),
    )


def groot_libero(suite: str) -> Preset:
    """GR00T N1.5 on a suite of LIBERO, Flow-SDE and PPO."""
    column, own = GROOT[suite], f"libero_{SUITES[suite]}"
    released = ReleasedConfig(
        cameras=("agentview", "wrist"),
        image_size=IMAGE_SIZE,
        chunk=column.chunk,
        gripper="one_opens",
        state_size=8,
        action_size=7,
        padded_length=PADDED_LENGTH,
        precision="bfloat16",
    )
    env = both_cameras(own, column.max_steps)
    summary = f"groot on {own}: flow-sde, PPO (pi_RL, appendix H)"
    made = flow(summary, env, released, "groot", "flow-sde", column, "appendix H")
    critic = replace(made.train.critic, detach=False)
    return replace(
        made,
        sft=nvidia_fine_tuning(released),
        train=replace(made.train, critic=critic),
        sources={**made.sources, **groot_sources()},
    )


PI_RL = {f"libero-{suite}-groot-flow-sde": groot_libero(suite) for suite in SUITES}
