"""What the benchmarks that start training as a program of its own have in common (Linux only)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")
MB = 2**20


@dataclass(frozen=True)
class Process:
    """A process that can be told from a later one with the same number."""

    pid: int
    started: str

    @property
    def alive(self) -> bool:
        """Whether it still runs; a zombie does not."""
        fields = _stat(self.pid)
        return fields is not None and fields[19] == self.started and fields[0] != "Z"


@dataclass(frozen=True)
class Memory:
    """Memory of a process in MB (2**20 bytes)."""

    rss: float
    pss: float
    """Pages shared with n processes count one n-th."""
    own: float
    """What the process has allocated. Pages of libraries come and go as others need memory."""
    shared: float
    """Part of ``pss`` that lies in /dev/shm or another memory file."""


def identify(pid: int) -> Process | None:
    """The process with this number, if there is one."""
    fields = _stat(pid)
    return None if fields is None else Process(pid, fields[19])


def descendants(pid: int) -> list[Process]:
    """Children, their children and so on."""
    parents: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := _stat(int(name))) is not None:
            parents.setdefault(int(fields[1]), []).append(int(name))
    found, todo = [], [pid]
    while todo:
        children = parents.get(todo.pop(), [])
        todo += children
        found += [process for child in children if (process := identify(child)) is not None]
    return found


def command_of(pid: int) -> str:
    """The command line of a process; empty once it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def memory(pid: int) -> Memory | None:
    """Memory of a process; None once it is gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return None
    kilobytes = {
        name: int(rest.split()[0])
        for name, _, rest in (line.partition(":") for line in text.splitlines()[1:])
    }
    if "Rss" not in kilobytes:
        return None
    names = ("Rss", "Pss", "Anonymous", "Pss_Shmem")
    return Memory(*(kilobytes.get(name, 0) / 1024 for name in names))


def open_files(pid: int) -> int:
    """Number of open file descriptors; 0 once the process is gone."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def shared_memory_mb() -> float:
    """What all programs of the machine have in /dev/shm, unlinked files included."""
    status = os.statvfs("/dev/shm")
    return (status.f_blocks - status.f_bfree) * status.f_frsize / MB


def wait_until(condition: Callable[[], bool], timeout_s: float, interval_s: float = 0.02) -> bool:
    """Waits for a condition; says whether it came true."""
    give_up = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > give_up:
            return False
        time.sleep(interval_s)
    return True


def start_program(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Starts a program with our import path; what it prints is appended to a file."""
    path = os.pathsep.join(os.path.abspath(folder) for folder in sys.path)
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )


def start_pushcut(arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Starts ``pushcut ARGUMENTS``."""
    return start_program([sys.executable, "-m", "pushcut", *arguments], log)


def end(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> tuple[int, float]:
    """Sends a signal and waits; returns exit code and seconds."""
    start = time.monotonic()
    process.send_signal(number)
    code = process.wait(timeout=120)
    return code, time.monotonic() - start


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the state on; the name before it may hold anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
