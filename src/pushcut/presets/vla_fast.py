"""pi0-FAST on LIBERO by GRPO. No paper has trained it by RL: nobody has published results of this.

Environment and time limits are pi_RL's (table 11), the algorithm is SimpleVLA-RL's for action
tokens (F.3), chunks and pictures are those of the checkpoints that LeRobot fine-tuned on LIBERO.
"""

from __future__ import annotations

from dataclasses import replace

from pushcut.config import TrainConfig
from pushcut.policies.released.options import ReleasedConfig
from pushcut.policies.source import TokenPolicySource
from pushcut.presets.base import Preset, preset
from pushcut.presets.vla import SUITES, openpi_fine_tuning, openvla_oft, pi_libero
from pushcut.presets.vla_sources import F3, SCRIPTS

CHUNK = 10
"""Steps that are predicted and executed (openpi's and LeRobot's checkpoints of LIBERO)."""

LEROBOT = "LeRobot's pi0-FAST on LIBERO"
TOKENS = {
    "train.algorithm": SCRIPTS,
    "train.algorithm.groups": F3,
    "train.learner.lr": F3,
    "train.learner.minibatches": F3,
    "train.learner.minibatch_size": F3,
    "train.learner.betas": SCRIPTS,
    "train.learner.warmup_iterations": SCRIPTS,
    "train.learner.recompute_logprob": SCRIPTS,
    "train.evaluation": SCRIPTS,
}


def pi0_fast_grpo(suite: str) -> Preset:
    """pi0-FAST on a suite: SimpleVLA-RL's GRPO on the tokens of an answer."""
    tokens, env = openvla_oft(SUITES[suite]).train, pi_libero("pi0", suite, "flow-sde").train.env
    released = ReleasedConfig(
        cameras=("agentview", "wrist"),
        image_size=256,
        chunk=CHUNK,
        horizon=CHUNK,
        gripper="plus_closes",
        state_size=8,
        action_size=7,
        precision="bfloat16",
    )
    return preset(
        f"pi0-FAST on libero_{SUITES[suite]}: FAST tokens, GRPO (settings of two papers; no "
        "published results)",
        env,
        demonstrations=50,
        sft=openpi_fine_tuning(released),
        train=TrainConfig(
            env,
            # Temperature 1: beyond it the tail of 257,152 words soon breaks an answer.
            policy=TokenPolicySource(
                released=replace(released, gradient_checkpointing=True), temperature=1.0
            ),
            algorithm=tokens.algorithm,
            learner=tokens.learner,
            rollout=tokens.rollout,
            evaluation=tokens.evaluation,
            iterations=tokens.iterations,
        ),
        episodes_per_task=50,
        network="pi0-fast",
        sources={
            "collect.episodes_per_task": "LIBERO",
            "sft": "openpi's fine-tuning",
            "train.env": "pi_RL, table 11",
            "train.policy": LEROBOT,
            "train.policy.released.gradient_checkpointing": "pushcut",
            "train.policy.temperature": "pushcut",
        }
        | TOKENS,
    )


GRPO_PRESETS = {f"libero-{suite}-pi0fast-grpo": pi0_fast_grpo(suite) for suite in SUITES}
