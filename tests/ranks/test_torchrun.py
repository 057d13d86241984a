"""The command as torchrun starts it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pushcut.runs.run import read_metrics
from tests.same_run import metrics

pytestmark = pytest.mark.heavy

COMMAND = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
PATIENCE_S = 1000


def start(policy: Path, out: Path, *options: str, restarts: int = 0) -> subprocess.Popen:
    train = ["-m", "pushcut", "train", "smoke", "--policy.path", str(policy), "--out", str(out)]
    limits = ["--threads", "1", "--rollout.workers", "1", "--algorithm.groups", "2"]
    return subprocess.Popen(
        [*COMMAND, "--max-restarts", str(restarts), *train, *limits, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def ranks_of(launcher: subprocess.Popen) -> list[psutil.Process]:
    """The processes that it started, without their simulators."""
    children = psutil.Process(launcher.pid).children()
    return [child for child in children if "pushcut" in child.cmdline()]


def wait_for_lines(run: Path, count: int, launcher: subprocess.Popen) -> None:
    until = time.monotonic() + PATIENCE_S
    while len(read_metrics(run / "metrics.jsonl")) < count:
        assert launcher.poll() is None, launcher.communicate()[0]
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.fixture
def ended() -> Iterator[list[subprocess.Popen]]:
    """Launchers that must not outlive the test."""
    launchers: list[subprocess.Popen] = []
    yield launchers
    for launcher in launchers:
        launcher.kill()
        launcher.wait()


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["replicated", "sharded"])
def test_ranks_of_which_one_was_killed_are_started_again_and_end_as_if_nothing_had_happened(
    finetuned, tmp_path, ended, weights
):
    options = ("--iterations", "6", "--save-every", "2", "--ranks.weights", weights)
    options = (*options, "--ranks.reproducible")  # which rank plays what is a matter of timing
    quiet = start(finetuned, tmp_path / "quiet", *options)
    ended.append(quiet)
    assert quiet.wait(PATIENCE_S) == 0
    launcher = start(finetuned, tmp_path / "killed", *options, restarts=1)
    ended.append(launcher)
    wait_for_lines(tmp_path / "killed", 3, launcher)
    ranks_of(launcher)[1].send_signal(signal.SIGKILL)
    assert launcher.wait(PATIENCE_S) == 0
    assert metrics(tmp_path / "killed") == metrics(tmp_path / "quiet")


def test_a_mistake_is_told_once_in_one_line(tmp_path, ended):
    launcher = start(tmp_path / "nowhere", tmp_path / "run")
    ended.append(launcher)
    output, _ = launcher.communicate(timeout=PATIENCE_S)
    assert launcher.returncode != 0
    errors = [line for line in output.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert "no policy at" in errors[0]
