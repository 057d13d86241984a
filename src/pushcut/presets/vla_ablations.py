"""pi_RL's other experiments on LIBERO: GRPO in place of PPO, and adapters on the VLM.

Results of the first are in its table 9, the second is appendix F.2. The text leaves most settings
open; they are those of table 11 and of the configurations that its program is released with.
"""

from __future__ import annotations

from dataclasses import replace

from pushcut.algorithms.grpo import GRPO
from pushcut.policies.lora import LoRAConfig
from pushcut.policies.source import FlowPolicySource
from pushcut.policies.value_head import CriticConfig
from pushcut.presets.base import Preset
from pushcut.presets.vla import MODELS, SUITES, pi_libero
from pushcut.presets.vla_columns import LIBERO, Column, Model
from pushcut.presets.vla_sources import PROGRAM, pi_rl_sources

GROUP = 8
"""Episodes of each initial state."""

GRPO_COLUMNS: dict[Model, dict[str, Column]] = {
    "pi0": {suite: replace(column, epochs=2) for suite, column in LIBERO["pi0"].items()},
    "pi05": {
        "spatial": Column(240, 5, 1, 3, 0.5, horizon=10),
        "object": Column(240, 5, 1, 5, 0.3, horizon=10),
        "goal": Column(320, 5, 1, 5, 0.3, horizon=10),
        "long": Column(480, 10, 4, 4, 0.5, horizon=10),
    },
}
"""The program's configurations: of pi0 half of table 11's epochs, of pi0.5 fewer epochs on Goal,
shorter episodes on Object, and on Long four denoising steps and no cosine."""


def pi_grpo(model: Model, suite: str) -> Preset:
    """A model on a suite with Flow-SDE and groups in place of a critic."""
    column = GRPO_COLUMNS[model][suite]
    base = pi_libero(model, suite, "flow-sde")
    source = base.train.policy
    assert isinstance(source, FlowPolicySource)
    env = replace(base.train.env, max_steps=column.max_steps)
    groups = column.episodes // GROUP
    train = replace(
        base.train,
        env=env,
        policy=replace(source, num_steps=column.num_steps, noise_level=column.noise_level),
        # Groups with too few or too many successes teach nothing; no others are played for them.
        algorithm=GRPO(
            group_size=GROUP,
            groups=groups,
            max_groups=groups,
            min_success=0.1,
            max_success=0.9,
            clip_low=0.2,
            clip_high=0.2,
            granularity="chunk",
        ),
        critic=CriticConfig(),
        learner=replace(
            base.train.learner,
            epochs=column.epochs,
            minibatches=column.optimiser_steps,
            grad_clip=column.grad_clip,
            decay_iterations=0,
        ),
    )
    return replace(
        base,
        summary=f"{model} on libero_{SUITES[suite]}: flow-sde, GRPO (pi_RL, table 9)",
        collect=replace(base.collect, env=env),
        train=train,
        eval=replace(base.eval, env=env, policy=train.policy),
        sources=pi_rl_sources("pi_RL, table 11")
        | {
            "train.env.max_steps": PROGRAM,
            "train.policy.num_steps": PROGRAM,
            "train.policy.noise_level": PROGRAM,
            "train.algorithm": PROGRAM,
            "train.learner.epochs": PROGRAM,
            "train.learner.minibatches": PROGRAM,
        },
    )


LORA = LoRAConfig(rank=32, alpha=32, rank_of=(("language", 32), ("vision", 32)), init="gaussian")
"""The program's: all linear layers of PaliGemma's two towers."""

LORA_LEARNING: dict[str, tuple[float, int]] = {"1": (5e-6, 4), "2": (2.5e-6, 2)}
"""LoRA-I and LoRA-II: learning rate, epochs."""

LORA_RATE = "pushcut: the paper has a lower rate, which is lost in the text that was read"


def pi_lora(setting: str) -> Preset:
    """The expert and adapters on PaliGemma, on libero_10 with Flow-SDE."""
    rate, epochs = LORA_LEARNING[setting]
    base = pi_libero("pi0", "long", "flow-sde")
    source = base.train.policy
    assert isinstance(source, FlowPolicySource)
    released = replace(source.released, gradient_checkpointing=True)
    policy = replace(source, released=released, trained="lora", lora=LORA)
    train = replace(
        base.train,
        policy=policy,
        learner=replace(base.train.learner, lr=rate, epochs=epochs, micro_batch=8),
    )
    return replace(
        base,
        summary=f"pi0 on libero_10: flow-sde, PPO, adapters on the VLM {setting} (pi_RL, F.2)",
        train=train,
        eval=replace(base.eval, policy=policy),
        sources={
            **base.sources,
            "train.policy.lora": PROGRAM,
            "train.policy.trained": "pi_RL, appendix F.2",
            "train.policy.released.gradient_checkpointing": "pushcut",
            "train.learner.epochs": "pi_RL, appendix F.2",
            "train.learner.lr": "pi_RL, table 11" if setting == "1" else LORA_RATE,
        },
    )


GRPO_PRESETS = {
    f"libero-{suite}-{model}-grpo": pi_grpo(model, suite) for suite in SUITES for model in MODELS
}

LORA_PRESETS = {f"libero-long-pi0-lora-{setting}": pi_lora(setting) for setting in LORA_LEARNING}
