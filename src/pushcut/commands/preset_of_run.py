"""What a run was told beyond the preset that its command names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pushcut.commands.diff import differing, flat
from pushcut.commands.protocols import STUDIES
from pushcut.commands.remembered import preset_named
from pushcut.config import QuickstartConfig, SFTConfig, TrainConfig
from pushcut.errors import UserError
from pushcut.presets import Preset, find_preset
from pushcut.reporting.facts import Changes
from pushcut.runs.config_json import to_json, with_defaults
from pushcut.runs.renamed import current

PARTS: Mapping[type, Callable[[Preset], Any]] = {
    TrainConfig: lambda preset: preset.train,
    SFTConfig: lambda preset: preset.sft,
    QuickstartConfig: lambda preset: preset.quickstart,
    **{study.kind: study.kind.of for study in STUDIES.values()},
}
"""Kind of a run's config -> what a preset has for it."""
WHERE = ("out", "resume", "policy.path", "dataset")
"""Settings that say where things are; no preset knows them."""


def changes_of(content: Mapping[str, Any]) -> Changes | None:
    """The settings of a config.json that are not the preset's, as this version has it.

    What is newer than the run has its default. None where the command names no preset we have.
    """
    config, name = content.get("config"), preset_named(content)
    kind = config.get("type") if isinstance(config, dict) else None
    part = next((part for one, part in PARTS.items() if one.__name__ == kind), None)
    if part is None or not isinstance(config, dict):
        return None
    try:
        own = part(find_preset(name))
    except UserError:
        return None
    rows = differing([flat(to_json(own)), flat(with_defaults(current(config), own))])
    told = [(row, before, after) for row, (before, after) in rows if not _is_place(row)]
    return Changes(name, told)


def _is_place(setting: str) -> bool:
    return setting in WHERE or setting.endswith(tuple(f".{name}" for name in WHERE))
