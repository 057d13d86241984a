"""Injects faults into training runs and compares what comes out with an undisturbed run.

    python studies/faults.py [--per-kind 20 | --short] [--kinds ...] [--env point-mass]
                                [--seed 0] [--policy DIR] [--out runs/faults]

Each kind of fault gets runs of its own; ``--short`` mixes two of each kind that takes seconds. A
program that ends by a fault is started again by the same command, as a scheduler would; ranks
that torchrun or Ray has started are left to them. A run is compared with an undisturbed one of
the same launcher when it is finished: the episodes of training and evaluation, every number of
the metrics but times, every weight of every checkpoint. Moments are random (by the seed), spread
over rollouts, updates, evaluations and the writing of checkpoints. Linux only; Ray's kinds need
pushcut[ray].

Prints a table; the last line is one JSON object. Exit code 1 where anything was lost.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from faulting.campaign import Campaign, Stage, Tally, opened
from faulting.kinds import KINDS
from faulting.program import Settings
from faulting.scene import Kind
from pushcut.presets import PRESETS
from pushcut.runs.run import provenance
from trials import fine_tuned

PRESET = {"point-mass": "smoke", "metaworld": "quickstart"}


def print_table(tallies: dict[str, Tally]) -> None:
    print(f"{'kind':22} {'injected':>8} {'recovered':>9} {'median s':>8} {'max s':>6}  while")
    for name, tally in tallies.items():
        row = tally.to_json()
        phases = ", ".join(f"{phase} {count}" for phase, count in tally.phases.most_common())
        numbers = f"{row['injected']:8} {row['recovered']:9} {row['median_s']!s:>8}"
        print(f"{name:22} {numbers} {row['max_s']!s:>6}  {phases}")


def record_of(campaign: Campaign, options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    found, tallies = campaign.damage, campaign.tallies
    ends = campaign.seconds_to_end
    return {
        "injected": sum(tally.injected for tally in tallies.values()),
        "recovered": sum(tally.recovered for tally in tallies.values()),
        "episodes_lost": found.lost,
        "episodes_duplicated": found.duplicated,
        "checkpoints_broken": found.checkpoints,
        "metrics_different": found.metrics,
        "recoveries_untold": campaign.untold,
        "unexpected_ends": campaign.unexpected_ends,
        "processes_leaked": campaign.leaked,
        "sigterm_max_s": round(max(ends), 2) if ends else None,
        "runs": campaign.runs,
        "kinds": {name: tally.to_json() for name, tally in tallies.items()},
        "notes": found.notes[:20],
        "disk": options.disk,
        "seconds": round(seconds, 1),
        "env": options.env,
        "weights": options.weights,
        "iterations": options.iterations,
        "seed": options.seed,
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": provenance()["commit"],
        "command": sys.argv,
    }


def options_of() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--per-kind", type=int, default=20)
    parser.add_argument("--short", action="store_true", help="a few of each kind, mixed")
    parser.add_argument("--each", type=int, default=2, help="of each kind in the short form")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), help="default: all of the form")
    parser.add_argument("--weights", choices=["replicated", "sharded"], default="replicated")
    parser.add_argument("--env", choices=list(PRESET), default="point-mass")
    parser.add_argument("--iterations", type=int, default=24)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--timeout-s", type=float, default=2.0, help="when a simulator is hung")
    parser.add_argument("--no-mount", action="store_true", help="a full disk without a small one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--policy", type=Path, help="fine-tuned policy; made where none is given")
    parser.add_argument("--out", type=Path, default=Path("runs/faults"))
    parser.set_defaults(disk=None)
    return parser.parse_args()


def main() -> int:
    options = options_of()
    if sys.platform != "linux":
        raise SystemExit("this benchmark reads /proc: it needs Linux")
    start, out = time.monotonic(), options.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    policy = options.policy or fine_tuned(PRESETS[PRESET[options.env]], out)
    settings = Settings(
        PRESET[options.env], str(policy.absolute()), "", "", options.iterations,
        workers=options.workers, timeout_s=options.timeout_s, seed=options.seed,
        weights=options.weights,
    )  # fmt: skip
    names = options.kinds or [kind.name for kind in KINDS.values() if kind.short >= options.short]
    chosen = [KINDS[name] for name in names]
    campaign, undisturbed = Campaign(np.random.default_rng(options.seed)), {}
    for launcher in dict.fromkeys(kind.launcher for kind in chosen):
        kinds = [kind for kind in chosen if kind.launcher == launcher]
        full_disk = KINDS["full-disk"] in kinds
        with opened(
            launcher, out, settings, full_disk=full_disk, mount=not options.no_mount
        ) as stage:
            undisturbed[launcher] = round(stage.seconds, 1)
            play(campaign, stage, kinds, options)
        options.disk = type(stage.disk).__name__ if full_disk else options.disk
    print_table(campaign.tallies)
    record = record_of(campaign, options, time.monotonic() - start)
    print(json.dumps(record | {"seconds_undisturbed": undisturbed}))
    bad = ("episodes_lost", "episodes_duplicated", "checkpoints_broken", "metrics_different",
           "recoveries_untold", "unexpected_ends", "processes_leaked")  # fmt: skip
    return int(any(record[name] for name in bad) or record["recovered"] < record["injected"])


def play(campaign: Campaign, stage: Stage, kinds: list[Kind], options: argparse.Namespace) -> None:
    """All faults of the kinds of a launcher."""
    if options.short:
        mixed = [kind for kind in kinds for _ in range(options.each)]
        campaign.play([mixed[i] for i in campaign.rng.permutation(len(mixed))], stage)
        return
    for kind in kinds:
        campaign.play([kind] * options.per_kind, stage)
        print_table({kind.name: campaign.tallies[kind.name]})
        print(f"harm so far: {campaign.damage}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
