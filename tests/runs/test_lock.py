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


def test_a_file_that_its_owner_removes_meanwhile_is_not_taken_for_the_lock(tmp_path, monkeypatch):
    """The new owner has the file of that name, so that the next process meets its lock."""
    run, real, looks = tmp_path / "run", fcntl.flock, []

    def flock(descriptor, operation):
        real(descriptor, operation)
        if operation & fcntl.LOCK_EX and not looks:  # as the NFS client does when it is open
            looks.append(os.fstat(descriptor).st_ino)
            (run / LOCK).rename(run / ".nfs0001")

    monkeypatch.setattr(fcntl, "flock", flock)
    with folder_lock(run):
        assert (run / LOCK).stat().st_ino != looks[0]
        with pytest.raises(UserError, match="in use by process"), folder_lock(run):
            pass


def test_a_folder_that_is_removed_meanwhile_is_made_again(holder, tmp_path):
    def hold() -> bool:
        with folder_lock(tmp_path / "run", wait_s=60.0):
            return (tmp_path / "run" / LOCK).exists()

    with ThreadPoolExecutor(1) as thread:
        held = thread.submit(hold)
        (tmp_path / "run" / "config.json").unlink()
        holder.communicate("\n")  # it ends without a run, and takes the folder with it
        assert held.result()


def test_a_folder_that_is_removed_before_the_file_is_in_it_is_made_again(tmp_path, monkeypatch):
    opened, gone = os.open, [True, True]

    def open_later(path, *arguments, **options):
        if str(path).endswith(LOCK) and gone:
            gone.pop()
            (tmp_path / "run").rmdir()
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "open", open_later)
    with folder_lock(tmp_path / "run"):
        assert (tmp_path / "run" / LOCK).exists()
    assert not gone


def test_a_folder_that_never_comes_to_be_is_an_error(tmp_path):
    """A link to nothing looks as if somebody removed the folder, for ever."""
    (tmp_path / "run").symlink_to(tmp_path / "nowhere" / "run")
    with pytest.raises(UserError, match="cannot be written to"), folder_lock(tmp_path / "run"):
        pass


def test_a_refused_process_leaves_the_name_of_the_owner(holder, tmp_path):
    for _ in range(2):
        with (
            pytest.raises(UserError, match=f"process {holder.pid} "),
            folder_lock(tmp_path / "run"),
        ):
            pass


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(UserError, match="cannot be written to"),
        folder_lock(tmp_path / "file" / "run"),
    ):
        pass
