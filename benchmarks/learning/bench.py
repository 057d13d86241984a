"""The bench: which stages a setting has, in which order, and the record of what is done."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.learning.compare import Outcome, Outcomes, compared
from benchmarks.learning.curves import MODES, Curve, with_interval
from benchmarks.learning.plots import draw
from benchmarks.learning.settings import BASELINE, Setting, Variant
from benchmarks.learning.stages import Execute, FailedStage, Stage, Stages
from benchmarks.learning.table import tables

from pushcut.commands.recipe import write_json
from pushcut.errors import UserError
from pushcut.runs.lock import is_empty
from pushcut.runs.run import provenance


@dataclass
class Bench:
    """Settings, variants and seeds in a folder."""

    out: Path
    settings: Sequence[Setting]
    variants: Sequence[Variant]
    seeds: Sequence[int]
    execute: Execute
    test: bool = False
    """Also evaluate the start and the end on the states of `pushcut eval`."""
    others: Mapping[str, Path] = field(default_factory=dict)
    """Name -> folder of another bench whose baseline is compared as a variant."""
    failed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stages = Stages(self.out, self.execute)

    def present(self) -> list[Setting]:
        """The settings whose simulators are installed; says what the others need."""
        here = []
        for setting in self.settings:
            if reason := setting.missing():
                self.skipped.append(f"{setting.name}: {reason}")
                print(f"skipped {self.skipped[-1]}", flush=True)
            else:
                here.append(setting)
        return here

    def run(self) -> None:
        """Every stage that is not done, seed after seed, so that what is there can be compared."""
        for setting in self.present():
            for seed in self.seeds:
                broken: set[str] = set()
                for needs, stage in self.plan(setting, seed):
                    try:
                        if not {needs, stage.name} & broken:
                            self.stages.run(stage)
                            continue
                    except FailedStage as failure:
                        self.failed.append(str(failure))
                        print(f"failed: {failure}", flush=True)
                    broken.add(stage.name)
                self.write()

    def plan(self, setting: Setting, seed: int) -> Iterator[tuple[str, Stage]]:
        """The stages of a seed, each with the name of the one that it needs."""
        name = f"{setting.name}/demonstrations"
        if not setting.shared_demonstrations:
            name += f"-{seed}"
        data = self.out / name
        data_seed = 0 if setting.shared_demonstrations else seed
        collecting = setting.collecting(data_seed, data)
        yield "", Stage(name, collecting, data, resumes=False)
        for variant in self.variants:
            sft = f"{setting.name}/sft{'-' + variant.name if variant.sft else ''}/seed-{seed}"
            # Variants that are fine-tuned alike share the stage: the second finds it done.
            folder = self.out / sft
            yield name, Stage(sft, setting.fine_tuning(variant, seed, data, folder), folder)
            rl = trained(setting, variant.name, seed)
            policy = folder / "policy"
            yield (
                sft,
                Stage(rl, setting.training(variant, seed, policy, self.out / rl), self.out / rl),
            )

            if self.test:
                for (stage, path), mode in product(
                    (("start", policy), ("end", self.out / rl)), MODES
                ):
                    test = tested(setting, variant, seed, stage, mode)
                    arguments = setting.testing(variant, mode, path, self.out / test)
                    needed = rl if stage == "end" else sft
                    yield needed, Stage(test, arguments, self.out / test, resumes=False)

    def commands(self) -> Iterator[str]:
        """What would be run, each once, a line each."""
        for setting in self.settings:
            stages = [stage for seed in self.seeds for _, stage in self.plan(setting, seed)]
            for stage in {stage.name: stage for stage in stages}.values():
                yield " ".join(["pushcut", *stage.arguments])

    def outcomes(self, setting: Setting) -> Outcomes:
        """The runs that are done."""
        found = {v.name: self._outcomes(self.out, setting, v.name) for v in self.variants}
        for name, folder in self.others.items():
            found[name] = self._outcomes(folder, setting, BASELINE)
        return found

    def _outcomes(self, out: Path, setting: Setting, variant: str) -> dict[int, Outcome]:
        found, stages = {}, Stages(out, self.execute)
        for seed in self.seeds:
            name = trained(setting, variant, seed)
            if not stages.notes.get(name, {}).get("done"):
                continue
            curve = Curve.of(out / name)
            wall_s, cpu_s, complete = stages.cost(name)
            cpu_s = round(cpu_s * curve.learning_share, 1)
            found[seed] = Outcome(curve, wall_s, cpu_s, complete)
        return found

    def tests(self, setting: Setting) -> dict[str, Any]:
        """Variant -> mode -> start and end: counts of each seed on the test states, their mean."""
        found: dict[str, Any] = {}
        for variant, stage, mode in product(self.variants, ("start", "end"), MODES):
            files = {s: self.out / tested(setting, variant, s, stage, mode) for s in self.seeds}
            counts = {s: json.loads(f.read_text()) for s, f in files.items() if f.exists()}
            if counts:
                rates = [x["successes"] / x["episodes"] for x in counts.values()]
                of_mode = found.setdefault(variant.name, {}).setdefault(mode, {})
                seeds = {seed: _counts(x) for seed, x in counts.items()}
                of_mode[stage] = {**with_interval(rates), "seeds": seeds}
        return found

    def write(self) -> dict[str, Any]:
        """Writes record.json, table.md and a picture of each setting, of the runs that are done."""
        settings = {}
        for setting in self.settings:
            outcomes = self.outcomes(setting)
            if not any(outcomes.values()):
                continue
            runs = {name: _runs(seeds) for name, seeds in outcomes.items()}
            settings[setting.name] = {
                "setting": asdict(setting),
                **compared(outcomes),
                "tests": self.tests(setting),
                "runs": runs,
            }
            note = (
                f"{setting.episodes_per_task} held-out starts of each task; "
                "thin: seeds, thick: their mean at the iterations that were evaluated"
            )
            title = f"{setting.name} (preset {setting.preset})"
            draw(self.out / f"{setting.name}.png", outcomes, title=title, note=note)
        record = {
            "date": datetime.now(UTC).date().isoformat(),
            "settings": settings,
            "variants": [asdict(variant) for variant in self.variants],
            "compared": {name: str(folder) for name, folder in self.others.items()},
            "failed": self.failed,
            "skipped": self.skipped,
            "stages": self.stages.notes,
            "cpus": os.cpu_count(),
            "load": [round(x, 1) for x in os.getloadavg()],
            **provenance(),
        }
        write_json(self.out / "record.json", record)
        (self.out / "table.md").write_text(tables(record))
        return record


def trained(setting: Setting, variant: str, seed: int) -> str:
    """Name of the stage, and folder, of a training."""
    return f"{setting.name}/rl-{variant}/seed-{seed}"


def tested(setting: Setting, variant: Variant, seed: int, stage: str, mode: str) -> str:
    """Name of the stage, and file, of a test; variants that start alike share that of the start."""
    own = stage == "end" or variant.sft or variant.acting
    return (
        f"{setting.name}/test-{variant.name if own else BASELINE}/seed-{seed}/{stage}-{mode}.json"
    )


def _runs(seeds: Mapping[int, Outcome]) -> dict[int, Any]:
    """Of each seed what the record keeps: every point, and success in training."""
    return {
        seed: {
            "points": [
                {"iteration": p.iteration, **p.at, **{m: _counts(x) for m, x in p.results.items()}}
                for p in outcome.curve.points
            ],
            "training": [[steps, round(rate, 4)] for steps, rate in outcome.curve.training],
            "groups_sampled": outcome.curve.groups_sampled,
            "groups_kept": outcome.curve.groups_kept,
            "wall_s": outcome.wall_s,
            "cpu_s": outcome.cpu_s,
        }
        for seed, outcome in seeds.items()
    }


def _counts(result: Any) -> dict[str, Any]:
    per_task = {task: x["successes"] for task, x in result["per_task"].items()}
    return {key: result[key] for key in ("successes", "episodes", "interval")} | {
        "per_task": per_task
    }


def remember_settings(out: Path, content: dict[str, Any]) -> None:
    """Marks a folder as a bench's; UserError where it holds something else."""
    file = out / "config.json"
    if file.exists() and json.loads(file.read_text()).get("bench") == content["bench"]:
        return
    if out.exists() and not is_empty(out):
        raise UserError(f"{out} holds something else: choose another folder with --out")
    out.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2) + "\n")
