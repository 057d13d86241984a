"""Makes and removes the virtual environments of isolated simulators."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pushcut.envs.isolated import simulators
from pushcut.envs.isolated.simulators import STAMP, Installed, Simulator, python_of
from pushcut.errors import UserError

GB = 1 << 30

LIBRARIES = {
    "libGL.so": "libgl1",
    "libEGL.so": "libegl1",
    "libX11.so": "libx11-6",
    "libgthread-2.0.so": "libglib2.0-0",
    "libgomp.so": "libgomp1",
    "libvulkan.so": "libvulkan1",
}
"""Shared library -> the package of Debian and Ubuntu that has it."""

CAUSES = (
    (r"No space left on device|\[Errno 28\]", "the disk is full"),
    (
        r"NewConnectionError|name resolution|ProxyError|ConnectTimeout|ReadTimeout|"
        r"Network is unreachable|SSLError|Max retries",
        "the package index cannot be reached: check the network, or pip's settings for a proxy "
        "or mirror",
    ),
    (
        r"requires a different Python|Requires-Python",
        "a package has no release for this Python: choose another with --python",
    ),
    (
        r"ensurepip|python3?-venv",
        "this Python cannot make one; Debian: apt-get install python3-venv",
    ),
)
"""What pip and venv print -> what it means."""

Execute = Callable[[Sequence[str], Path], int]
"""Runs a command, its output appended to a file; returns the exit status."""


def execute(command: Sequence[str], log: Path) -> int:
    """Runs a command without our own import path."""
    ours = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    with log.open("ab") as output:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            check=False,
        ).returncode


def install(
    simulator: Simulator,
    *,
    python: str = sys.executable,
    force: bool = False,
    run: Execute | None = None,
    say: Callable[[str], object] = print,
) -> Installed:
    """Makes a simulator's own environment; one that is there and whole is left alone.

    Its stamp is written last, after the simulator has been imported once, so nothing that was
    interrupted looks installed. What fails is removed, but for pip's log.

    Args:
        simulator: What to install.
        python: The interpreter to make it with.
        force: Make it anew.
        run: Runs the commands; ``execute``, if None.
        say: Told what takes long.
    """
    home = _made(simulators.home())
    with _alone(home, simulator.name):
        if not force and (found := simulators.installed(simulator.name)) is not None:
            return found
        _check_python(simulator, python)
        folder = home / simulator.name
        _check_space(simulator, home)
        _delete(folder)
        say(f"making {folder}: some minutes, about {simulator.disk_gb:g} GB at most")
        try:
            _build(simulator, folder, python, run or execute)
        except BaseException:
            _delete(folder)
            raise
    found = simulators.installed(simulator.name)
    assert found is not None
    return found


def remove(name: str) -> bool:
    """Deletes a simulator's own environment; False if there was nothing."""
    folder = simulators.home() / name
    if not folder.exists():
        return False
    with _alone(simulators.home(), name):
        _delete(folder)
    return True


def _build(simulator: Simulator, folder: Path, python: str, run: Execute) -> None:
    start = time.monotonic()
    log = folder.with_name(f"{simulator.name}.log")
    log.unlink(missing_ok=True)
    own = str(python_of(folder))
    pip = (own, "-m", "pip", "--disable-pip-version-check")
    steps = (
        ("make the environment", (python, "-m", "venv", str(folder))),
        ("install its packages", (*pip, "install", "--progress-bar", "off", *simulator.pins)),
        ("import it", (own, "-P", "-c", f"import numpy, jaxtyping, {simulator.module}")),
    )
    for what, command in steps:
        try:
            code = run(command, log)
        except OSError as error:
            raise UserError(f"cannot {what} of {simulator.name}: {error}") from error
        if code != 0:
            reason = _reason(log, simulator.name)
            raise UserError(f"cannot {what} of {simulator.name}: {reason} (all of it: {log})")
    stamp = {
        "pins": simulator.pins,
        "packages": _frozen(folder),
        "python": _version(own),
        "seconds": round(time.monotonic() - start, 1),
        "size_bytes": _size(folder),
    }
    part = folder / f".{STAMP}"
    part.write_text(json.dumps(stamp, indent=1) + "\n")
    part.replace(folder / STAMP)


def _reason(log: Path, name: str) -> str:
    """What went wrong, from what was printed, in one line."""
    text = log.read_text(errors="replace") if log.exists() else ""
    if missing := re.search(r"(lib[\w.+-]+\.so)[\w.]*: cannot open shared object", text):
        package = LIBRARIES.get(missing[1])
        todo = f"apt-get install {package}" if package else f"install what provides {missing[1]}"
        again = f"pushcut sims install {name}"
        return f"the system library {missing[1]} is missing; as root: {todo}, then: {again}"
    for pattern, meaning in CAUSES:
        if re.search(pattern, text):
            return meaning
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or ["it said nothing"])[-1][:200]


def _frozen(folder: Path) -> list[str]:
    """Every package with its version, from what pip leaves beside them."""
    found = []
    for info in folder.glob("lib/python*/site-packages/*.dist-info"):
        name, _, version = info.name.removesuffix(".dist-info").partition("-")
        found.append(f"{name}=={version}")
    return sorted(found, key=str.lower)


def _version(python: str) -> str:
    """Version of an interpreter; UserError where there is none."""
    code = "import platform; print(platform.python_version())"
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"{python} is no Python: {error}; choose one with --python") from error
    if done.returncode != 0 or not re.fullmatch(r"3\.\d+\.\S+", done.stdout.strip()):
        raise UserError(f"{python} is no Python 3; choose one with --python")
    return done.stdout.strip()


def _check_python(simulator: Simulator, python: str) -> None:
    version = _version(python)
    major, minor = (int(number) for number in version.split(".")[:2])
    first, last = simulator.pythons
    if not first <= (major, minor) <= last:
        raise UserError(
            f"{simulator.name} has packages for Python {first[0]}.{first[1]} to "
            f"{last[0]}.{last[1]}, {python} is {version}; choose another with "
            f"--python /path/to/python{last[0]}.{last[1]}"
        )


def _check_space(simulator: Simulator, home: Path) -> None:
    free = shutil.disk_usage(home).free
    if free < simulator.disk_gb * GB:
        raise UserError(
            f"{simulator.name} wants {simulator.disk_gb:g} GB, {home} has {free / GB:.1f} GB free; "
            "make room, or choose another folder: export PUSHCUT_SIMS=/path"
        )


def _made(home: Path) -> Path:
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot make {home}: {error.strerror}; choose another: export PUSHCUT_SIMS=/path"
        ) from error
    return home


def _delete(folder: Path) -> None:
    """The stamp first: whatever interrupts this, what is left does not look installed."""
    with suppress(FileNotFoundError, NotADirectoryError):
        (folder / STAMP).unlink()
    if folder.exists():
        shutil.rmtree(folder)


def _size(folder: Path) -> int:
    """Bytes of all files."""
    return sum(
        (Path(root) / name).lstat().st_size for root, _, names in os.walk(folder) for name in names
    )


@contextmanager
def _alone(home: Path, name: str) -> Iterator[None]:
    """Keeps a second install of the same simulator out; released however we end."""
    # It brings asyncio, which takes a tenth of a second to import.
    from filelock import FileLock, Timeout

    try:
        held = FileLock(home / f".{name}.lock").acquire(blocking=False)
    except Timeout:
        raise UserError(
            f"another process is installing or removing {name} in {home}: wait for it"
        ) from None
    with held:
        yield
