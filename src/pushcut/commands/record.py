"""`pushcut record`: what a policy solves as a LeRobot dataset, for fine-tuning another on it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pushcut.commands.evaluate import look_at, open_pool, runner_of
from pushcut.commands.remembered import remember
from pushcut.config import Device, EvalConfig, RolloutConfig
from pushcut.demos.attempts import ATTEMPTS_PER_EPISODE, TaskQueue
from pushcut.demos.lerobot.writer import DatasetWriter
from pushcut.envs.base import EnvConfig
from pushcut.envs.init_states import recording_inits
from pushcut.errors import UserError
from pushcut.evaluation.successes import play_successes
from pushcut.instructions import as_remembered
from pushcut.policies.base import Mode
from pushcut.policies.source import PolicySource, TokenPolicySource
from pushcut.presets import Preset
from pushcut.ranks.devices import choose_device
from pushcut.system.progress import bar, say
from pushcut.system.signals import SafeExit

TODO = "ask for fewer, or record a policy that solves it more often"
"""What helps where a policy solves too little."""


@dataclass(frozen=True)
class RecordConfig:
    """Demonstrations from a policy: the episodes that it solves, from training's initial states."""

    env: EnvConfig
    policy: PolicySource = TokenPolicySource()
    rollout: RolloutConfig = RolloutConfig()
    out: Path | None = None
    """Folder of the new dataset (LeRobot v3 layout)."""
    episodes_per_task: int = 50
    """Successful episodes of each task; a task is given up after ten times as many attempts."""
    mode: Mode = "sampled"
    """Sampled actions, as in training, or the likeliest ones."""
    seed: int = 0
    """Seed of the initial states, and of the sampling noise."""
    storage: Literal["image", "video"] = "image"
    """Lossless PNG images inside the parquet files, or smaller H.264 video."""
    device: Device = "auto"

    def __post_init__(self) -> None:
        if self.episodes_per_task < 1:
            raise ValueError(f"episodes_per_task must be >= 1, got {self.episodes_per_task}")

    @staticmethod
    def of(preset: Preset) -> RecordConfig:
        """With the environment and rollout settings of a preset's training."""
        return RecordConfig(preset.train.env, preset.eval.policy, preset.train.rollout)

    @property
    def playing(self) -> EvalConfig:
        """What of it an evaluation has, too."""
        return EvalConfig(
            self.env, self.policy, self.rollout, mode=self.mode, device=self.device, seed=self.seed
        )


def run_record(config: RecordConfig) -> Path:
    """Plays, says how many attempts the successes took, returns the dataset's folder."""
    out = config.out
    if out is None:
        raise UserError("where should the demonstrations go? give --out data/NAME")
    config = replace(config, env=as_remembered(config.env, config.policy))
    look_at(config.playing, [config.policy], "env")
    queues = queues_of(config)
    wanted = sum(queue.wanted for queue in queues)
    # It refuses a folder that exists; nothing is written before policy and simulators are there.
    writer = DatasetWriter(
        out, config.env.spec, storage=config.storage, robot_type=config.env.robot_type
    )
    policy = config.policy.load_to_act(device=choose_device(config.device))
    with SafeExit() as stop, open_pool(config.playing, records=True) as pool, writer:
        with bar("demonstrations", wanted) as progress:
            play_successes(
                runner_of(config.playing, pool, stop),
                policy,
                config.mode,
                queues,
                write=writer.add,
                on_progress=lambda done: progress.set(done, total=wanted),
            )
        frames = writer.frames
    remember(out, config)
    for queue in queues:
        attempts = queue.succeeded + queue.failed
        say(f"{queue.task}: {queue.succeeded} demonstrations in {attempts} attempts")
    say(f"{frames} frames in {out}")
    return out


def queues_of(config: RecordConfig) -> list[TaskQueue]:
    """The attempts at each task."""
    wanted = config.episodes_per_task
    count = wanted * ATTEMPTS_PER_EPISODE
    return [
        TaskQueue(recording_inits(task, seed=config.seed, count=count), wanted, "the policy", TODO)
        for task in config.env.spec.tasks
    ]
