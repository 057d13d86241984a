"""What an update costs per decision: hybrid traces against two-layer chains of K = 4.

Forward, loss and backward of the same flow policy on the same observations, in turns, with the
encoder's output kept in the rollout (the default), the encoder run again, and the encoder
trained; the ratio is two-layer over hybrid. The last line is one JSON object.

    python benchmarks/flow_update.py [--decisions 128] [--rounds 7]
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

import numpy as np
import torch

from pushcut.envs.metaworld.env import MetaWorldConfig
from pushcut.policies.flow.transitions import MDP, Denoising
from pushcut.policies.noise import DecisionKey, DecisionNoise
from pushcut.policies.normalisation import small_stats
from pushcut.policies.small.flow_vla import FlowConfig, FlowPolicy
from pushcut.runs.run import provenance
from pushcut.types import Observation

STATISTICS = small_stats((-1.0,) * 4, (1.0,) * 4, (0.0, 0.6, 0.2, 0.5), (0.1, 0.1, 0.1, 0.5))


def seconds_of_update(policy: FlowPolicy, obs: Observation) -> float:
    """Seconds of evaluating stored samples with gradients."""
    keys = [DecisionKey(0, 0, row, 0, 0) for row in range(len(obs))]
    trace = policy.sample(obs, DecisionNoise(keys), "sampled").trace
    policy.zero_grad()
    start = time.perf_counter()
    policy.evaluate(obs, trace).logprob.sum().backward()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decisions", type=int, default=128)
    parser.add_argument("--chunk", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    instruction = MetaWorldConfig(tasks=("door-close-v3",)).spec.tasks["door-close-v3"]
    images = generator.integers(0, 256, (options.decisions, 64, 64, 3), dtype=np.uint8)
    state = generator.random((options.decisions, 4), dtype=np.float32)
    obs = Observation({"corner2": images}, state, [instruction] * options.decisions)
    results: dict[str, dict[str, float]] = {}
    for prefix in ("kept", "frozen", "trained"):
        torch.manual_seed(0)
        policy = FlowPolicy.for_data(
            FlowConfig(chunk=options.chunk), statistics=STATISTICS, instructions=[instruction]
        ).eval()
        policy.train_prefix(prefix == "trained", kept=prefix == "kept")
        times: dict[MDP, list[float]] = {"hybrid": [], "two-layer": []}
        for measured in range(options.rounds + 1):
            for chain, values in times.items():
                policy.explore(Denoising(mdp=chain))
                seconds = seconds_of_update(policy, obs)
                if measured:  # the first round warms up
                    values.append(seconds)
        medians = {name: statistics.median(values) for name, values in times.items()}
        per_decision = {
            f"ms_per_decision_{name.replace('-', '_')}": round(1e3 * value / options.decisions, 3)
            for name, value in medians.items()
        }
        results[f"prefix_{prefix}"] = per_decision | {
            "ratio_two_layer_over_hybrid": round(medians["two-layer"] / medians["hybrid"], 2)
        }
    shape = {"decisions": options.decisions, "chunk": options.chunk, "num_steps": 4}
    print(json.dumps({**results, **shape, "cpus": os.cpu_count(), **provenance()}))


if __name__ == "__main__":
    main()
