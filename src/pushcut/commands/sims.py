"""`pushcut sims`: simulators in virtual environments of their own."""

from __future__ import annotations

import sys

from pushcut.envs.isolated import simulators, venvs
from pushcut.envs.isolated.simulators import SIMULATORS, Simulator, state_of
from pushcut.errors import UserError
from pushcut.system.progress import say


def list_simulators() -> None:
    """Prints every simulator and where it is."""
    width = max(map(len, SIMULATORS))
    for name, simulator in SIMULATORS.items():
        print(f"  {name:{width}}  {state_of(simulator)}")
    print(f"\ntheir folder: {simulators.home()} (export PUSHCUT_SIMS=/path chooses another)")


def install(name: str, *, python: str | None = None, force: bool = False) -> None:
    """Makes a simulator's own environment, or says that it is there.

    Args:
        name: Which one, as ``pushcut sims list`` prints it.
        python: Interpreter to make it with; by default our own.
        force: Make it anew.
    """
    simulator = _simulator(name)
    before = simulators.installed(name)
    found = venvs.install(simulator, python=python or sys.executable, force=force, say=say)
    if before is not None and not force:
        say(f"{name} is there: {found.describe(simulator)}; --force makes it anew")
        return
    say(f"{name}: {found.describe(simulator)}, in {found.seconds:.0f} s")
    if simulators.is_here(simulator):
        say(f"workers go on using the {simulator.module} that is installed beside pushcut")


def remove(name: str) -> None:
    """Deletes a simulator's own environment."""
    _simulator(name)
    gone = venvs.remove(name)
    say(
        f"removed {simulators.home() / name}" if gone else f"{name} is not installed: nothing to do"
    )


def _simulator(name: str) -> Simulator:
    if name not in SIMULATORS:
        raise UserError(f"unknown simulator {name!r}; have {', '.join(SIMULATORS)}")
    return SIMULATORS[name]
