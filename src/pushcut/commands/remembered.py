"""The environment that a checkpoint remembers: of its run, or of the demonstrations behind it."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

from pushcut.config import CollectConfig, EvalConfig, TrainConfig
from pushcut.envs.base import EnvConfig
from pushcut.evaluation.leakage import runs_behind
from pushcut.presets import PRESETS
from pushcut.runs import renamed
from pushcut.runs.config_json import from_stored, to_json
from pushcut.runs.run import provenance
from pushcut.system.progress import say

FILE = Path("meta/pushcut.json")
"""Where a dataset says how it was collected; other programs ignore it."""

C = TypeVar("C", TrainConfig, EvalConfig)


def remember(dataset: Path, config: CollectConfig) -> None:
    """Writes into a dataset how it was collected."""
    content = {"config": to_json(config), **provenance()}
    (dataset / FILE).write_text(json.dumps(content, indent=2) + "\n")


def with_remembered_env(config: C, path: Path) -> C:
    """The config with the environment of the run behind a checkpoint, which is told.

    The preset's environment stays where that run did not begin with the same one: who names
    another preset wants another environment.
    """
    found = _origin(path)
    if found is None:
        return config
    stored = renamed.current(found["config"]["env"])
    if stored == to_json(config.env):
        return config
    preset = PRESETS.get(_preset_in(found.get("command") or []))
    if preset is None or preset.train.env != config.env:
        say(f"environment: the preset's; that of {path} is another")
        return config
    env = from_stored(EnvConfig, stored, path)
    changed = [f.name for f in fields(env) if getattr(env, f.name) != getattr(config.env, f.name)]
    shown = ", ".join(f"{name} {_shown(getattr(env, name))}" for name in changed)
    say(f"environment: as {path} remembers it ({shown}); --env.* changes it")
    return replace(config, env=env)


def _origin(path: Path) -> dict[str, Any] | None:
    """The newest run behind a checkpoint, or collection of its demonstrations, with an env."""
    for run in runs_behind(path):
        config = run["config"]
        if "env" in config:
            return run
        if config.get("dataset") and (file := Path(config["dataset"]) / FILE).is_file():
            return json.loads(file.read_text())
    return None


def _preset_in(command: list[str]) -> str:
    """The preset that a command names, as `sys.argv` had it; quickstart needs none."""
    name = command[2] if len(command) > 2 else ""
    if command[1:2] == ["quickstart"] and (not name or name.startswith("-")):
        return "quickstart"
    return renamed.PRESETS.get(name, name)


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
