"""What rollouts cost with sharded weights: gathered, in step, and whole on every rank.

The ranks play the same episodes of the point mass with a tiny policy and with a transformer of
26 million parameters, whose weights they hold in these three ways in turn; the order alternates
from round to round, so that a busy moment of the machine falls on all of them, and ratios are
medians over the rounds. CPU time is that of ranks and simulators together: it depends less on what
else runs than seconds do. Memory is the most that a rank had more than before it made the policy:
anonymous memory (of torch on a GPU). All play the same episodes.

The last line is one JSON object. Run: python benchmarks/sharded_rollouts.py [--ranks 2], which
starts the ranks, or start them yourself, on GPUs for instance:
torchrun --nproc-per-node 8 benchmarks/sharded_rollouts.py --groups 64
"""

# ruff: noqa: E402 - what must be set before torch loads
from __future__ import annotations

from pushcut.cli import prepare_process

prepare_process()

import argparse
import contextlib
import ctypes
import gc
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from pushcut.envs.point_mass import PointMassConfig
from pushcut.envs.pool.pool import EnvPool
from pushcut.policies.normalisation import small_stats
from pushcut.policies.small.token_vla import TinyConfig, TinyPolicy
from pushcut.ranks.base import Ranks
from pushcut.ranks.config import RanksConfig
from pushcut.ranks.devices import choose_device
from pushcut.ranks.launcher import launched
from pushcut.ranks.start import joined
from pushcut.rollout.collector import Collector
from pushcut.rollout.episode_runner import EpisodeRunner
from pushcut.runs.run import provenance
from pushcut.system.progress import mute

ENV = PointMassConfig(image_size=64)
STATISTICS = small_stats((-1.0,) * 2, (1.0,) * 2, (0.0,) * 2, (0.5,) * 2)
SIZES = {
    "tiny": TinyConfig(cameras=("top",)),
    "mid": TinyConfig(cameras=("top",), width=512, depth=8, heads=8),
}
WAYS = {
    "replicated": RanksConfig(),
    "gathered": RanksConfig(weights="sharded", rollouts="gathered"),
    "in-step": RanksConfig(weights="sharded", rollouts="in-step"),
}
GROUP = 4
"""Episodes of a group."""


@dataclass
class Peak:
    """The most memory in use, in bytes."""

    value: int = 0


def memory() -> int:
    """Of torch on the GPU, or the anonymous memory of this process without what is free in it."""
    if torch.cuda.is_available():
        return torch.cuda.memory_allocated()
    with contextlib.suppress(OSError, AttributeError):  # other systems' libraries
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous")) * 1024


@contextlib.contextmanager
def watched() -> Iterator[Peak]:
    """Looks at the memory all the time."""
    peak, over = Peak(), threading.Event()

    def look() -> None:
        while not over.wait(0.002):
            peak.value = max(peak.value, memory())

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    thread = threading.Thread(target=look)
    thread.start()
    yield peak
    over.set()
    thread.join()
    if torch.cuda.is_available():
        peak.value = torch.cuda.max_memory_allocated()


def cpu_seconds() -> float:
    """Of this process and its simulators, so far."""
    me = psutil.Process()
    times = [process.cpu_times() for process in (me, *me.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def make(size: str) -> TinyPolicy:
    torch.manual_seed(0)
    words = ENV.spec.tasks.values()
    return TinyPolicy.for_data(SIZES[size], statistics=STATISTICS, instructions=words).eval()


def collector(player: EpisodeRunner, ranks: Ranks, groups: int) -> Collector:
    return Collector(
        player,
        tasks=list(ENV.spec.tasks),
        seed=0,
        group_size=GROUP,
        groups=groups,
        max_groups=groups,
        accepts=lambda successes, returns: True,
        ranks=ranks,
    )


def measure(size: str, ranks: Ranks, player: EpisodeRunner, groups: int) -> dict[str, Any]:
    """A rollout of all ranks together, after one that warms up and tells the memory."""
    gc.collect()
    before = memory()
    policy = make(size)
    if not ranks.sharded:
        policy.to(choose_device("auto", ranks.local))
    ranks.place(policy, policy.parameter_dtypes())
    gc.collect()
    held = memory() - before
    with watched() as peak:
        collector(player, ranks, ranks.count).collect(policy, 0)
    ranks.gather(None)
    cpu, start = cpu_seconds(), time.perf_counter()
    rollout = collector(player, ranks, groups).collect(policy, 0)
    seconds, cpu = time.perf_counter() - start, cpu_seconds() - cpu
    return {
        "decisions": len(rollout),
        "steps": int(rollout.length.sum()),
        "seconds": max(ranks.gather(seconds)),
        "cpu_seconds": sum(ranks.gather(cpu)),
        "held": max(ranks.gather(held)),
        "peak": max(ranks.gather(peak.value - before)),
    }


def serve(options: argparse.Namespace) -> None:
    """This rank's part in all rounds; the first rank prints the record."""
    torch.set_num_threads(options.threads)
    first = int(os.environ["RANK"]) == 0
    if not first:
        mute()
    found: dict[str, dict[str, list[dict[str, Any]]]] = {
        size: {way: [] for way in WAYS} for size in options.sizes
    }
    with EnvPool(ENV, slots=options.slots, workers=options.workers, timeout_s=60.0) as pool:
        player = EpisodeRunner(pool, seed=0, inference_batch=options.slots // 2)
        for number in range(options.rounds + 1):
            for size in options.sizes:
                for way in list(WAYS) if number % 2 else reversed(WAYS):
                    with joined(WAYS[way]) as ranks:
                        result = measure(size, ranks, player, options.groups)
                    if number:  # the first warms up
                        found[size][way].append(result)
                    if first:
                        print(number, size, way, result, flush=True)
    if first:
        print(json.dumps(record(found, options)))


def record(
    found: dict[str, dict[str, list[dict[str, Any]]]], options: argparse.Namespace
) -> dict[str, Any]:
    """Medians, and ratios to whole weights of the same round."""
    sizes = {}
    for size, ways in found.items():
        played = {(run["decisions"], run["steps"]) for runs in ways.values() for run in runs}
        assert len(played) == 1, "not the same episodes"
        sizes[size] = {
            "parameters": sum(p.numel() for p in make(size).parameters()),
            "decisions": next(iter(played))[0],
            **{way: summary(runs, ways["replicated"]) for way, runs in ways.items()},
        }
    fields = ("groups", "slots", "workers", "threads", "rounds")
    return {
        "sizes": sizes,
        "ranks": int(os.environ["WORLD_SIZE"]),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        **{name: getattr(options, name) for name in fields},
        "cpus": os.cpu_count(),
        "load": [round(x, 1) for x in os.getloadavg()],
        **provenance(),
    }


def summary(runs: list[dict[str, Any]], whole: list[dict[str, Any]]) -> dict[str, Any]:
    """Of one way."""
    pairs = list(zip(runs, whole, strict=True))
    return {
        **{
            f"{name}_ratio": round(statistics.median(a[name] / b[name] for a, b in pairs), 2)
            for name in ("cpu_seconds", "seconds")
        },
        "held_mb": round(statistics.median(run["held"] for run in runs) / 1e6, 1),
        "peak_mb": round(statistics.median(run["peak"] for run in runs) / 1e6, 1),
        "cpu_seconds": [round(run["cpu_seconds"], 2) for run in runs],
        "seconds": [round(run["seconds"], 2) for run in runs],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Rollouts with sharded weights, three ways.")
    parser.add_argument("--ranks", type=int, default=2, help="where no launcher started us")
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--groups", type=int, default=8)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if launched():
        serve(options)
        return
    run = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(options.ranks)]
    sys.exit(subprocess.call([sys.executable, *run, *sys.argv]))


if __name__ == "__main__":
    main()
