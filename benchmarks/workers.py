"""Two simulator processes against one: simulator steps per second of the same play.

MetaWorld with random chunks and an image after each, as in rollout.py, at the same number of
slots. The two are measured in turns, in an order that alternates, so that a busy moment of the
machine falls on both; the ratio is the median over the rounds.

The last line is one JSON object. Run: python benchmarks/workers.py [--slots 16]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics

from pushcut.envs.mujoco.gl import choose_gl
from pushcut.runs.run import provenance
from rollout import pool_rate


def main() -> None:
    parser = argparse.ArgumentParser(description="Rollouts with several processes against one.")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--slots", type=int, default=16)
    options = parser.parse_args()
    choose_gl()
    os.environ.setdefault("LP_NUM_THREADS", "0")  # as in rollout.py: Mesa draws in the worker
    rates: dict[int, list[float]] = {1: [], options.workers: []}
    with pool_rate(1, options.slots) as one, pool_rate(options.workers, options.slots) as several:
        players = [(1, one), (options.workers, several)]
        for number in range(options.rounds):
            for workers, player in players[:: 1 if number % 2 else -1]:
                rates[workers].append(round(player.measure(options.seconds), 1))
            print({workers: values[-1] for workers, values in rates.items()}, flush=True)
    ratios = [many / one for one, many in zip(rates[1], rates[options.workers], strict=True)]
    record = {
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(ratio, 2) for ratio in ratios],
        "steps_per_second": {workers: statistics.median(v) for workers, v in rates.items()},
        "workers": options.workers,
        "slots": options.slots,
        "cpus": os.cpu_count(),
        "load": [round(x, 1) for x in os.getloadavg()],
        **provenance(),
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
