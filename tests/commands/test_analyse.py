"""`pushcut analyse` on results and events that are written down here."""

import json
from pathlib import Path

import numpy as np
import pytest

from pushcut.cli import main
from pushcut.commands.analyse import run_analyse
from pushcut.demos.event_files import events_file, write_events
from pushcut.errors import UserError
from pushcut.evaluation.results import EvalResult, LedgerLine
from tests.envs.events import events_of

NONE = np.nan
PUSHED = events_of(
    height=[0.0] * 5,
    x=[0, 0.02, 0.04, 0.06, 0.08],
    touch=[NONE, 5, 5, 5, 5],
    fingers=[0, 1, 1, 1, 1],
)
HELD = events_of(
    height=[0, 0, 0.02, 0.04, 0.06], touch=[NONE, 9, 9, 9, 9], fingers=[0, 2, 2, 2, 2],
    rest=[True, True, False, False, False],
)  # fmt: skip


def saved(
    folder: Path, name: str, pushes: int, *, of: int = 8, solved: bool = True, size=64
) -> Path:
    """A result whose first episodes push and whose others lift."""
    ledger = tuple(LedgerLine("pick", seed, solved, 4 + seed, 4) for seed in range(of))
    path = folder / f"{name}.json"
    EvalResult("greedy", ledger, 1.0).save(path, env={"type": "MetaWorld", "image_size": size})
    told = {line.episode: PUSHED if line.init_seed < pushes else HELD for line in ledger}
    write_events(events_file(path), told, control_hz=20.0)
    return path


def test_what_the_last_one_does_and_no_other_did_is_new(tmp_path, capsys):
    before, after = saved(tmp_path, "sft", 0), saved(tmp_path, "rl", 5)
    out = tmp_path / "found" / "analysis.json"
    assert main(["analyse", f"SFT={before}", f"RL={after}", "--out", str(out)]) == 0
    text = capsys.readouterr().out
    # All 5 of 16 episodes that push are among the 8 after: C(8, 5) / C(16, 5) = 56 / 4368.
    assert "New in RL: push** in 5 of 8 episodes; in none of 8 before" in text
    assert "p = 0.013" in text
    task = json.loads(out.read_text())["tasks"]["pick"]
    assert task["policies"]["SFT"]["strategies"]["carry"]["count"] == 8
    assert task["policies"]["RL"]["strategies"]["push"]["share"] == 5 / 8
    assert task["steps_paired"]["SFT"] == {"median": 0, "interval": [0, 0], "count": 8}
    assert (out.with_suffix(".md")).read_text() in text


def test_nothing_new_is_said_too(tmp_path):
    before, after = saved(tmp_path, "sft", 1), saved(tmp_path, "rl", 5)
    text = run_analyse((str(before), str(after)), tmp_path / "analysis.json")
    assert "every strategy that succeeds occurred before" in text


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"size": 128}, r"the environments differ in image_size \(128, 64\)"),
        ({"name": "sft"}, "results of the same name"),
        ({"events": False}, "evaluate with --events"),
        ({"told": 3}, "lacks 5 of 8 episodes"),
    ],
)
def test_what_cannot_be_compared_is_one_line(tmp_path, second, message):
    before = saved(tmp_path, "sft", 0)
    name = second.get("name", "rl")
    after = saved(tmp_path, name, 5, size=second.get("size", 64))
    if not second.get("events", True):
        events_file(after).unlink()
    if told := second.get("told"):
        some = {("pick", seed, 0): PUSHED for seed in range(told)}
        write_events(events_file(after), some, control_hz=20.0)
    with pytest.raises(UserError, match=message):
        run_analyse((str(before), str(after)), tmp_path / "analysis.json")
    assert not (tmp_path / "analysis.json").exists()


def test_policies_that_solve_nothing_have_no_strategy(tmp_path):
    files = [str(saved(tmp_path, name, 0, solved=False)) for name in ("a", "b")]
    with pytest.raises(UserError, match="no episode of any result was solved"):
        run_analyse(tuple(files), tmp_path / "analysis.json")
    with pytest.raises(UserError, match="two results or more"):
        run_analyse((files[0],), tmp_path / "analysis.json")


def test_events_of_a_simulator_that_tells_none_are_refused_before_anything(tmp_path, capsys):
    out = tmp_path / "result.json"
    policy = ["--policy.path", str(tmp_path)]
    assert main(["eval", "smoke", *policy, "--events", "--out", str(out)]) == 1
    error = capsys.readouterr().err
    assert "tells no events" in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())
