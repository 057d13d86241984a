"""Cost of events in a rollout: episodes with and without them, in turns, with a small policy.

Both play MetaWorld through the same player, slots and workers; the ratio of the rates is what
`pushcut eval --events` leaves of a rollout's speed. A fresh policy acts at random; --policy names
one that touches objects, of the same four tasks (the quickstart's). Measure on a quiet machine.

The last line is one JSON object. Run: python benchmarks/events_in_the_loop.py [--rounds 10]
"""

# ruff: noqa: E402 - what must be set before torch loads
from __future__ import annotations

from pushcut.cli import prepare_process

prepare_process()

import argparse
import json
import os
import statistics
from pathlib import Path

from policy_in_the_loop import fresh_policy, rate
from pushcut.envs.metaworld.env import MetaWorldConfig
from pushcut.envs.pool.pool import EnvPool
from pushcut.envs.pool.recording import NOTHING, Record
from pushcut.policies.kinds import load
from pushcut.presets import PRESETS
from pushcut.runs.run import provenance

RECORDS = {"off": NOTHING, "on": Record(events=True)}


def main() -> None:
    parser = argparse.ArgumentParser(description="What events cost in a rollout.")
    parser.add_argument("--policy", type=Path, help="a policy's folder; else a fresh one")
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--inference-batch", type=int, default=8)
    parser.add_argument("--episodes-per-task", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    config = PRESETS["quickstart"].eval.env
    assert isinstance(config, MetaWorldConfig)
    policy = load(options.policy) if options.policy else fresh_policy(config.tasks)
    ratios, rates = [], {name: [] for name in RECORDS}
    with EnvPool(config, slots=options.slots, workers=options.workers) as pool:

        def measured(name: str) -> float:
            count, batch = options.episodes_per_task, options.inference_batch
            return rate(policy, pool, count, batch, RECORDS[name])

        measured("on")  # builds simulators
        for number in range(options.rounds):
            order = list(RECORDS) if number % 2 else list(RECORDS)[::-1]
            found = {name: measured(name) for name in order}
            ratios.append(found["off"] / found["on"] - 1)
            for name, value in found.items():
                rates[name].append(value)
    share = statistics.median(ratios)
    print(f"events cost {100 * share:.1f} % of a rollout's time")
    record = {
        "benchmark": "events_in_the_loop",
        "median_share": round(share, 4),
        "quartiles": [round(x, 4) for x in statistics.quantiles(ratios, n=4)],
        "steps_per_second": {name: round(statistics.median(x), 1) for name, x in rates.items()},
        "policy": str(options.policy or "fresh"),
        "slots": options.slots,
        "workers": options.workers,
        "inference_batch": options.inference_batch,
        "cpus": os.cpu_count(),
        **provenance(),
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
