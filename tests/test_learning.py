"""The point of it all: a tiny policy that hardly ever succeeds learns to, from outcomes only."""

from dataclasses import replace

from pushcut.algorithms.grpo import GRPO
from pushcut.commands.collect import run_collect
from pushcut.commands.evaluate import play_manifest
from pushcut.commands.sft import run_sft
from pushcut.config import (
    CollectConfig,
    EvalConfig,
    EvaluationConfig,
    RolloutConfig,
    SFTConfig,
    TrainConfig,
)
from pushcut.envs.point_mass import PointMassConfig
from pushcut.learner import LearnerConfig
from pushcut.policies.source import TokenPolicySource
from pushcut.policies.tiny import TinyConfig
from pushcut.sft import FitConfig
from pushcut.trainer import train

ENV = PointMassConfig(
    colours=("red",),
    goal_distance=0.8,
    success_radius=0.2,
    step_size=0.2,
    max_steps=9,
    image_size=16,
)
TINY = TinyConfig(cameras=("top",), image_size=16, width=64, depth=1, heads=4, bins=5, chunk=3)
ROLLOUT = RolloutConfig(slots=32, workers=1, inference_batch=32)


def test_grpo_lifts_a_policy_from_under_10_percent_to_over_70(tmp_path):
    """One core, half a minute; the goal lies in a new direction in every episode."""
    source = TokenPolicySource(run_few_steps_of_sft(tmp_path), temperature=1.3)
    evaluation = EvalConfig(ENV, source, ROLLOUT, episodes_per_task=200, device="cpu")
    before = play_manifest(evaluation).total
    run = train(
        TrainConfig(
            ENV,
            source,
            GRPO(group_size=4, groups=24, max_groups=96),
            learner=LearnerConfig(lr=1e-3, warmup_iterations=2, epochs=2),
            rollout=ROLLOUT,
            evaluation=EvaluationConfig(every=0),
            iterations=36,
            save_every=36,
            trackers=(),
            device="cpu",
            out=tmp_path / "rl",
        )
    )
    after = play_manifest(replace(evaluation, policy=replace(source, path=run.path))).total
    assert before.value < 0.1
    assert after.value > 0.7


def run_few_steps_of_sft(folder):
    """Five steps on four demonstrations: it moves, but not to the goal."""
    demonstrations = run_collect(CollectConfig(ENV, folder / "demos", episodes_per_task=4))
    fit = FitConfig(steps=5, batch_size=32, lr=1e-3, warmup_steps=0)
    return run_sft(SFTConfig(TINY, fit, demonstrations, device="cpu", out=folder / "sft"))
