"""Which episodes are filmed, and that a film shows the episode that was counted."""

import json
from dataclasses import replace
from pathlib import Path

import av
import pytest

from pushcut.commands.evaluate import run_eval
from pushcut.envs.point_mass import PointMassConfig
from pushcut.evaluation.films import chosen, film_fps
from pushcut.evaluation.results import LedgerLine
from pushcut.policies.source import TokenPolicySource


def lines(task: str, *successes: bool) -> list[LedgerLine]:
    return [LedgerLine(task, seed, x, 9, 9) for seed, x in enumerate(successes)]


def seeds(ledger: list[LedgerLine], each: int) -> list[tuple[str, int]]:
    return [(line.task, line.init_seed) for line in chosen(ledger, each)]


def length_of(video: Path) -> tuple[int, float]:
    """Frames and seconds of a video."""
    with av.open(video) as container:
        stream = container.streams.video[0]
        frames = sum(1 for _ in container.decode(stream))
        return frames, frames / float(stream.average_rate or 0)


def test_the_first_episodes_of_each_task_are_filmed():
    ledger = [*lines("a", True, False, True), *lines("b", False, True, True)]
    assert seeds(ledger, 1) == [("a", 0), ("b", 0)]
    assert seeds(ledger, 2) == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    assert seeds(ledger, 9) == [(t, i) for t in "ab" for i in range(3)]


def test_a_failure_is_among_successes_and_a_success_among_failures():
    assert seeds(lines("a", True, True, True, False, False), 2) == [("a", 0), ("a", 3)]
    assert seeds(lines("a", False, False, False, True), 3) == [("a", 0), ("a", 1), ("a", 3)]
    assert seeds(lines("a", True, True, True), 2) == [("a", 0), ("a", 1)]


@pytest.mark.parametrize(
    ("control_hz", "max_steps", "fps"),
    [
        (80.0, 500, 50.0),  # 500 steps in 10 s
        (26.7, 50, 10.0),  # 50 steps in 5 s: no slower than 10 frames per second
        (20.0, 300, 20.0),  # 15 s: real time
        (5.0, 20, 5.0),
    ],
)
def test_short_episodes_are_shown_slower_and_long_ones_in_real_time(control_hz, max_steps, fps):
    spec = replace(PointMassConfig().spec, control_hz=control_hz, max_steps=max_steps)
    assert film_fps(spec) == fps


@pytest.mark.heavy
@pytest.mark.parametrize("mode", ["greedy", "sampled"])
def test_a_film_shows_the_episode_that_was_counted(smoke, finetuned, tmp_path: Path, mode):
    """With other slots, batches and order: the same length, step by step."""
    source, out = TokenPolicySource(finetuned), tmp_path / "it.json"
    config = replace(smoke.eval, policy=source, mode=mode, episodes_per_task=6, repeats=2)
    run_eval(replace(config, out=out, videos=3))
    counted = {
        (x["task"], x["init_seed"], x["repeat"]): x
        for x in map(json.loads, (tmp_path / "it.ledger.jsonl").read_text().splitlines())
    }
    shown = json.loads((tmp_path / "it-videos" / "videos.json").read_text())
    assert len(shown) == 2 * 3
    for film in shown:
        line = counted[film["task"], film["init_seed"], film["repeat"]]
        assert (film["success"], film["length"]) == (line["success"], line["length"])
        assert film["instruction"] == config.env.spec.tasks[film["task"]]
        frames, seconds = length_of(tmp_path / "it-videos" / film["file"])
        # One image before the first step, one after each, and the last for a second, at 10 Hz.
        assert frames == 1 + film["length"] + 10
        assert seconds == pytest.approx((11 + film["length"]) / 10, abs=0.05)
