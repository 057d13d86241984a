"""metrics.jsonl: what is added up over a run, also one that was resumed or began before that."""

import pytest

from pushcut.config import EvaluationConfig
from pushcut.runs.jsonl import append_line
from pushcut.runs.run import Run, read_metrics


def totals(run: Run) -> list[tuple[int, int]]:
    lines = read_metrics(run.path / "metrics.jsonl")
    return [(x["env_steps_total"], x["decisions_total"]) for x in lines if "env_steps_total" in x]


def test_totals_go_on_where_a_run_is_resumed_and_leave_out_what_is_played_again(tmp_path):
    with Run.create(tmp_path / "run", {}) as run:
        for iteration, steps in enumerate((100, 30, 7)):
            run.log(iteration, {"env_steps": steps, "decisions": steps // 5})
        run.log(3, {"eval_greedy_success_rate": 0.5})
    assert totals(run) == [(100, 20), (130, 26), (137, 27)]
    with Run.resume(run.path, {}, (), first=2, may_change=()) as resumed:
        resumed.log(2, {"env_steps": 20, "decisions": 4})
    assert totals(resumed) == [(100, 20), (130, 26), (150, 30)]


def test_totals_of_a_run_that_began_without_them_count_all_of_its_iterations(tmp_path):
    run = Run.create(tmp_path / "run", {})
    append_line(run.path / "metrics.jsonl", {"iteration": 0, "env_steps": 100, "decisions": 20})
    with Run.resume(run.path, {}, (), first=1, may_change=()) as resumed:
        resumed.log(1, {"env_steps": 5, "decisions": 1})
    assert totals(resumed) == [(105, 21)]


@pytest.mark.parametrize(
    ("mode", "modes"),
    [("greedy", ("greedy",)), ("sampled", ("sampled",)), ("both", ("greedy", "sampled"))],
)
def test_an_evaluation_mode_is_one_mode_or_both_with_greedy_first(mode, modes):
    assert EvaluationConfig(mode=mode).modes == modes
