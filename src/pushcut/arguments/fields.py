"""Flags of a config's fields, and their help, by tyro: the one file that imports it."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructTypeInfo


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
    "mode", "repeats", "baseline", "train_init", "iterations", "trackers", "seed", "device",
    "out", "resume",
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
