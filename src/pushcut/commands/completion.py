"""`pushcut completion`: a script by which a shell completes commands, presets and flags."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import Any

from pushcut.arguments.flags import Flag, flags_of
from pushcut.commands.data_scarcity import DataScarcityConfig
from pushcut.commands.generalisation import GeneralisationConfig
from pushcut.presets import PRESETS
from pushcut.presets.base import Preset

OF_PRESETS: dict[str, Callable[[Preset], Any]] = {
    "quickstart": lambda preset: preset.quickstart,
    "collect": lambda preset: preset.collect,
    "sft": lambda preset: preset.sft,
    "train": lambda preset: preset.train,
    "eval": lambda preset: preset.eval,
    "generalisation": GeneralisationConfig.of,
    "data-scarcity": DataScarcityConfig.of,
}
"""Command -> its config in a preset."""

SHELLS = ("bash", "zsh", "tcsh")

GENERAL = (Flag("--config", is_path=True), Flag("--plugin", is_path=True), Flag("--help-all"))


def run_completion(shell: str, commands: Iterable[str]) -> str:
    """The script of a shell; it knows the presets and flags of this version."""
    import shtab

    parser = argparse.ArgumentParser("pushcut")
    parsers = parser.add_subparsers(metavar="COMMAND")
    for command in commands:
        part = parsers.add_parser(command)
        if command in OF_PRESETS:
            part.add_argument("preset", nargs="?", choices=sorted(PRESETS), metavar="PRESET")
            configs = (OF_PRESETS[command](preset) for preset in PRESETS.values())
            _add(part, {flag.name: flag for config in configs for flag in flags_of(config)})
        elif command in ("plan", "doctor", "presets", "check-env", "check-policy"):
            part.add_argument("preset", nargs="?", choices=sorted(PRESETS), metavar="PRESET")
        elif command in ("report", "export", "table", "diff"):
            part.add_argument("path", nargs="*").complete = shtab.FILE  # pyright: ignore
    return shtab.complete(parser, shell)


def _add(parser: argparse.ArgumentParser, flags: dict[str, Flag]) -> None:
    import shtab

    for flag in sorted([*flags.values(), *GENERAL], key=lambda flag: flag.name):
        action = parser.add_argument(flag.name, choices=flag.choices or None, metavar="VALUE")
        if flag.is_path:
            action.complete = shtab.FILE  # pyright: ignore
