"""Three seeds of the quickstart: success before and after, and where the time goes.

    python studies/quickstart.py [--preset quickstart] [--seeds 0 1 2] [--out runs/bench-NAME]

The last line is one JSON object. Takes three times as long as `make quickstart`.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from pushcut.commands.quickstart import run_quickstart
from pushcut.presets import PRESETS
from pushcut.runs.run import provenance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", choices=list(PRESETS), default="quickstart")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    runs = []
    for seed in arguments.seeds:
        out = (arguments.out or Path(f"runs/bench-{arguments.preset}")) / f"seed-{seed}"
        config = replace(PRESETS[arguments.preset].quickstart, seed=seed, out=out, resume=True)
        summary = run_quickstart(config)
        stages = ("before", "after", "before_sampled", "after_sampled")
        runs.append(
            {"seed": seed, "gain": summary["gain"], "seconds": summary["seconds"]}
            | {stage: summary[stage] for stage in stages}
        )
    print(json.dumps({"preset": arguments.preset, "runs": runs, **provenance()}))


if __name__ == "__main__":
    main()
