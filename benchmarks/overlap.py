"""Overlap across iterations: seconds per iteration with `--overlap` against without.

Both train MetaWorld from the same policy with as many simulator processes and one torch thread, in
turns whose order alternates; each pair has a seed of its own. Iterations that are played alone (the
first, those that begin with a checkpoint) count too, as in a real run; the time to start does not.
The episodes differ, for the policies do: the rate is simulator steps per second of training.
What overlap costs in learning is a study: studies/overlap_learning.py.

The last line is one JSON object.
Run: python benchmarks/overlap.py --policy FOLDER [--workers 1 2] [--iterations 8] [--pairs 2]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from pushcut.runs.run import provenance, read_metrics
from pushcut.runs.timings import LOOP, of_line


def trained(policy: Path, out: Path, options: argparse.Namespace, *extra: str) -> dict[str, Any]:
    """A training run: simulator steps per second of its iterations, and what came of it."""
    command = [
        sys.executable, "-m", "pushcut", "train", options.preset, "--policy.path", str(policy),
        "--iterations", str(options.iterations), "--save-every", str(options.iterations),
        "--evaluation.every", "0", "--threads", "1", "--out", str(out), *extra,
    ]  # fmt: skip
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    lines = read_metrics(out / "metrics.jsonl")
    times = [of_line(line) for line in lines]
    seconds = sum(row[name] for row in times for name in LOOP if name in row)
    phases = {name: statistics.fmean(row[name] for row in times) for name in ("rollout", "update")}
    return {"rate": sum(line["env_steps"] for line in lines) / seconds, **phases}


def measure(policy: Path, folder: Path, workers: int, options: argparse.Namespace) -> Any:
    """What became of both in each pair, and the ratios of their rates."""
    found: dict[str, list[dict[str, Any]]] = {"overlap": [], "no-overlap": []}
    for number in range(options.pairs):
        for kind in list(found)[:: 1 if number % 2 else -1]:
            out = folder / f"{kind}-{workers}-{number}"
            extra = (f"--{kind}", "--rollout.workers", str(workers), "--seed", str(number))
            found[kind].append(trained(policy, out, options, *extra))
            print(f"{workers} workers, seed {number}, {kind}: {found[kind][-1]}", flush=True)
    pairs = zip(found["overlap"], found["no-overlap"], strict=True)
    ratios = [round(ahead["rate"] / due["rate"], 3) for ahead, due in pairs]
    return {"ratio": statistics.median(ratios), "ratios": ratios, **found}


def main() -> None:
    parser = argparse.ArgumentParser(description="Training with rollouts played ahead.")
    parser.add_argument("--preset", default="metaworld-grpo")
    parser.add_argument("--policy", type=Path, required=True, help="fine-tuned policy")
    parser.add_argument("--iterations", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as name:
        cases = {n: measure(options.policy, Path(name), n, options) for n in options.workers}
    record = {
        "ratio": {n: case["ratio"] for n, case in cases.items()},
        "cases": cases,
        "preset": options.preset,
        "iterations": options.iterations,
        "cpus": os.cpu_count(),
        "load": [round(x, 1) for x in os.getloadavg()],
        **provenance(),
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
