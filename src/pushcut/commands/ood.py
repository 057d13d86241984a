"""`pushcut ood`: a checkpoint in every variant of its environment, one table (pi_RL, Table 7)."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from pushcut.commands.evaluate import free_name, results_folder, run_eval
from pushcut.commands.protocol import of_tasks
from pushcut.config import EvalConfig
from pushcut.envs.base import EnvConfig
from pushcut.errors import UserError
from pushcut.evaluation.results import load_result
from pushcut.evaluation.tables import Row
from pushcut.evaluation.variations import VariationTable
from pushcut.presets import Preset
from pushcut.system.progress import say


@dataclass(frozen=True)
class OODConfig(EvalConfig):
    """Evaluation in and out of distribution: all variants that the environment has."""

    @staticmethod
    def of(preset: Preset) -> OODConfig:
        """With the settings of a preset's evaluation."""
        own = {field.name: getattr(preset.eval, field.name) for field in fields(EvalConfig)}
        return OODConfig(**own)


def run_ood(config: OODConfig) -> dict[str, Any]:
    """Evaluates, prints and writes the table beside the result, returns its numbers."""
    columns = config.env.variations
    env = with_variants(config.env)
    out = config.out or free_name(results_folder(config.policy), config.mode, "ood")
    run_eval(replace(config, env=env, out=out))
    rows = rows_of(out, config.baseline)
    table = VariationTable(columns, rows)
    place = out.with_name(f"{out.stem}-variants.md")
    place.write_text(table.markdown())
    content = table.to_json()
    place.with_suffix(".json").write_text(json.dumps(content, indent=2) + "\n")
    say(f"\n{table.markdown()}\nvariants: {place}")
    return content


def with_variants(env: EnvConfig) -> EnvConfig:
    """The environment with all its variants; UserError where it has none."""
    columns = env.variations
    if not columns:
        raise UserError(
            f"{env.title} has no variants to compare with what was trained on: put-on-plate has "
            "them, and metaworld with the tasks of ml45-train"
        )
    tasks = tuple(task for variants in columns.values() for task in variants)
    return of_tasks(env, tasks)


def rows_of(out: Path, baseline: Path | None) -> list[Row]:
    """The policies of a result that was just written, what it is compared with first."""
    files = [out]
    if baseline is not None:
        beside = out.with_name(f"{out.stem}-baseline.json")
        files.insert(0, beside if beside.exists() else baseline)
    rows = []
    for file in files:
        result, content = load_result(file)
        rows.append(Row(content["checkpoint"], result))
    return rows
