"""The environment that a checkpoint remembers: of its run, or of the demonstrations behind it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

from pushcut import plugins
from pushcut.config import CollectConfig, EvalConfig, TrainConfig
from pushcut.demos.lerobot.layout import ORIGIN_PATH
from pushcut.demos.sources import datasets_in
from pushcut.envs.base import EnvConfig
from pushcut.errors import UserError
from pushcut.evaluation.leakage import run_folder_of, runs_behind
from pushcut.policies import POLICIES, kind_of
from pushcut.policies.places import policy_folder
from pushcut.policies.pretrained import read_description
from pushcut.policies.released.hub import local_folder
from pushcut.policies.released.options import ReleasedConfig
from pushcut.policies.source import PolicySource
from pushcut.presets import Preset, find_preset
from pushcut.runs import renamed
from pushcut.runs.config_json import from_stored, stored_config, to_json, with_defaults
from pushcut.runs.run import provenance
from pushcut.system.progress import say

FILE = Path(ORIGIN_PATH)
"""Where a dataset says how it was collected."""

C = TypeVar("C", TrainConfig, EvalConfig)


def remember(dataset: Path, config: Any) -> None:
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
    if with_defaults(stored, config.env) == to_json(config.env):
        return config
    preset = _preset_of(found)
    if preset is None or preset.train.env != config.env:
        say(f"environment: the preset's; that of {path} is another")
        return config
    # How a policy was made robust says nothing of where it is to act.
    env = from_stored(EnvConfig, stored, path).randomised(config.env.randomisation)
    if found["config"].get("type") == CollectConfig.__name__:
        env = _not_of_demonstrations(env, preset)
    changed = [f.name for f in fields(env) if getattr(env, f.name) != getattr(config.env, f.name)]
    if not changed:  # what is newer than that run is at its default
        return config
    shown = ", ".join(f"{name} {_shown(getattr(env, name))}" for name in changed)
    say(f"environment: as {path} remembers it ({shown}); --env.* changes it")
    return replace(config, env=env)


def _not_of_demonstrations(env: EnvConfig, preset: Preset) -> EnvConfig:
    """The environment of demonstrations without what the preset has for demonstrations alone.

    CALVIN's have the benchmark's time for each sub-task, and training less for a chain.
    """
    shown, trained = preset.collect.env, preset.train.env
    if type(shown) is not type(trained):
        return env
    own = {f.name: getattr(trained, f.name) for f in fields(trained) if f.init}
    apart = {name: value for name, value in own.items() if value != getattr(shown, name)}
    return replace(env, **apart)


def preset_behind(path: Path) -> str:
    """The preset with which the run behind a checkpoint began, or its demonstrations.

    UserError where none is known.
    """
    found = _origin(path)
    name = preset_named(found) if found is not None else ""
    if found is None or _preset_of(found) is None:
        raise UserError(
            f"{path} does not say with which preset it was made: name one, as in PRESET "
            f"--policy.path {path}"
        )
    return name


def policy_behind(path: Path, like: str | None = None) -> tuple[PolicySource, EnvConfig | None]:
    """How to load a checkpoint, and the environment that it acted in, where that is known.

    Args:
        path: The checkpoint, a run or a policy's folder.
        like: A preset that says both; else the run behind the checkpoint does.
    """
    if like is not None:
        preset = find_preset(like)
        return replace(preset.eval.policy, path=path), preset.eval.env
    folder = policy_folder(local_folder(path, download=False))
    kind = kind_of(read_description(folder))
    chosen = (kind in POLICIES and POLICIES[kind].source) or PolicySource
    source, env = chosen(path=path), None
    try:
        if (found := _origin(path)) is not None:
            env = from_stored(EnvConfig, renamed.current(found["config"]["env"]), path)
        if found and (run := run_folder_of(path)):
            stored = stored_config(run).get("policy", {}).get("released", {})
            source = replace(source, released=from_stored(ReleasedConfig, stored, run))
    # The checkpoint can be loaded without; the environment may be of a plug-in that is not here.
    except (UserError, ImportError, OSError, ValueError, KeyError) as error:
        say(f"warning: {path} does not say what it acted in: {error}")
    return source, env


def _preset_of(run: dict[str, Any]) -> Preset | None:
    """The preset with which a run began, if there is one of that name."""
    try:
        return find_preset(preset_named(run))
    except UserError:
        return None


def with_stored_settings(config: Any, preset: str, out: Path) -> Any:
    """The settings with which the run in a folder began, where it began with this preset.

    What a preset says may be another thing in a later version; a run goes on as it began.
    """
    if not (out / "config.json").is_file():
        return config
    content = json.loads((out / "config.json").read_text())
    stored = stored_config(out)
    began = preset_named(content)
    if began != preset or stored.get("type") != type(config).__name__:
        return config
    return from_stored(type(config), stored, out / "config.json")


def _origin(path: Path) -> dict[str, Any] | None:
    """The newest run behind a checkpoint, or collection of its demonstrations, with an env."""
    for run in runs_behind(path):
        config = run["config"]
        if "env" in config:
            return run
        for dataset in datasets_in(config):
            if (file := dataset / FILE).is_file():
                return json.loads(file.read_text())
    return None


def preset_named(run: Mapping[str, Any]) -> str:
    """The preset that the command of a run's config.json names, or ""; quickstart needs none."""
    command = [word for word in run.get("command") or [] if isinstance(word, str)]
    try:
        _, words = plugins.taken(plugins.FLAG, command[1:])
        _, words = plugins.taken("--config", [word for word in words if word != "--debug"])
    except UserError:
        words = command[1:]
    name = words[1] if len(words) > 1 else ""
    if words[:1] == ["quickstart"] and (not name or name.startswith("-")):
        return "quickstart"
    return renamed.PRESETS.get(name, name)


def _shown(value: Any) -> str:
    if isinstance(value, tuple) and any(isinstance(item, tuple) for item in value):
        return f"of {len(value)} tasks"
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
