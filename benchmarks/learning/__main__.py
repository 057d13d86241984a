"""How well and how fast does it learn? Variants of a training against its baseline, over seeds.

For each setting and seed: demonstrations and SFT once, then RL for the baseline and each variant,
evaluated greedily and with sampled actions on held-out states on the way. Every step is the command
that a user types, one at a time. Run again with the same --out it goes on: what is done is kept,
what was stopped is resumed, and more seeds or variants are added. It leaves record.json, table.md
and a picture of each setting in --out; the last line is one JSON object, the record.

    python -m benchmarks.learning --settings quickstart --seeds 0 1 2 --out runs/learning
    python -m benchmarks.learning --settings quickstart --seeds 0 1 2 --out runs/learning \
        --variant "cooler=--policy.temperature 1.2" --sft "longer=--fit.steps 260"

Without --settings it runs the suite: quickstart (action tokens, GRPO), quickstart-flow (flow
policy, PPO), libero-three (needs pushcut[libero]) and maniskill (needs
`pushcut sims install maniskill`). Any preset is a setting too.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks.learning.bench import Bench, remember_settings
from benchmarks.learning.settings import SUITE, Setting, Variant
from benchmarks.learning.stages import NOTES, execute

from pushcut.errors import UserError
from pushcut.runs.lock import folder_lock
from pushcut.runs.run import provenance


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.learning",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    suite = [setting.name for setting in SUITE]
    parser.add_argument("--settings", nargs="+", default=suite, metavar="NAME", help="or presets")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--variant",
        action="append",
        default=[],
        metavar="NAME=ARGUMENTS",
        help="of `pushcut train`",
    )
    parser.add_argument(
        "--sft", action="append", default=[], metavar="NAME=ARGUMENTS", help="of `pushcut sft`"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/learning"))
    parser.add_argument("--iterations", type=int, help="in place of each setting's own")
    parser.add_argument("--every", type=int, help="iterations between evaluations")
    parser.add_argument("--episodes-per-task", type=int, help="held-out starts of each task")
    parser.add_argument(
        "--test", action="store_true", help="also `pushcut eval` at the start and the end"
    )
    parser.add_argument(
        "--compare",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="the baseline in another --out, made by other code, as a variant",
    )
    parser.add_argument("--commands", action="store_true", help="only list what would be run")
    parser.add_argument(
        "--report", action="store_true", help="only write the record of what is done"
    )
    return parser.parse_args(arguments)


def other_benches(texts: list[str], taken: list[str]) -> dict[str, Path]:
    """Name -> folder of another bench."""
    found: dict[str, Path] = {}
    for text in texts:
        name, _, folder = text.partition("=")
        if not name or name in (*taken, *found):
            raise UserError(f"--compare is NAME=FOLDER, with a name of its own: {text!r}")
        if not (Path(folder) / NOTES).exists():
            raise UserError(f"{folder or text!r} is no folder of a bench: it has no {NOTES}")
        found[name] = Path(folder).absolute()
    return found


def main(arguments: list[str] | None = None) -> int:
    """Runs the bench; 130 where it was stopped, 1 where something failed."""
    options = parsed(arguments)
    out = options.out.absolute()
    sizes = (options.iterations, options.every, options.episodes_per_task)
    try:
        settings = [Setting.of(name).sized(*sizes) for name in options.settings]
        variants = Variant.all_of(options.variant, options.sft)
        others = other_benches(options.compare, [variant.name for variant in variants])
        bench = Bench(
            out, settings, variants, options.seeds, execute, test=options.test, others=others
        )
        if options.commands:
            print("\n".join(bench.commands()))
            return 0
        remember_settings(out, {"bench": "learning", **provenance()})
        with folder_lock(out):
            if not options.report:
                bench.run()
            record = bench.write()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"stopped; the same command goes on in {out}", file=sys.stderr)
        return 130
    print((out / "table.md").read_text())
    print(json.dumps(record))
    return 1 if bench.failed else 0


if __name__ == "__main__":
    sys.exit(main())
