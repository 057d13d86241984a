"""Training runs that something goes wrong with: nothing is lost, and it is told."""

import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from pushcut import assembly
from pushcut.errors import Interrupted, UserError
from pushcut.learning.learner import Learner
from pushcut.runs.jsonl import read_lines
from pushcut.runs.lock import folder_lock
from pushcut.runs.run import Run, read_metrics
from tests.envs.mixed.members import FaultyMember
from tests.envs.pool.faulty import FaultyConfig
from tests.same_run import check_same_run

pytestmark = pytest.mark.heavy


@pytest.fixture
def whole(make_once, small_training) -> Path:
    """What the run must come to: three iterations, undisturbed."""
    config = replace(small_training, iterations=3)
    return make_once("run-of-three", lambda out: assembly.train(replace(config, out=out)).path)


def checkpoints(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def finish(config, whole: Path) -> None:
    """The same command again; afterwards the run is as if nothing had happened."""
    assembly.train(replace(config, iterations=3, resume=True))
    check_same_run(config.out, whole, iteration=3)
    assert read_lines(config.out / "episodes.jsonl") == read_lines(whole / "episodes.jsonl")
    assert checkpoints(config.out) == checkpoints(whole)


def told(run: Path) -> list[dict]:
    lines = read_metrics(run / "metrics.jsonl")
    return [recovery for line in lines for recovery in line.get("recoveries", [])]


@pytest.mark.parametrize("file", ["optimizer.pt", "policy/config.json"])
def test_a_damaged_checkpoint_is_passed_over_and_told(half_done, whole, file):
    path = half_done.out / "checkpoints" / "000002" / file
    path.write_bytes(path.read_bytes()[:-9])
    finish(half_done, whole)
    damaged, resumed = told(half_done.out)
    assert damaged["kind"] == "checkpoint" and "000002 is damaged" in damaged["reason"]
    assert (resumed["kind"], resumed["iterations"]) == ("resumed", 1)


def test_a_run_killed_before_its_first_checkpoint_begins_again(half_done, whole):
    shutil.rmtree(half_done.out / "checkpoints")
    finish(half_done, whole)
    (resumed,) = told(half_done.out)
    assert (resumed["reason"], resumed["iterations"]) == ("went on from iteration 0", 2)


def test_resume_begins_where_there_is_nothing_yet(small_training, whole):
    finish(small_training, whole)
    assert told(small_training.out) == []


def test_a_process_killed_between_two_renames_loses_no_checkpoint(half_done, whole):
    folder = half_done.out / "checkpoints"
    shutil.copytree(folder / "000002", folder / ".000002.new")
    (folder / "000002").rename(folder / ".000002.old")
    finish(half_done, whole)
    (resumed,) = told(half_done.out)
    assert resumed["reason"] == "went on from iteration 2"


def stop_in_the_update_of(iteration: int, monkeypatch) -> None:
    """SIGTERM after the first optimiser step of an iteration."""
    original = Learner._step

    def step_and_signal(self, rollout, credit, rows, now, pace):
        first = self.steps
        metrics = original(self, rollout, credit, rows, now, pace)
        if now == iteration and self.steps > first and not sent:
            sent.append(True)
            os.kill(os.getpid(), signal.SIGTERM)
        return metrics

    sent: list[bool] = []
    monkeypatch.setattr(Learner, "_step", step_and_signal)


@pytest.mark.parametrize(
    ("grace_s", "saved"), [(60.0, ["000001", "000002"]), (0.0, ["000001"])], ids=["ends", "dropped"]
)
def test_a_signal_in_an_update_saves_whole_iterations_only(
    small_training, whole, monkeypatch, grace_s, saved
):
    """An update that is soon done is finished and saved; else it is dropped and played again."""
    config = replace(small_training, grace_s=grace_s)
    with monkeypatch.context() as patch:
        stop_in_the_update_of(1, patch)
        with pytest.raises(Interrupted) as stop:
            assembly.train(config)
    assert stop.value.exit_code == 143
    assert checkpoints(config.out) == saved
    finish(config, whole)


def test_weights_of_an_iteration_that_could_not_be_logged_are_not_saved(
    small_training, whole, monkeypatch
):
    original = Run.log

    def log(self, iteration, metrics):
        if iteration == 1:
            raise UserError("could not write metrics.jsonl: No space left on device")
        original(self, iteration, metrics)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "log", log)
        with pytest.raises(UserError, match="No space left"):
            assembly.train(small_training)
    assert checkpoints(small_training.out) == ["000001"]
    finish(small_training, whole)


def test_the_ledger_has_every_episode_of_the_rollout_once(whole):
    metrics, ledger = read_metrics(whole / "metrics.jsonl"), read_lines(whole / "episodes.jsonl")
    for line, entry in zip(metrics, ledger, strict=True):
        assert line["iteration"] == entry["iteration"]
        keys = [(group, member) for group, member, *_ in entry["episodes"]]
        assert keys == [(g, m) for g in range(line["groups_sampled"]) for m in range(4)]
        successes = [success for *_, success, _ in entry["episodes"]]
        assert sum(successes) / len(successes) == pytest.approx(line["success_rate_sampled"])


def test_two_trainings_in_one_folder_are_refused(small_training):
    out = small_training.out
    with (
        folder_lock(out),
        pytest.raises(UserError, match=f"{out} is in use by process {os.getpid()} on"),
    ):
        assembly.train(small_training)


def test_simulators_that_cannot_start_leave_no_folder(small_training):
    broken = FaultyMember(faulty=FaultyConfig(build_fault="raise"))
    with pytest.raises(UserError, match="cannot start FaultyMember: RuntimeError: no off-screen"):
        assembly.train(replace(small_training, env=broken))
    assert not small_training.out.exists()
