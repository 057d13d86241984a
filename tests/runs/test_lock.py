"""One process at a time in a run folder."""

import errno
import fcntl
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from pushcut.errors import UserError
from pushcut.runs.lock import LOCK, alone_in_folder, folder_lock

HOLD = """
import sys
from pathlib import Path
from pushcut.runs.lock import folder_lock
with folder_lock(Path(sys.argv[1])):
    (Path(sys.argv[1]) / "config.json").touch()
    print("held", flush=True)
    input()
"""


@pytest.fixture
def holder(tmp_path):
    """A process that works in ``tmp_path / "run"``."""
    program = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert program.stdout is not None and program.stdout.readline() == "held\n"
    yield program
    program.kill()
    program.communicate()


def test_the_second_process_is_told_in_one_line_who_the_first_is(holder, tmp_path):
    with (
        pytest.raises(UserError, match=rf"in use by process {holder.pid} on \S+: ") as error,
        folder_lock(tmp_path / "run"),
    ):
        pass
    assert "\n" not in str(error.value)


def test_a_killed_process_holds_nothing(holder, tmp_path):
    holder.kill()
    holder.wait()
    with folder_lock(tmp_path / "run"):
        assert (tmp_path / "run" / LOCK).exists()


def test_a_process_that_is_ending_is_waited_for(holder, tmp_path):
    """As ranks do that are started in place of those of a machine that was given up."""

    def hold() -> bool:
        with folder_lock(tmp_path / "run", wait_s=60.0):
            return holder.poll() is not None

    with ThreadPoolExecutor(1) as thread:
        held = thread.submit(hold)
        holder.kill()
        holder.wait()
        assert held.result()


def test_a_command_that_came_to_nothing_leaves_nothing(tmp_path):
    @alone_in_folder
    def refuse(config):
        raise UserError("no")

    with pytest.raises(UserError, match="no"):
        refuse(SimpleNamespace(out=tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_a_folder_that_holds_other_things_gets_no_lock(tmp_path):
    (tmp_path / "thesis.txt").touch()
    with folder_lock(tmp_path):
        assert not (tmp_path / LOCK).exists()


def test_a_file_system_without_locks_is_told_and_used(tmp_path, monkeypatch, capsys):
    def none(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with folder_lock(tmp_path / "run"):
        pass
    assert "make sure that no other process works there" in capsys.readouterr().err
