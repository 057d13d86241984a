"""Configs of the commands: frozen dataclasses; presets fill, the command line overrides."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pushcut.algorithms.base import Algorithm
from pushcut.algorithms.grpo import GRPO
from pushcut.cluster.config import ClusterConfig
from pushcut.demos.dialects import DataConfig
from pushcut.envs.base import EnvConfig
from pushcut.learning.learner import LearnerConfig
from pushcut.learning.sft import FitConfig
from pushcut.policies.base import Mode
from pushcut.policies.source import PolicySource, StartPolicy, TokenPolicySource
from pushcut.policies.value_head import CriticConfig
from pushcut.ranks.config import RanksConfig
from pushcut.runs.trackers import Tracker
from pushcut.system.machine import usable_cores

Device = Literal["auto", "cpu", "cuda"]


def default_workers() -> int:
    """One simulator process per core that we may use, shared with the ranks of this machine."""
    return max(1, int(usable_cores()) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


@dataclass(frozen=True)
class RolloutConfig:
    """How episodes are played; none of it changes a result, only the speed."""

    slots: int = 16
    """Episodes under way at the same time, on each rank."""
    workers: int = 0
    """Simulator processes of each rank, --workers for short; 0 means one per core (at most one
    per slot). A mixed environment has so many of each simulator."""
    inference_batch: int = 8
    """Decisions per forward pass; smaller batches are padded to it. Rounding depends on it."""
    timeout_s: float = 60.0
    """A simulator call that takes longer (seconds) is taken for hung and its process replaced."""

    def __post_init__(self) -> None:
        if self.slots < 1 or self.inference_batch < 1 or self.workers < 0:
            raise ValueError("need slots >= 1, inference_batch >= 1 and workers >= 0")

    @property
    def processes(self) -> int:
        """Simulator processes that will be started."""
        return min(self.slots, self.workers or default_workers())


@dataclass(frozen=True)
class CollectConfig:
    """Demonstrations from the environment's scripted experts."""

    env: EnvConfig
    out: Path | None = None
    """Folder of the new dataset (LeRobot v3 layout)."""
    episodes_per_task: int = 10
    """Successful demonstrations of each task."""
    noise: float = 0.0
    """Standard deviation of noise on what is executed, as a share of the actions' range; recorded
    is what the expert wanted (DART), so that imitators learn to come back."""
    seed: int = 0
    """Chooses the initial states, 1000 to a seed and task, and the action noise."""
    storage: Literal["image", "video"] = "image"
    """Lossless PNG images inside the parquet files, or smaller H.264 video."""
    workers: int = 0
    """Simulator processes; 0 means one per core."""


@dataclass(frozen=True)
class SFTConfig:
    """Supervised fine-tuning of a policy on demonstrations."""

    policy: StartPolicy = StartPolicy()
    fit: FitConfig = FitConfig()
    dataset: Path | None = None
    """Demonstrations: a folder that `pushcut collect` wrote, a LeRobot dataset of others (v2, v3),
    a file of LIBERO's HDF5 demonstrations or a folder of such files."""
    data: DataConfig = DataConfig()
    tasks: tuple[str, ...] = ()
    """Use only the demonstrations of these tasks, named as the environment does or, in a dataset
    without such names, by their instructions; none means all."""
    episodes_per_task: int | None = None
    """Use only the first demonstrations of each task (1: the paper's One-trajectory SFT)."""
    instructions: tuple[str, ...] = ()
    """Instructions whose words a new policy knows besides those of the dataset."""
    statistics: Literal["checkpoint", "data"] = "checkpoint"
    """What a released checkpoint normalises with from now on: its own statistics, or those of the
    demonstrations (a base model that has none, another robot)."""
    save_every: int = 0
    """Steps between copies of the policy in OUT/checkpoints; 0 keeps none but the last."""
    device: Device = "auto"
    seed: int = 0
    """Seed of initial weights, batches and the validation split."""
    out: Path | None = None
    """Folder of the new run; the policy is written to OUT/policy."""


@dataclass(frozen=True)
class EvaluationConfig:
    """Evaluation during training, on held-out initial states."""

    episodes_per_task: int = 25
    """Initial states of each task."""
    every: int = 10
    """Iterations between evaluations; 0 evaluates never."""
    mode: Mode = "greedy"
    """The most likely actions, or sampled ones."""


@dataclass(frozen=True)
class TrainConfig:
    """Online reinforcement learning from a fine-tuned policy."""

    env: EnvConfig
    tasks: tuple[str, ...] = ()
    """Tasks of the environment to train on; none means all."""
    policy: PolicySource = TokenPolicySource()
    algorithm: Algorithm = GRPO()
    critic: CriticConfig = CriticConfig()
    learner: LearnerConfig = LearnerConfig()
    rollout: RolloutConfig = RolloutConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    ranks: RanksConfig = RanksConfig()
    cluster: ClusterConfig = ClusterConfig()
    overlap: bool = False
    """Play the episodes of the next iteration while this one is learned from, with the weights
    from before the update (decoupled PPO objective; a second copy of the weights)."""
    train_init: Literal["sampled", "benchmark"] = "sampled"
    """Initial states of training: placements that the simulator samples, or the benchmark's own
    states that `pushcut eval` uses. The papers do the latter; results are labelled."""
    iterations: int = 100
    """Iterations of collect, select, advantages, update."""
    patience: int = 5
    """Iterations in a row that taught nothing (no mixed group, no reward) after which training
    gives up and says why."""
    save_every: int = 10
    """Iterations between checkpoints."""
    keep: int = 3
    """Newest checkpoints that are kept, besides the best."""
    trackers: tuple[Tracker, ...] = ("tensorboard",)
    """Where metrics go besides metrics.jsonl: tensorboard, wandb (needs pushcut[wandb]),
    prometheus (needs pushcut[prometheus])."""
    prometheus_port: int = 9108
    """Port on 127.0.0.1 where Prometheus finds the metrics; 0 takes any that is free."""
    device: Device = "auto"
    grace_s: float = 20.0
    """After Ctrl-C or SIGTERM an update is finished if that takes at most so many seconds; else it
    is dropped, and a resume goes on from the newest checkpoint."""
    threads: int = 0
    """Torch's CPU threads; 0 leaves torch's own choice."""
    seed: int = 0
    """Seed of everything random."""
    out: Path | None = None
    """Run folder."""
    resume: bool = False
    """Continue the run in OUT from its newest readable checkpoint; begin it where OUT is empty."""

    def __post_init__(self) -> None:
        for name in ("iterations", "patience", "save_every", "keep"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}")
        if not 0 <= self.prometheus_port <= 65535:
            raise ValueError(f"prometheus_port must be 0 to 65535, got {self.prometheus_port}")
        if self.train_init == "benchmark" and not self.env.spec.fixed_inits:
            raise ValueError(
                "train_init benchmark: this environment has no initial states of its own; "
                "leave it at sampled"
            )
        if self.overlap and self.ranks.act_in_step:
            raise ValueError(
                "overlap: ranks that act in step cannot learn at the same time; use "
                "--ranks.rollouts gathered"
            )
        known = self.env.spec.tasks
        if unknown := [task for task in self.tasks if task not in known]:
            raise ValueError(f"unknown tasks {unknown}; the environment has {list(known)}")


@dataclass(frozen=True)
class EvalConfig:
    """Evaluation of a checkpoint on the held-out manifest."""

    env: EnvConfig
    policy: PolicySource = TokenPolicySource()
    rollout: RolloutConfig = RolloutConfig()
    episodes_per_task: int = 50
    """Initial states of each task."""
    first: int = 0
    """First seed of the manifest. LIBERO: 0 … 49 are the benchmark's own states, from 50 on the
    simulator samples others."""
    repeats: int = 1
    """Times that each initial state is played, each with a random stream of its own (SimpleVLA-RL:
    3). Greedy action tokens do the same each time."""
    mode: Mode = "greedy"
    """The most likely actions (tokens) or the ODE (flows); or sampled ones, as in training."""
    device: Device = "auto"
    seed: int = 0
    """Seed of the sampling noise; greedy tokens do not depend on it."""
    baseline: Path | None = None
    """What to compare with, episode by episode: another checkpoint, which is played as well, or
    the JSON of an earlier result on the same initial states."""
    out: Path | None = None
    """File for the result (JSON), its ledger and table (Markdown) beside it; by default
    eval/MODE.json or, where that exists, eval/MODE-2.json and so on."""

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise ValueError(f"repeats must be >= 1, got {self.repeats}")


@dataclass(frozen=True)
class RecipeConfig:
    """Demonstrations, fine-tuning, RL and evaluation in one folder."""

    collect: CollectConfig
    sft: SFTConfig
    train: TrainConfig
    eval: EvalConfig
    out: Path = Path("runs/recipe")
    """Folder of the whole recipe."""
    seed: int = 0
    """Seed of every phase, in place of those of its parts; the held-out states stay the same."""
    resume: bool = False
    """Skip the phases that OUT already holds."""


@dataclass(frozen=True)
class QuickstartConfig(RecipeConfig):
    """The whole recipe: demonstrations, fine-tuning, evaluation, RL, evaluation, report."""

    out: Path = Path("runs/quickstart")
    """Folder of the whole recipe."""
