"""Configs of the commands: frozen dataclasses; presets fill, the command line overrides."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pushcut.algorithms.base import Algorithm
from pushcut.algorithms.grpo import GRPO
from pushcut.cluster.config import ClusterConfig
from pushcut.demos.dialects import DataConfig
from pushcut.envs.base import EnvConfig
from pushcut.envs.randomised.config import OFF
from pushcut.learning.learner import LearnerConfig
from pushcut.learning.sft import FitConfig
from pushcut.policies.base import Mode
from pushcut.policies.source import PolicySource, StartPolicy, TokenPolicySource
from pushcut.policies.value_head import CriticConfig
from pushcut.ranks.config import RanksConfig
from pushcut.runs.trackers import Tracker, check_trackers
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
    per slot). Each member of a mixed environment has this many."""
    inference_batch: int = 8
    """Decisions per forward pass; smaller batches are padded to it. Rounding depends on it."""
    tasks_per_process: int = 0
    """Tasks whose simulators a process keeps, more only while it plays more; others are freed and
    made again. 0: as the environment has it (LIBERO and MetaWorld's stock images: 2)."""
    timeout_s: float = 60.0
    """Seconds after which a simulator call counts as hung and its process is replaced."""

    def __post_init__(self) -> None:
        if self.slots < 1 or self.inference_batch < 1 or self.workers < 0:
            raise ValueError("need slots >= 1, inference_batch >= 1 and workers >= 0")
        if self.tasks_per_process < 0:
            raise ValueError(f"tasks_per_process must be >= 0, got {self.tasks_per_process}")
        if not self.timeout_s > 0:
            raise ValueError(f"timeout_s must be > 0, got {self.timeout_s}")

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
    """Standard deviation of the noise on executed actions, as a share of their range. The dataset
    records the expert's actions without noise (DART), so that imitators learn to recover."""
    seed: int = 0
    """Seed of the action noise and of the initial states (1000 per seed and task)."""
    hold_frames: int = 0
    """Frames after each success in which the expert holds still, gripper as it is (pi_RL: 15)."""
    storage: Literal["image", "video"] = "image"
    """Lossless PNG images inside the parquet files, or smaller H.264 video."""
    workers: int = 0
    """Simulator processes; 0 means one per core."""


@dataclass(frozen=True)
class SFTConfig:
    """Supervised fine-tuning of a policy on demonstrations."""

    policy: StartPolicy = StartPolicy()
    fit: FitConfig = FitConfig()
    dataset: tuple[Path, ...] = ()
    """Demonstrations: a folder that `pushcut collect` or `record` wrote, any LeRobot dataset (v2,
    v3), a file of LIBERO's HDF5 demonstrations or a folder of such files, or of CALVIN's
    recordings. Several are joined."""
    dataset_weights: tuple[float, ...] = ()
    """How often frames of each dataset are drawn, in their order; none: as often as they are
    many."""
    data: DataConfig = DataConfig()
    tasks: tuple[str, ...] = ()
    """Use only the demonstrations of these tasks; none means all. Give the environment's names, or
    the instructions where a dataset has no such names."""
    episodes_per_task: int | None = None
    """Use only the first demonstrations of each task in each dataset (1: the paper's One-trajectory
    SFT)."""
    instructions: tuple[str, ...] = ()
    """Further instructions for the vocabulary of a new policy, besides the dataset's."""
    statistics: Literal["checkpoint", "data"] = "checkpoint"
    """Statistics that a released checkpoint normalises with: its own, or the demonstrations' (for a
    base model, which has none, and for another robot)."""
    save_every: int = 0
    """Steps between checkpoints in OUT/checkpoints: a copy of the policy in each, and in the newest
    what --resume needs; 0 writes one when the run is stopped."""
    ranks: RanksConfig = RanksConfig()
    device: Device = "auto"
    threads: int = 0
    """Torch's CPU threads; 0 leaves torch's own choice. One is best for a small policy."""
    seed: int = 0
    """Seed of initial weights, batches and the validation split."""
    out: Path | None = None
    """Folder of the new run; the policy is written to OUT/policy."""
    resume: bool = False
    """Continue the run in OUT from its newest readable checkpoint; begin it where OUT is empty."""
    trackers: tuple[Tracker, ...] = ("tensorboard",)
    """Where metrics go besides metrics.jsonl: tensorboard, wandb (needs pushcut[wandb]),
    prometheus (needs pushcut[prometheus])."""
    prometheus_port: int = 9108
    """Port on 127.0.0.1 where Prometheus finds the metrics; 0 takes any that is free."""

    def __post_init__(self) -> None:
        if self.save_every < 0:
            raise ValueError(f"save_every must be >= 0, got {self.save_every}")
        if self.episodes_per_task is not None and self.episodes_per_task < 1:
            raise ValueError(f"episodes_per_task must be >= 1, got {self.episodes_per_task}")
        if not all(0 < weight < math.inf for weight in self.dataset_weights):
            raise ValueError(f"dataset_weights must be > 0, got {self.dataset_weights}")
        if self.dataset_weights and len(self.dataset_weights) != len(self.dataset):
            raise ValueError(
                f"dataset_weights has {len(self.dataset_weights)} numbers for "
                f"{len(self.dataset)} datasets"
            )
        check_trackers(self.trackers)


@dataclass(frozen=True)
class EvaluationConfig:
    """Evaluation during training, on held-out initial states."""

    episodes_per_task: int = 25
    """Initial states of each task."""
    every: int = 10
    """Iterations between evaluations; 0 means none."""
    mode: Literal["greedy", "sampled", "both"] = "greedy"
    """The most likely actions, sampled ones, or both, one after the other: then greedy success says
    which checkpoint is the best, and greedy_gap is by how much sampled success is above it."""
    videos: int = 0
    """Episodes of each task that are played once more for a video, after every evaluation."""

    def __post_init__(self) -> None:
        for name, least in (("episodes_per_task", 1), ("every", 0), ("videos", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be >= {least}, got {getattr(self, name)}")

    @property
    def modes(self) -> tuple[Mode, ...]:
        """What is evaluated; the first says which checkpoint is the best."""
        return ("greedy", "sampled") if self.mode == "both" else (self.mode,)


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
    """Play the next iteration's episodes during the update, with the weights from before it
    (decoupled PPO objective; needs a second copy of the weights)."""
    train_init: Literal["sampled", "benchmark"] = "sampled"
    """Initial states of training: placements that the simulator samples, or the benchmark's own
    states that `pushcut eval` uses. The papers do the latter; results are labelled."""
    iterations: int = 100
    """Iterations of collect, select, advantages, update."""
    patience: int = 5
    """Iterations in a row without anything to learn from (no mixed group, no reward) after which
    training stops and says why."""
    save_every: int = 10
    """Iterations between checkpoints."""
    keep: int = 3
    """Number of newest checkpoints to keep, besides the best."""
    trackers: tuple[Tracker, ...] = ("tensorboard",)
    """Where metrics go besides metrics.jsonl: tensorboard, wandb (needs pushcut[wandb]),
    prometheus (needs pushcut[prometheus])."""
    prometheus_port: int = 9108
    """Port on 127.0.0.1 where Prometheus finds the metrics; 0 takes any that is free."""
    device: Device = "auto"
    grace_s: float = 20.0
    """Seconds that an update may still take after Ctrl-C or SIGTERM. A longer one is dropped, and a
    resume continues from the newest checkpoint."""
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
        for name in ("grace_s", "threads"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be >= 0, got {getattr(self, name)}")
        check_trackers(self.trackers)
        if not 0 <= self.prometheus_port <= 65535:
            raise ValueError(f"prometheus_port must be 0 to 65535, got {self.prometheus_port}")
        if self.train_init == "benchmark" and not self.env.spec.fixed_inits:
            raise ValueError(
                "train_init benchmark: this environment has no initial states of its own; "
                "leave it at sampled"
            )
        if self.critic.privileged and not self.env.spec.privileged_names:
            raise ValueError(
                "critic.privileged: this environment tells a critic nothing more than the policy "
                "sees; MetaWorld and the point mass do"
            )
        if self.overlap and self.ranks.act_in_step:
            raise ValueError(
                "overlap: ranks that act in step cannot learn at the same time; use "
                "--ranks.rollouts gathered"
            )
        self._check_batch()
        # The spec only where there is need: some environments are made to know it.
        known = self.env.spec.tasks if self.tasks else {}
        if unknown := [task for task in self.tasks if task not in known]:
            raise ValueError(f"unknown tasks {unknown}; the environment has {list(known)}")

    def _check_batch(self) -> None:
        """ValueError where episodes that share a batch of scenes cannot be what is asked for."""
        if not self.env.repeats and self.algorithm.branches:
            raise ValueError(
                "algorithm.branches: they go on from where another episode was, which this "
                "environment does not repeat exactly; leave it at 0"
            )
        if not self.env.batched:
            return
        if self.evaluation.videos:
            raise ValueError(
                "evaluation.videos: a batch of scenes keeps no films; film the checkpoint "
                "afterwards (`pushcut film`), or play without a batch"
            )
        if self.env.randomisation != OFF or self.rollout.tasks_per_process:
            raise ValueError(
                "a batch of scenes is not randomised and frees no tasks: leave env.randomisation "
                "and rollout.tasks_per_process alone, or play without a batch"
            )
        if self.cluster.simulators != "ranks":
            raise ValueError(
                "cluster.simulators: hosts do not play batches of scenes; leave it at ranks"
            )


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
    """Episodes of each initial state, each with its own random stream (SimpleVLA-RL: 3). Greedy
    action tokens give the same episode each time."""
    mode: Mode = "greedy"
    """The most likely actions (tokens) or the ODE (flows); or sampled ones, as in training."""
    device: Device = "auto"
    seed: int = 0
    """Seed of the sampling noise; greedy tokens do not depend on it."""
    baseline: Path | None = None
    """Compare with this, episode by episode: another checkpoint, which is played too, or the JSON
    of an earlier result on the same initial states."""
    videos: int = 0
    """Episodes of each task that are played once more for a video, in a folder beside the result.
    With 2 or more, a success and a failure where there are both."""
    events: bool = False
    """Write beside the result what happened to the objects of each episode, for `pushcut analyse`:
    MetaWorld, LIBERO and the environments of ManiSkill can tell."""
    out: Path | None = None
    """File for the result (JSON); its ledger, table (Markdown) and videos are written beside it.
    The default is eval/MODE.json in the policy's run (or here, if it has none); if that exists,
    MODE-2.json and so on."""

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
