"""Trains for an hour and watches: memory of trainer and workers, processes, files, shared memory.

    python studies/soak.py [--minutes 60] [--env metaworld] [--workers 1] [--out runs/soak]

Training runs as a program of its own, evaluations and checkpoints included. The learning rate is
next to nothing, so that no task is ever solved and every iteration plays, learns and saves. At the
end the trainer is killed (SIGKILL), its run resumed, and that stopped by SIGTERM; afterwards
no process and no shared memory may be left. Writes OUT/soak.csv and OUT/soak.png; the last line
is one JSON object.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student_t

from processes import (
    Process,
    descendants,
    end,
    identify,
    memory,
    open_files,
    shared_memory_mb,
    start_pushcut,
    wait_until,
)
from pushcut.presets import PRESETS
from pushcut.runs.run import provenance, read_metrics
from trials import fine_tuned

PRESET = {"point-mass": "smoke", "metaworld": "quickstart"}
WARM_UP = 0.2
"""Share of the run that is left out of the slope: simulators are made, caches fill."""
BLOCKS = 16
"""Medians of so many stretches make the slope: neighbouring samples are not independent."""
LEAST_MINUTES = 10.0
"""Less says nothing about growth per hour."""


@dataclass(frozen=True)
class Sample:
    """One look at the program; memory in MB."""

    seconds: float
    iteration: int
    trainer_rss: float
    trainer_pss: float
    trainer_own: float
    workers_rss: float
    workers_pss: float
    workers_own: float
    shared: float
    """Shared memory of the program."""
    processes: int
    open_files: int
    machine_shared: float
    """All of /dev/shm, other programs included."""


def take_sample(pid: int, run: Path, start: float) -> Sample | None:
    """Looks at a training program; None where part of it ended meanwhile."""
    workers = descendants(pid)
    own = memory(pid)
    theirs = [memory(worker.pid) for worker in workers]
    if own is None or not all(theirs):
        return None
    found = [each for each in theirs if each is not None]
    return Sample(
        seconds=round(time.monotonic() - start, 1),
        iteration=len(read_metrics(run / "metrics.jsonl")),
        trainer_rss=own.rss,
        trainer_pss=own.pss,
        trainer_own=own.own,
        workers_rss=sum(each.rss for each in found),
        workers_pss=sum(each.pss for each in found),
        workers_own=sum(each.own for each in found),
        shared=own.shared + sum(each.shared for each in found),
        processes=1 + len(workers),
        open_files=open_files(pid) + sum(open_files(worker.pid) for worker in workers),
        machine_shared=shared_memory_mb(),
    )


def watch(
    program: subprocess.Popen[bytes], run: Path, seconds: float, interval: float, file: Path
) -> list[Sample]:
    """Takes samples from the first iteration on and writes each to a CSV file at once."""
    metrics = run / "metrics.jsonl"
    wait_until(lambda: bool(read_metrics(metrics)) or program.poll() is not None, 300, 0.1)
    start = time.monotonic()
    samples: list[Sample] = []
    with file.open("w", newline="") as output:
        writer = csv.DictWriter(output, [field.name for field in fields(Sample)])
        writer.writeheader()
        while time.monotonic() - start < seconds:
            time.sleep(interval)
            if program.poll() is not None:
                raise SystemExit(f"training ended by itself, exit code {program.returncode}")
            sample = take_sample(program.pid, run, start)
            if sample is None:
                continue  # a process ended while we looked
            samples.append(sample)
            writer.writerow({k: round(v, 2) for k, v in asdict(sample).items()})
            output.flush()
    return samples


def growth_per_hour(seconds: Sequence[float], values: Sequence[float]) -> dict[str, Any] | None:
    """Slope after the warm-up with its 95 % interval, from medians of equal stretches."""
    time_h, value = np.asarray(seconds) / 3600, np.asarray(values)
    kept = time_h >= time_h[0] + WARM_UP * (time_h[-1] - time_h[0])
    if kept.sum() < 2 * BLOCKS:
        return None
    x = np.array([np.median(block) for block in np.array_split(time_h[kept], BLOCKS)])
    y = np.array([np.median(block) for block in np.array_split(value[kept], BLOCKS)])
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    residual = y - y.mean() - slope * centred
    error = float(np.sqrt(residual @ residual / (BLOCKS - 2) / (centred @ centred)))
    half = float(student_t.ppf(0.975, BLOCKS - 2)) * error
    return {
        "slope": round(slope, 2),
        "interval": [round(slope - half, 2), round(slope + half, 2)],
        "mean": round(float(value[kept].mean()), 1),
    }


def train_arguments(preset: str, policy: Path, run: Path, workers: int) -> list[str]:
    """A training that never ends by itself."""
    return [
        *("train", preset, "--policy.path", str(policy), "--out", str(run)),
        *("--threads", "1", "--device", "cpu", "--iterations", "1000000", "--patience", "1000000"),
        *("--save-every", "5", "--evaluation.every", "10", "--evaluation.episodes-per-task", "3"),
        *("--learner.lr", "1e-12", "--rollout.workers", str(workers), "--rollout.slots", "8"),
        *("--algorithm.groups", "4", "--algorithm.max-groups", "8"),
    ]


def check_ends(
    program: subprocess.Popen[bytes], arguments: list[str], run: Path, log: Path
) -> dict[str, Any]:
    """Kills the trainer, resumes it, stops it; counts what is left behind each time."""
    family = descendants(program.pid)
    code, _ = end(program, signal.SIGKILL)
    killed = {"exit_code": code} | left_behind(family)
    metrics = run / "metrics.jsonl"
    program = start_pushcut([*arguments, "--resume"], log)
    resumed = wait_until(
        lambda: program.poll() is not None or any(x.get("resumes") for x in read_metrics(metrics)),
        timeout_s=600,
        interval_s=0.2,
    )
    family = descendants(program.pid)
    code, seconds = end(program)
    stopped = {"exit_code": code, "seconds": round(seconds, 2)} | left_behind(family)
    return {"after_sigkill": killed, "resumed": resumed, "after_sigterm": stopped}


def left_behind(family: Sequence[Process]) -> dict[str, Any]:
    """How many processes of a program that has ended are still there after a while."""
    start = time.monotonic()
    wait_until(lambda: not any(process.alive for process in family), timeout_s=15)
    seconds = round(time.monotonic() - start, 2)
    return {
        "processes": len(family),
        "leaked": sum(process.alive for process in family),
        "gone_after_s": seconds,
    }


def plot(samples: Sequence[Sample], path: Path, note: str) -> None:
    """Memory over time, pages of libraries left out."""
    from matplotlib.figure import Figure  # without pyplot, which would look for a display

    minutes = [sample.seconds / 60 for sample in samples]
    curves = {
        "trainer": [sample.trainer_own for sample in samples],
        "workers": [sample.workers_own for sample in samples],
        "shared memory": [sample.shared for sample in samples],
    }
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, megabytes in curves.items():
        axes.plot(minutes, megabytes, linewidth=1.2, label=name)
    axes.set(xlabel="minutes", ylabel="MB allocated")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, frameon=False)
    figure.supxlabel(note, fontsize=7, color="#555555", wrap=True)
    figure.savefig(path, dpi=90)


def verdict(samples: Sequence[Sample], limit: float) -> dict[str, Any]:
    """Growth of each curve, and whether memory is flat; None where the run was too short."""
    seconds = [sample.seconds for sample in samples]
    names = (
        "trainer_own", "workers_own", "trainer_rss", "workers_rss", "trainer_pss", "workers_pss",
        "shared", "open_files",
    )  # fmt: skip
    growth = {
        name: growth_per_hour(seconds, [getattr(each, name) for each in samples]) for name in names
    }
    long_enough = seconds[-1] - seconds[0] >= 60 * LEAST_MINUTES
    ends = [growth[name] for name in ("trainer_own", "workers_own")]
    flat = None
    if long_enough and all(ends):
        flat = all(each["interval"][1] <= limit for each in ends if each is not None)
    return {
        "flat": flat,
        "growth_mb_per_hour": growth,
        "processes": sorted({sample.processes for sample in samples}),
        "open_files_first_last": [samples[0].open_files, samples[-1].open_files],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--env", choices=list(PRESET), default="metaworld")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--interval", type=float, help="seconds between samples; default by length")
    parser.add_argument("--limit", type=float, default=10.0, help="MB per hour that count as flat")
    parser.add_argument("--policy", type=Path, help="fine-tuned policy; made where none is given")
    parser.add_argument("--out", type=Path, default=Path("runs/soak"))
    parser.add_argument("--commit", help="where git cannot tell: a copy of the sources")
    options = parser.parse_args()
    if sys.platform != "linux":
        raise SystemExit("this benchmark reads /proc: it needs Linux")
    options.out.mkdir(parents=True, exist_ok=True)
    interval = options.interval or min(5.0, max(0.1, options.minutes))
    preset = PRESETS[PRESET[options.env]]
    policy = options.policy or fine_tuned(preset, options.out)
    run, log = options.out / "run", options.out / "train.log"
    arguments = train_arguments(PRESET[options.env], policy, run, options.workers)
    shared_before = shared_memory_mb()
    program = start_pushcut(arguments, log)
    assert identify(program.pid) is not None
    try:
        samples = watch(program, run, 60 * options.minutes, interval, options.out / "soak.csv")
        if not samples:
            raise SystemExit(f"no sample in {options.minutes} minutes, see {log}")
        ends = check_ends(program, arguments, run, log)
    finally:
        program.kill()
        program.wait()
    note = f"{options.env}, {options.workers} worker(s), {samples[-1].iteration} iterations"
    plot(samples, options.out / "soak.png", note)
    record = {
        "minutes": options.minutes,
        "env": options.env,
        "workers": options.workers,
        "iterations": samples[-1].iteration,
        "samples": len(samples),
        **verdict(samples, options.limit),
        **ends,
        "shared_left_mb": round(shared_memory_mb() - shared_before, 2),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": options.commit or provenance()["commit"],
        "command": sys.argv,
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
