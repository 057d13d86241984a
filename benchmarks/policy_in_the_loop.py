"""What the policy costs: rollouts with the tiny policy against the same with random chunks.

Both play MetaWorld through the same player, slots and workers; the baseline's policy is a
random one that takes no time, so that the ratio is the share of the pure simulation rate
that is left with the default tiny policy (d = 192, 4 layers) in the loop.

The last line is one JSON object. Run: python benchmarks/policy_in_the_loop.py [--slots 16]
"""

# ruff: noqa: E402 - what must be set before torch loads
from __future__ import annotations

from pushcut.cli import prepare_process

prepare_process()

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pushcut.batch import Evaluation, PolicySample
from pushcut.envs.init_states import evaluation_inits
from pushcut.envs.metaworld.env import MetaWorldConfig
from pushcut.envs.pool.pool import EnvPool
from pushcut.envs.pool.recording import NOTHING, Record
from pushcut.policies.base import Mode, Policy
from pushcut.policies.noise import DecisionNoise
from pushcut.policies.normalisation import small_stats
from pushcut.policies.small.token_vla import TinyConfig, TinyPolicy
from pushcut.rollout.episode_runner import EpisodeRunner, PlayedEpisode
from pushcut.rollout.scheduler import ListSchedule
from pushcut.runs.run import provenance
from pushcut.types import Observation

TASKS = ("button-press-topdown-v3", "coffee-button-v3", "handle-press-v3", "door-close-v3")
STATISTICS = small_stats((-1.0,) * 4, (1.0,) * 4, (0.0, 0.6, 0.2, 0.5), (0.1, 0.1, 0.1, 0.5))


class RandomPolicy(Policy):
    """Uniform actions at no cost."""

    cameras, chunk, image_size, state_size, action_size = ("corner2",), 5, 64, 4, 4

    def sample(self, obs: Observation, noise: DecisionNoise, mode: Mode) -> PolicySample:
        actions = torch.from_numpy(noise.uniform(self.chunk, 4)) * 2 - 1
        return PolicySample(actions, {"actions": actions}, torch.zeros_like(actions))

    def evaluate(self, obs: Observation, trace: dict[str, Tensor]) -> Evaluation:
        raise NotImplementedError

    def bc_loss(
        self, obs: Observation, action_chunk: Tensor, valid: Tensor, generator: np.random.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        raise NotImplementedError

    def load_weights(self, path: Path) -> None:
        """It has none."""

    def save_pretrained(self, path: Path) -> None:
        raise NotImplementedError


def rate(
    policy: Policy,
    pool: EnvPool,
    episodes_per_task: int,
    inference_batch: int,
    record: Record = NOTHING,
) -> float:
    """Environment steps per second of sampled episodes."""
    steps = 0

    def count(episode: PlayedEpisode) -> None:
        nonlocal steps
        steps += episode.sim_steps

    player = EpisodeRunner(pool, seed=0, inference_batch=inference_batch)
    schedule = ListSchedule(evaluation_inits(list(pool.spec.tasks), episodes_per_task))
    start = time.perf_counter()
    player.play(policy, schedule, iteration=0, mode="sampled", on_episode=count, record=record)
    return steps / (time.perf_counter() - start)


def fresh_policy(tasks: tuple[str, ...]) -> TinyPolicy:
    """The default tiny policy, whose head is nearly uniform over the bins: it acts at random."""
    torch.manual_seed(0)
    instructions = MetaWorldConfig(tasks=tasks).spec.tasks.values()
    return TinyPolicy.for_data(TinyConfig(), statistics=STATISTICS, instructions=instructions)


def startup_seconds(*command: str) -> float:
    """Median wall time of a command."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return round(statistics.median(times), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description="The tiny policy's share of rollout time.")
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--inference-batch", type=int, default=8)
    parser.add_argument("--episodes-per-task", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    # Both policies act at random: their episodes last equally long.
    policies: dict[str, Policy] = {"random": RandomPolicy(), "tiny": fresh_policy(TASKS)}
    rates: dict[str, list[float]] = {name: [] for name in policies}
    config = MetaWorldConfig(tasks=TASKS)
    with EnvPool(config, slots=options.slots, workers=options.workers) as pool:
        for measured in range(options.rounds + 1):
            for name, policy in policies.items():
                value = rate(policy, pool, options.episodes_per_task, options.inference_batch)
                if measured:  # the first round builds simulators
                    rates[name].append(value)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    record = {
        "ratio_with_policy": round(medians["tiny"] / medians["random"], 3),
        "steps_per_second": {name: round(value, 1) for name, value in medians.items()},
        "slots": options.slots,
        "workers": options.workers,
        "inference_batch": options.inference_batch,
        "cpus": os.cpu_count(),
        "seconds_python": startup_seconds("-c", "pass"),
        "seconds_import_pushcut": startup_seconds("-c", "import pushcut"),
        "seconds_help": startup_seconds("-m", "pushcut", "--help"),
        **provenance(),
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
