"""The command line: ``pushcut COMMAND [PRESET] [--field value …]``."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pushcut import __version__
from pushcut.errors import TOLD, Interrupted, UserError

if TYPE_CHECKING:
    from pushcut.presets import Preset

USAGE = f"""pushcut {__version__}: reinforcement learning for vision-language-action policies

usage: pushcut COMMAND [PRESET] [--field value ...]

the recipe, each step with the settings of a preset:
  collect PRESET --out DIR              demonstrations by scripted experts (LeRobot v3 layout)
  sft     PRESET --dataset DIR --out RUN           fine-tune a policy on demonstrations
  train   PRESET --policy.path DIR --out RUN       improve it by reinforcement learning
  eval    PRESET --policy.path DIR [--out FILE]    success on held-out initial states
  quickstart [PRESET] [--out DIR]       all of it, with a report

the papers' protocols, each one folder with its table or plot:
  generalisation PRESET [--held-out TASK ...]      unseen against seen tasks along SFT and RL
  data-scarcity  PRESET                 SFT and RL from one demonstration per task and from all

around it:
  report RUN                            write RUN/report.html
  export RUN --out DIR                  its newest checkpoint as one policy folder
  table [NAME=]RESULT.json ... [--out FILE.md]     results side by side, as in the papers
  presets                               list the presets
  plan PRESET [--gpus N]                will a released VLA fit the GPU, and what would help
  doctor [--checkpoint DIR]             what is installed, what is wrong, what to do
  sims list | install NAME | remove NAME           simulators in environments of their own

`pushcut COMMAND PRESET --help` lists every field with its meaning and default.
--debug shows the traceback of an error; --version prints the version.
"""

Arguments = list[str]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit code (0 done, 1 failed, 2 usage, 130/143 stopped)."""
    prepare_process()
    rest = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in rest
    rest = [argument for argument in rest if argument != "--debug"]
    if not rest or rest[0] in ("-h", "--help", "help"):
        print(USAGE)
        return 0 if rest else 2
    if rest[0] == "--version":
        print(__version__)
        return 0
    command = COMMANDS.get(rest[0])
    if command is None:
        return _usage_error(unknown("command", rest[0], COMMANDS))
    try:
        return command(rest[1:]) or 0
    except Interrupted as stop:
        return stop.exit_code
    except KeyboardInterrupt:
        return 130
    except UsageError as error:
        return _usage_error(str(error))
    # The one place that turns what a user can mend into one line.
    except (UserError, ValueError, KeyError, OSError, ImportError) as error:
        if debug:
            raise
        if TOLD not in getattr(error, "__notes__", ()):
            print(f"error: {_one_line(error)}", file=sys.stderr)
        return 1


def prepare_process() -> None:
    """Settings that must be made before torch loads."""
    # Idle OpenMP threads must not spin: the simulators need the cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


class UsageError(Exception):
    """The command line itself is wrong."""


def unknown(what: str, name: str, known: Sequence[str] | dict[str, Any]) -> str:
    """One line that lists what exists and guesses what was meant."""
    close = difflib.get_close_matches(name, list(known), n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"unknown {what} {name!r}; have {', '.join(known)}{hint}"


def _usage_error(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


def _one_line(error: BaseException) -> str:
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return " ".join(text.split()) or type(error).__name__


def _configure(
    command: str,
    rest: Arguments,
    *,
    default_preset: str | None = None,
    config_of: Callable[[Preset], Any] | None = None,
) -> Any:
    """The config of ``command`` from a preset and overrides, through tyro."""
    import tyro

    from pushcut.presets import PRESETS

    if rest and not rest[0].startswith("-"):
        name, rest = rest[0], rest[1:]
    elif default_preset is not None:
        name = default_preset
    elif rest and rest[0] in ("-h", "--help"):
        print(f"usage: pushcut {command} PRESET [--field value ...]\n")
        _presets([])
        print(f"\n`pushcut {command} PRESET --help` lists the fields.")
        raise SystemExit(0)
    else:
        raise UsageError(f"which preset? pushcut {command} PRESET; have {', '.join(PRESETS)}")
    if name not in PRESETS:
        raise UsageError(unknown("preset", name, PRESETS))
    members = getattr(PRESETS[name].train.env, "members", ())
    numbers = {f".members.{m.name}.": f".members.{i}." for i, m in enumerate(members)}
    rest = [_long(argument, numbers) for argument in rest]
    config = config_of(PRESETS[name]) if config_of else getattr(PRESETS[name], command)
    return tyro.cli(
        type(config),
        default=config,
        args=rest,
        prog=f"pushcut {command} {name}",
        config=(tyro.conf.AvoidSubcommands, tyro.conf.CascadeSubcommandArgs),
    )


SHORT = {"--cluster": "--cluster.engine", "--nodes": "--cluster.nodes"}
"""Fields that the command line takes by a shorter name too."""


def _long(argument: str, numbers: dict[str, str]) -> str:
    """The field that an argument means; ``numbers`` of a mix's members by their names."""
    name, equals, value = argument.partition("=")
    for member, number in numbers.items():
        name = name.replace(member, number)
    return SHORT.get(name, name) + equals + value


def _collect(rest: Arguments) -> None:
    from pushcut.commands.collect import run_collect

    run_collect(_configure("collect", rest))


def _sft(rest: Arguments) -> None:
    from pushcut.commands.sft import run_sft
    from pushcut.system.progress import say

    say(f"policy: {run_sft(_configure('sft', rest))}")


def _train(rest: Arguments) -> None:
    from pushcut.assembly import train
    from pushcut.system.progress import say

    run = train(_configure("train", rest))
    say(f"run: {run.path}; `pushcut report {run.path}` draws its curves")


def _eval(rest: Arguments) -> None:
    from pushcut.commands.evaluate import run_eval

    run_eval(_configure("eval", rest))


def _quickstart(rest: Arguments) -> None:
    from pushcut.commands.quickstart import run_quickstart

    run_quickstart(_configure("quickstart", rest, default_preset="quickstart"))


def _generalisation(rest: Arguments) -> None:
    from pushcut.commands.generalisation import GeneralisationConfig, run_generalisation

    config_of = GeneralisationConfig.of
    run_generalisation(_configure("generalisation", rest, config_of=config_of))


def _data_scarcity(rest: Arguments) -> None:
    from pushcut.commands.data_scarcity import DataScarcityConfig, run_data_scarcity

    run_data_scarcity(_configure("data-scarcity", rest, config_of=DataScarcityConfig.of))


def _report(rest: Arguments) -> None:
    from pushcut.commands.report import run_report

    if len(rest) != 1 or rest[0].startswith("-"):
        raise UsageError("usage: pushcut report RUN")
    print(run_report(Path(rest[0])))


def _export(rest: Arguments) -> None:
    import argparse

    from pushcut.commands.export import ExportConfig, run_export

    parser = argparse.ArgumentParser("pushcut export", description=run_export.__doc__)
    parser.add_argument("path", type=Path, metavar="RUN", help=ExportConfig.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the policy")
    options = parser.parse_args(rest)
    print(f"policy: {run_export(ExportConfig(options.path, options.out))}")


def _table(rest: Arguments) -> None:
    import argparse

    from pushcut.commands.table import run_table

    parser = argparse.ArgumentParser("pushcut table", description=run_table.__doc__)
    parser.add_argument("results", nargs="+", metavar="[NAME=]RESULT.json")
    parser.add_argument("--out", type=Path, help="file for the table (Markdown), its JSON beside")
    options = parser.parse_args(rest)
    print(run_table(options.results, options.out), end="")


def _plan(rest: Arguments) -> None:
    from pushcut.commands.plan import PlanConfig, run_plan

    print(run_plan(_configure("plan", rest, config_of=PlanConfig.of)))


def _presets(rest: Arguments) -> None:
    from pushcut.presets import PRESETS

    width = max(map(len, PRESETS))
    for name, preset in PRESETS.items():
        print(f"  {name:{width}}  {preset.summary}")


def _doctor(rest: Arguments) -> int:
    import tyro

    from pushcut.commands.doctor import DoctorConfig, doctor

    return doctor(tyro.cli(DoctorConfig, args=rest, prog="pushcut doctor"))


def _sims(rest: Arguments) -> None:
    import argparse

    from pushcut.commands import sims

    parser = argparse.ArgumentParser("pushcut sims", description=sims.__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("list", help="what there is, and where")
    install = actions.add_parser("install", help="make a simulator's own environment")
    install.add_argument("name")
    install.add_argument("--python", help="interpreter to make it with; by default our own")
    install.add_argument("--force", action="store_true", help="make it anew")
    actions.add_parser("remove", help="delete it").add_argument("name")
    options = parser.parse_args(rest)
    if options.action == "install":
        sims.install(options.name, python=options.python, force=options.force)
    elif options.action == "remove":
        sims.remove(options.name)
    else:
        sims.list_simulators()


COMMANDS: dict[str, Callable[[Arguments], int | None]] = {
    "quickstart": _quickstart,
    "collect": _collect,
    "sft": _sft,
    "train": _train,
    "eval": _eval,
    "generalisation": _generalisation,
    "data-scarcity": _data_scarcity,
    "report": _report,
    "export": _export,
    "table": _table,
    "plan": _plan,
    "presets": _presets,
    "doctor": _doctor,
    "sims": _sims,
}

if __name__ == "__main__":
    sys.exit(main())
