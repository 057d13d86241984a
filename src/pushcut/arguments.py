"""What is typed after a command: a preset, and fields by tyro; short, old and unknown names."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pushcut.runs import renamed

if TYPE_CHECKING:
    from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructTypeInfo

    from pushcut.presets import Preset


HELP = ("-h", "--help", "--help-all")


class UsageError(Exception):
    """The command line itself is wrong."""


def unknown(what: str, name: str, known: Sequence[str] | dict[str, Any]) -> str:
    """One line that lists what exists and guesses what was meant."""
    close = difflib.get_close_matches(name, list(known), n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"unknown {what} {name!r}; have {', '.join(known)}{hint}"


def configure(
    command: str,
    rest: list[str],
    *,
    default_preset: str | None = None,
    config_of: Callable[[Preset], Any] | None = None,
) -> Any:
    """The config of ``command`` from a preset and overrides, through tyro."""
    from pushcut.presets import PRESETS

    name, rest = preset_in(rest)
    name = name or default_preset
    if name is None and rest and rest[0] in HELP:
        print(f"usage: pushcut {command} PRESET [--field value ...]\n")
        print_presets(())
        print(f"\n`pushcut {command} PRESET --help` lists the fields.")
        raise SystemExit(0)
    if name is None:
        raise UsageError(f"which preset? pushcut {command} PRESET; have {', '.join(PRESETS)}")
    config = config_of(PRESETS[name]) if config_of else getattr(PRESETS[name], command)
    # Members of a mixed environment are called by their names; tyro numbers them.
    members = getattr(PRESETS[name].train.env, "members", ())
    for number, member in enumerate(members):
        rest = [x.replace(f".members.{member.name}.", f".members.{number}.", 1) for x in rest]
    rest = spelled(config, rest)
    path = _value_of("--policy.path", rest)
    if path is not None and command in ("train", "eval"):
        from pushcut.commands.remembered import with_remembered_env

        config = with_remembered_env(config, Path(path))
    return fields_from(f"{command} {name}", config, rest, most_used=True)


def _value_of(flag: str, rest: list[str]) -> str | None:
    """What is typed after a flag; None where it is not."""
    pairs = zip(rest, [*rest, ""][1:], strict=True)
    values = (x.partition("=")[2] or after for x, after in pairs if x.partition("=")[0] == flag)
    return next(values, None)


def preset_in(rest: list[str]) -> tuple[str | None, list[str]]:
    """The preset that a command names first, if any, and the other arguments."""
    if not rest or rest[0].startswith("-"):
        return None, rest
    from pushcut.presets import PRESETS

    name = renamed.PRESETS.get(rest[0], rest[0])
    if name != rest[0]:
        _warn_of([f"preset {rest[0]} is now {name}"])
    if name not in PRESETS:
        raise UsageError(unknown("preset", name, PRESETS))
    return name, rest[1:]


def spelled(config: Any, rest: list[str]) -> list[str]:
    """The arguments with short and old flags replaced, and a warning about the old ones."""
    spelling = renamed.Spelling(config)
    rest = spelling.today(rest)
    _warn_of(spelling.notes)
    return rest


def _warn_of(old: Sequence[str]) -> None:
    if old:
        print(f"warning: {', '.join(old)}; the next release drops the old names", file=sys.stderr)


def fields_from(command: str, config: Any, rest: list[str], *, most_used: bool = False) -> Any:
    """``config`` with the fields that the arguments set; prints help and stops if asked to.

    With ``most_used``, --help leaves out the fields that are rarely used.
    """
    import tyro

    short_help = most_used and any(argument in ("-h", "--help") for argument in rest)
    try:
        return tyro.cli(
            type(config),
            default=config,
            args=["--help" if argument == "--help-all" else argument for argument in rest],
            prog=f"pushcut {command}",
            config=(tyro.conf.AvoidSubcommands, tyro.conf.CascadeSubcommandArgs),
            registry=_most_used(config) if short_help else None,
        )
    except SystemExit:
        if short_help:
            print(f"These are the fields used most; all: pushcut {command} --help-all")
        raise


MOST_USED = {
    "env", "members", "tasks", "colours", "cameras", "image_size", "max_steps",
    "policy", "path", "trained", "temperature", "noise_level", "num_steps",
    "algorithm", "groups", "group_size", "episodes", "learner", "lr", "epochs", "micro_batch",
    "rollout", "slots", "workers", "evaluation", "every", "episodes_per_task",
    "fit", "steps", "batch_size", "dataset", "statistics", "storage", "noise",
    "mode", "repeats", "baseline", "videos", "train_init", "iterations", "trackers", "seed",
    "device", "out", "resume",
}  # fmt: skip
"""Fields, and groups of them, that --help explains."""

MOST_USED_INSIDE = {
    "env", "tasks", "fit", "algorithm", "groups", "learner", "lr", "micro_batch", "rollout",
    "workers", "episodes_per_task", "steps", "iterations",
}  # fmt: skip
"""Fields that --help explains for the parts of a command that runs others."""


def _most_used(config: Any) -> ConstructorRegistry:
    """What makes tyro see only the fields that are used most."""
    from tyro.constructors import ConstructorRegistry, StructConstructorSpec

    registry, asking = ConstructorRegistry(), False
    runs_others = any(field.name == "train" for field in fields(config))

    def shown(kind: Any, field: str) -> bool:
        if not runs_others:
            return field in MOST_USED
        return kind is type(config) or field in MOST_USED_INSIDE

    @registry.struct_rule
    def fewer(info: StructTypeInfo) -> StructConstructorSpec | None:
        nonlocal asking
        if asking or not is_dataclass(info.type):
            return None
        asking = True
        try:
            found = ConstructorRegistry.get_struct_spec(info)
        finally:
            asking = False
        if not isinstance(found, StructConstructorSpec):
            return None
        return replace(found, fields=tuple(f for f in found.fields if shown(info.type, f.name)))

    return registry


def call(command: str, function: Any, rest: list[str]) -> Any:
    """Calls a function, or one of a dict of them, with what the command line says.

    Arguments without a default have no flag.
    """
    import tyro

    cli: Any = tyro.extras.subcommand_cli_from_dict if isinstance(function, dict) else tyro.cli
    names = tyro.conf.PositionalRequiredArgs, tyro.conf.PositionalMetavarFromFieldName
    return cli(function, args=rest, prog=f"pushcut {command}", config=names)


def print_presets(words: Sequence[str]) -> None:
    """Prints the presets, or those with all of some words."""
    from pushcut.presets import PRESETS

    lines = [(name, preset.summary) for name, preset in PRESETS.items()]
    found = [line for line in lines if all(word in " ".join(line) for word in words)]
    if not found:
        raise UsageError(f"no preset with {' '.join(words)!r}; have {', '.join(PRESETS)}")
    width = max(len(name) for name, _ in found)
    for name, summary in found:
        print(f"  {name:{width}}  {summary}")
