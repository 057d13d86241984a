"""What a decision of the small token policy costs, acting and learning, by its shape.

The quickstart's policy with its own shape, with a query for each dimension, and with twice the
channels in front, in turns, against both (the shape of pushcut 0.2.0). One thread: rollouts
share the cores with simulators. The last line is one JSON object.

    python benchmarks/token_shapes.py [--rounds 15]
"""

# ruff: noqa: E402 - what must be set before torch loads
from __future__ import annotations

from pushcut.cli import prepare_process

prepare_process()

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from pushcut.policies.noise import DecisionKey, DecisionNoise
from pushcut.policies.normalisation import small_stats
from pushcut.policies.small.token_vla import TinyConfig, TinyPolicy
from pushcut.presets.metaworld import LAPTOP_POLICY, QUICKSTART_ENV
from pushcut.runs.run import provenance
from pushcut.types import Observation

STATISTICS = small_stats((-1.0,) * 4, (1.0,) * 4, (0.0, 0.6, 0.2, 0.5), (0.1, 0.1, 0.1, 0.5))
BASELINE = "queries per dimension, 32 channels"
SHAPES = {
    BASELINE: replace(LAPTOP_POLICY, queries_per_step=None, stem_channels=32),
    "one query per step, 32 channels": replace(LAPTOP_POLICY, stem_channels=32),
    "queries per dimension, 16 channels": replace(LAPTOP_POLICY, queries_per_step=None),
    "one query per step, 16 channels": LAPTOP_POLICY,
}
ACTING, LEARNING = 16, 256
"""Decisions at once: the presets' inference batch and micro-batch."""


def observations(count: int) -> Observation:
    """Random images, with the quickstart's instructions."""
    generator = np.random.default_rng(0)
    told = list(QUICKSTART_ENV.spec.tasks.values())
    return Observation(
        {"corner2": generator.integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)},
        generator.random((count, 4), dtype=np.float32),
        [told[row % len(told)] for row in range(count)],
    )


def policy_of(config: TinyConfig) -> TinyPolicy:
    torch.manual_seed(0)
    told = QUICKSTART_ENV.spec.tasks.values()
    return TinyPolicy.for_data(config, statistics=STATISTICS, instructions=list(told)).eval()


def noise(count: int) -> DecisionNoise:
    return DecisionNoise([DecisionKey(0, 0, row, 0, 0) for row in range(count)])


def acting(policy: TinyPolicy) -> Callable[[], object]:
    obs = observations(ACTING)
    return lambda: policy.sample(obs, noise(ACTING), "sampled")


def learning(policy: TinyPolicy) -> Callable[[], object]:
    obs = observations(LEARNING)
    trace = policy.sample(obs, noise(LEARNING), "sampled").trace

    def step() -> None:
        policy.zero_grad()
        policy.evaluate(obs, trace).logprob.sum().backward()

    return step


def in_turns(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each call; a first round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for measured in range(rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if measured:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    policies = {name: policy_of(config) for name, config in SHAPES.items()}
    kinds = (("acting", acting, ACTING), ("learning", learning, LEARNING))
    rows: dict[str, dict[str, float]] = {
        name: {"weights": sum(x.numel() for x in policy.parameters())}
        for name, policy in policies.items()
    }
    for kind, call_of, decisions in kinds:
        calls = {name: call_of(policy) for name, policy in policies.items()}
        medians = in_turns(calls, options.rounds)
        for name, seconds in medians.items():
            rows[name][f"ms_per_decision_{kind}"] = round(1e3 * seconds / decisions, 3)
            rows[name][f"ratio_{kind}"] = round(seconds / medians[BASELINE], 2)
    for name, row in rows.items():
        print(
            f"{name:36} acting {row['ratio_acting']:.2f}, learning {row['ratio_learning']:.2f} of "
            "the baseline's time"
        )
    print(json.dumps({"shapes": rows, "cpus": os.cpu_count(), **provenance()}))


if __name__ == "__main__":
    main()
