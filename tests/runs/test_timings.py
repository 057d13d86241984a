"""Where the time goes: phases, the bottleneck by rule, and what real rollouts report."""

import time
from dataclasses import replace

import pytest

from pushcut import assembly
from pushcut.envs.point_mass import PointMassConfig
from pushcut.envs.pool.pool import EnvPool
from pushcut.runs import timings
from pushcut.runs.run import read_metrics
from pushcut.runs.timings import bottleneck, coarsened, describe, lanes, loop_parts
from pushcut.system.stopwatch import Stopwatch
from pushcut.types import InitState


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def test_a_phase_inside_another_interrupts_it_and_all_time_is_counted_once(clock):
    watch = Stopwatch(rest="other")
    clock[0] = 1.0  # 1 s of other
    with watch.timed("evaluate"):
        clock[0] = 4.0  # 3 s of evaluate
        with watch.timed("save"):
            clock[0] = 4.5
        clock[0] = 5.0  # 0.5 s more
    clock[0] = 7.0
    assert watch.take() == {"other": 3.0, "evaluate": 3.5, "save": 0.5}
    clock[0] = 8.0
    assert watch.take() == {"other": 1.0}


def test_time_outside_of_phases_is_not_counted_without_a_name_for_it(clock):
    watch = Stopwatch()
    clock[0] = 1.0
    with watch.timed("wait"):
        clock[0] = 3.0
    clock[0] = 9.0
    assert watch.take() == {"wait": 2.0}


def test_a_phase_that_ends_in_an_error_is_closed(clock):
    watch = Stopwatch(rest="other")
    with pytest.raises(ZeroDivisionError), watch.timed("save"):
        clock[0] = 2.0
        print(1 / 0)
    clock[0] = 3.0
    assert watch.take() == {"save": 2.0, "other": 1.0}


MACHINE = {"workers": 2, "slots": 16, "cores": 8}


@pytest.mark.parametrize(
    ("seconds", "machine", "name", "advice"),
    [
        # (1.6 + 0.3) / 2.0 = 95 % busy
        ({"simulate": 1.6, "render": 0.3}, {}, "simulators (workers busy 95%)", "more --rollout"),
        ({"simulate": 1.6, "render": 0.3}, {"cores": 2}, "simulators (", "more cores (2 workers"),
        ({"simulate": 0.8, "render": 1.0}, {}, "rendering (workers busy 90%)", "smaller images"),
        ({"simulate": 1.0, "render": 0.2}, {}, "idle simulators (workers busy 60%)", "last episod"),
        ({"simulate": 1.0, "render": 0.2}, {"slots": 3}, "idle simulators", "3 for 2 now"),
        ({"infer": 1.5, "wait": 0.2}, {}, "infer (75% of the rollout)", "--rollout.inference-b"),
        ({"infer": 0.2, "wait": 0.2}, {}, "prepare (80% of the rollout)", "smaller images"),
        ({"update": 2.1}, {}, "update", "--learner.micro-batch"),
        ({"evaluate": 2.1}, {}, "evaluate", "--evaluation.every"),
        # Of four workers on two cores, two are busy at best.
        ({"simulate": 0.95}, {"workers": 4, "cores": 2}, "simulators (workers busy", "more cores"),
        ({"save": 2.1}, {}, "save", "--save-every"),
        ({"other": 2.1}, {}, "other", "--trackers"),
    ],
)
def test_the_bottleneck_and_what_would_help(seconds, machine, name, advice):
    usual = {"rollout": 2.0, "infer": 0.2, "wait": 1.5, "update": 1.0, "other": 0.0}
    found = bottleneck(usual | seconds, **(MACHINE | machine))
    assert found.name.startswith(name)
    assert advice in found.advice


def test_an_iteration_is_described_in_one_line():
    seconds = {
        "evaluate": 0.0, "rollout": 2.1, "update": 1.0, "save": 0.004, "other": 0.1,
        "simulate": 1.7, "render": 0.3, "infer": 0.2, "wait": 1.5,
    }  # fmt: skip
    # 2.1 + 1.0 + 0.004 + 0.1 = 3.204 s; saving took less than 2 % of it
    assert describe(seconds, **MACHINE) == (
        "3.20 s: rollout 2.10 (simulate 1.70, render 0.30, infer 0.20, wait 1.50), update 1.00, "
        "other 0.10; bottleneck: simulators (workers busy 95%): more --rollout.workers "
        "(2 on 8 cores)"
    )


def test_an_iteration_without_rollout_has_a_bottleneck_too():
    assert bottleneck({"other": 0.1}, **MACHINE).name == "other"
    assert bottleneck({}, **MACHINE).name in timings.LOOP


def test_lanes_share_out_the_wall_time():
    line = {
        "iteration": 3, "loss": 0.1, "eval_greedy_seconds": 5.0,
        "seconds_evaluate": 5.0, "seconds_rollout": 4.0, "seconds_update": 2.0,
        "seconds_other": 0.5, "seconds_infer": 1.0, "seconds_wait": 2.5,
        "seconds_simulate": 2.0, "seconds_render": 1.5,
    }  # fmt: skip
    found = lanes([{"iteration": 2, "seconds_rollout": 4.0}, line])  # the first is of an old run
    assert found == {
        "loop": [
            {"save": 0, "evaluate": 5, "infer": 1, "wait": 2.5, "prepare": 0.5, "update": 2,
             "other": 0.5}
        ],
        "simulators": [{"": 5.0, "simulate": 2.0, "render": 1.5, "idle": 0.5}],
    }  # fmt: skip
    assert sum(found["loop"][0].values()) == 5.0 + 4.0 + 2.0 + 0.5


def test_each_rank_of_a_line_has_its_lanes():
    ranks = [{"seconds_rollout": 2.0, "seconds_other": 0.0}, {"seconds_update": 1.0}]
    found = lanes([{"seconds_other": 0.0, "ranks": ranks}])
    assert list(found) == ["rank 0", "rank 0: simulators", "rank 1", "rank 1: simulators"]
    assert found["rank 1"][0]["update"] == 1.0


def test_neighbouring_rows_are_added_up():
    rows = [{"a": 1.0}, {"a": 2.0, "b": 1.0}, {"b": 4.0}]
    assert coarsened(rows, 2) == [{"a": 3.0, "b": 1.0}, {"b": 4.0}]
    assert coarsened(rows, 3) == rows


def test_a_pool_counts_what_its_workers_do():
    with EnvPool(PointMassConfig(), slots=4, workers=2) as pool:
        assert pool.seconds == {"simulate": 0.0, "render": 0.0}
        start = time.perf_counter()
        for slot in range(4):
            pool.reset(slot, InitState("reach-red", slot))
        answered = 0
        while answered < 4:
            answered += len(pool.wait())
        passed = time.perf_counter() - start
        assert pool.seconds["render"] > 0
        # A mean over the workers is never more than the wall time.
        assert 0 < pool.seconds["simulate"] + pool.seconds["render"] < passed


def test_a_run_logs_phases_that_add_up_and_says_where_the_time_went(small_training, capsys):
    config = replace(
        small_training,
        algorithm=replace(small_training.algorithm, group_size=2, groups=2, max_groups=2),
        evaluation=replace(small_training.evaluation, every=2, episodes_per_task=2),
        rollout=replace(small_training.rollout, slots=4, workers=2),
        iterations=2,
    )
    start = time.perf_counter()
    assembly.train(config)
    passed = time.perf_counter() - start
    said = capsys.readouterr().out
    first, second, last = read_metrics(config.out / "metrics.jsonl")
    rows = [timings.of_line(line) for line in (first, second, last)]
    for row in rows[:2]:
        assert row["infer"] + row["wait"] <= row["rollout"]
        assert 0 < row["simulate"] + row["render"] <= row["rollout"]
        assert row["render"] > 0
    assert "seconds_evaluate" in first
    assert "seconds_evaluate" not in second
    assert set(rows[2]) == {"evaluate", "save", "other"}
    assert sum(sum(loop_parts(row).values()) for row in rows) < passed
    assert said.count("bottleneck: ") == 2
    log = (config.out / "log.txt").read_text().splitlines()
    assert [line for line in said.splitlines() if "bottleneck" in line] == [
        line.partition("INFO ")[2] for line in log if "bottleneck" in line
    ]
    assembly.train(replace(config, resume=True, iterations=3))
    assert (config.out / "log.txt").read_text().splitlines()[: len(log)] == log
