"""The log of recoveries, and files with one object per line."""

import json
import resource

import pytest

from pushcut.errors import UserError
from pushcut.runs.jsonl import append_line, read_lines
from pushcut.runs.recoveries import RecoveryLog
from pushcut.types import Recovery

DIED = Recovery("died", "was killed by SIGKILL", worker=0, task="reach", seed=7, episodes=4)
RESUMED = Recovery("resumed", "went on from iteration 2", iterations=1)


def test_metrics_tell_each_recovery_once(tmp_path):
    log = RecoveryLog(tmp_path / "recoveries.jsonl")
    log.note(DIED)
    log.note(DIED)
    told = log.take()
    assert (told["worker_restarts"], told["episodes_requeued"], told["resumes"]) == (2, 8, 0)
    assert told["recoveries"] == [DIED.to_json()] * 2
    assert log.take() == {
        "worker_restarts": 0, "episodes_requeued": 0, "resumes": 0, "iterations_replayed": 0,
    }  # fmt: skip


def test_what_a_crash_kept_from_the_metrics_is_told_after_the_resume(tmp_path):
    path = tmp_path / "recoveries.jsonl"
    log = RecoveryLog(path)
    log.note(DIED)
    log.take()  # told in a line that stays
    log.note(DIED)
    log.take()  # told in a line that the resume drops
    with path.open("a") as file:
        file.write('{"kind": "di')  # the process was killed here
    log = RecoveryLog(path, told=1)
    log.note(RESUMED)
    told = log.take()
    assert [each["kind"] for each in told["recoveries"]] == ["died", "resumed"]
    assert (told["resumes"], told["iterations_replayed"]) == (1, 1)
    assert [line["kind"] for line in read_lines(path)] == ["died", "died", "resumed"]


def test_a_line_without_room_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "metrics.jsonl"
    append_line(path, {"iteration": 0})
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 5, limits[1]))
    try:
        with pytest.raises(UserError, match=r"could not write .*continue with --resume"):
            append_line(path, {"iteration": 1})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    append_line(path, {"iteration": 1})
    assert read_lines(path) == [{"iteration": 0}, {"iteration": 1}]


def test_a_torn_last_line_does_not_count(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps({"iteration": 0}) + '\n{"itera')
    assert read_lines(path) == [{"iteration": 0}]
