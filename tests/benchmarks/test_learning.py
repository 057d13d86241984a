"""The bench of learning: its arithmetic with the numbers written out, and that it goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from benchmarks.learning import curves
from benchmarks.learning.__main__ import main
from benchmarks.learning.bench import Bench
from benchmarks.learning.compare import Outcome, compared
from benchmarks.learning.curves import Curve, Point, area, paired, reached, with_interval
from benchmarks.learning.settings import SETTINGS, SUITE, Setting, Variant
from benchmarks.learning.stages import Attempt
from benchmarks.learning.table import tables

from pushcut.errors import UserError
from pushcut.presets import PRESETS
from pushcut.runs.run import read_metrics

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("upto", "expected"),
    [(20, 9 / 20), (10, 3 / 10), (15, (3 + 2.5) / 15), (0, 0.2), (30, (9 + 8) / 30)],
)
def test_the_area_is_the_mean_height_of_straight_lines(upto, expected):
    # trapezoids: 10 · (0.2 + 0.4) / 2 = 3 and 10 · (0.4 + 0.8) / 2 = 6
    assert area([0, 10, 20], [0.2, 0.4, 0.8], upto) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("level", "expected"), [(0.6, 15), (0.4, 10), (0.2, 0), (0.1, 0), (0.8, 20), (0.81, None)]
)
def test_a_level_is_reached_on_a_straight_line_between_two_evaluations(level, expected):
    found = reached([0, 10, 20], [0.2, 0.4, 0.8], level)
    assert found is None if expected is None else found == pytest.approx(expected)


def test_a_level_is_reached_the_first_time_though_success_falls_again():
    assert reached([0, 10, 20, 30], [0.2, 0.5, 0.3, 0.5], 0.5) == 10


def test_the_interval_of_a_mean_is_students():
    found = with_interval([0.1, 0.2, 0.3])
    # s = 0.1, t(0.975, 2) = 4.302653, half width 4.302653 · 0.1 / √3 = 0.248414
    assert found["mean"] == pytest.approx(0.2)
    assert found["interval"] == pytest.approx([-0.048414, 0.448414], abs=1e-6)
    assert found["range"] == [0.1, 0.3]
    assert with_interval([0.5])["interval"] is None


def test_differences_are_paired_over_the_seeds_that_both_have():
    found = paired({0: 0.5, 1: 0.7, 2: 0.6}, {0: 0.4, 1: 0.5, 3: 0.9})
    assert found is not None and found["seeds"] == [0, 1]
    assert found["values"] == pytest.approx([0.1, 0.2])
    # s = 0.1 / √2, t(0.975, 1) = 12.706205, half width 12.706205 · 0.1 / 2 = 0.635310
    assert found["interval"] == pytest.approx([0.15 - 0.635310, 0.15 + 0.635310], abs=1e-6)
    assert paired({0: 0.5}, {1: 0.5}) is None


def result(successes: int) -> dict[str, Any]:
    """Of a hundred episodes, all of one task."""
    counts = {"successes": successes, "episodes": 100, "interval": [0.0, 1.0]}
    return counts | {"per_task": {"push": counts}}


def curve(steps: Sequence[int], greedy: Sequence[int], sampled: Sequence[int]) -> Curve:
    """A curve in percent; a decision is five steps and takes a tenth of a second."""
    points = tuple(
        Point(
            number,
            {"env_steps": x, "decisions": x / 5, "wall_s": x / 50},
            {"greedy": result(a), "sampled": result(b)},
        )
        for number, (x, a, b) in enumerate(zip(steps, greedy, sampled, strict=True))
    )
    return Curve(points, ((0, 0.5),), groups_sampled=30, groups_kept=20, learning_share=1.0)


def outcome(*numbers: Sequence[int], cpu_s: float = 100.0) -> Outcome:
    return Outcome(curve(*numbers), 60.0, cpu_s, True)


def test_a_variant_is_compared_with_the_baseline_of_the_same_seeds():
    steps = [0, 1000, 2000]
    found = compared(
        {
            "baseline": {
                0: outcome(steps, [20, 40, 60], [10, 20, 30]),
                1: outcome(steps, [40, 50, 60], [10, 20, 30]),
            },
            "faster": {
                0: outcome(steps, [20, 60, 70], [10, 20, 20]),
                1: outcome(steps, [40, 60, 90], [10, 10, 20], cpu_s=300.0),
            },
        }
    )
    baseline, faster = found["variants"]["baseline"], found["variants"]["faster"]
    assert baseline["greedy"]["start"]["mean"] == pytest.approx(0.3)
    assert faster["greedy"]["end"]["values"] == [0.7, 0.9]
    assert faster["greedy_gap"]["values"] == pytest.approx([-0.5, -0.7])
    assert faster["groups_played_per_kept"] == 1.5
    task = faster["greedy"]["per_task"]["end"]["push"]
    assert (task["successes"], task["episodes"]) == (160, 200)
    assert task["interval"] == pytest.approx([0.7391, 0.8496], abs=1e-4)  # Wilson
    assert baseline["greedy"]["area"]["env_steps"]["values"] == pytest.approx([0.4, 0.5])
    # Mean gains of 30 and 50 points for 2000 steps, 100 and 200 processor seconds.
    assert baseline["cost_per_point"]["greedy"]["env_steps"] == pytest.approx(2000 / 30)
    assert faster["cost_per_point"]["greedy"]["cpu_s"] == pytest.approx(200 / 50)
    against = found["against_baseline"]["faster"]
    assert against["greedy"]["end"]["values"] == pytest.approx([0.1, 0.3])
    # The mean of the baseline ends at 60, which the variant's mean has at 1000 of 2000 steps.
    reach = against["greedy"]["reach"]
    assert (reach["baseline"], reach["variant"], reach["ratio"]) == (2000, 1000, 0.5)
    # Sampled, the variant never gets to 30.
    reach = against["sampled"]["reach"]
    assert (reach["variant"], reach["ratio"], reach["ratio_above"]) == (None, None, 1.0)
    assert [x["ratio"] for x in against["greedy"]["reach"]["per_seed"].values()] == [0.5, 0.5]


def test_without_a_gain_there_is_no_cost_per_point_and_nothing_to_reach():
    steps = [0, 1000]
    found = compared(
        {
            "baseline": {0: outcome(steps, [50, 40], [50, 50])},
            "x": {0: outcome(steps, [50, 60], [50, 60])},
        }
    )
    assert found["variants"]["baseline"]["cost_per_point"] == {"greedy": None, "sampled": None}
    assert found["against_baseline"]["x"]["greedy"]["reach"]["ratio"] is None


def test_areas_end_where_the_shortest_run_ends():
    long, short = outcome([0, 2000], [0, 80], [0, 80]), outcome([0, 1000], [0, 80], [0, 80])
    found = compared({"baseline": {0: long}, "x": {0: short}})
    assert found["budget"]["env_steps"] == 1000
    areas = [
        found["variants"][name]["greedy"]["area"]["env_steps"]["mean"] for name in ("baseline", "x")
    ]
    assert areas == pytest.approx([0.2, 0.4])


def write_run(folder: Path, *, iterations: int = 2, every: int = 1, successes: int = 50) -> None:
    """What `pushcut train --evaluation.mode both` leaves, with a point more at each evaluation."""
    (folder / "eval").mkdir(parents=True)
    lines = []
    for iteration in range(iterations + 1):
        line: dict[str, Any] = {"iteration": iteration}
        if iteration % every == 0:
            line |= {"greedy_gap": 0.0, "seconds_evaluate": 5.0}
            for mode in curves.MODES:
                file = folder / "eval" / f"{iteration:06d}-{mode}.json"
                file.write_text(json.dumps(result(successes + iteration)))
        if iteration < iterations:
            line |= {"env_steps": 100, "decisions": 20, "success_rate_sampled": 0.5}
            line |= {"groups_sampled": 3, "groups_kept": 2}
            line |= {"seconds_rollout": 3.0, "seconds_update": 1.0, "seconds_infer": 2.0}
        lines.append(json.dumps(line) + "\n")
    (folder / "metrics.jsonl").write_text("".join(lines))


def test_a_curve_counts_what_was_spent_before_each_evaluation_without_evaluations(tmp_path):
    write_run(tmp_path / "run", iterations=4, every=2)
    found = Curve.of(tmp_path / "run")
    assert found.axis("env_steps") == [0, 200, 400]
    assert found.axis("decisions") == [0, 40, 80]
    assert found.axis("wall_s") == [0, 8, 16]
    assert found.rates("greedy") == [0.5, 0.52, 0.54]
    assert (found.groups_sampled, found.groups_kept) == (12, 8)
    assert found.learning_share == 16 / (16 + 3 * 5)
    assert found.training == ((0, 0.5), (100, 0.5), (200, 0.5), (300, 0.5))


class Fake:
    """Runs no command: makes what it would make, and exits as it is told by a word in it."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.exits: dict[str, int] = {}

    def __call__(self, arguments: Sequence[str], log: Path) -> Attempt:
        self.commands.append(list(arguments))
        out = Path(arguments[arguments.index("--out") + 1])
        code = next((code for word, code in self.exits.items() if word in " ".join(arguments)), 0)
        log.write_text("something\nerror: it broke\n")
        if code == 0:
            if arguments[0] == "train":
                write_run(out)
            elif arguments[0] == "eval":
                out.write_text(json.dumps(result(40)))
            else:
                (out / "policy").mkdir(parents=True)
        return Attempt(2.0, 3.0, code)

    def taken(self) -> list[str]:
        """Since the last call: the commands' names."""
        names = [command[0] for command in self.commands]
        self.commands.clear()
        return names


def bench(out: Path, fake: Fake, *, seeds: Sequence[int] = (0,), **options: Any) -> Bench:
    out.mkdir(exist_ok=True)
    variants = Variant.all_of(options.pop("variant", []), options.pop("sft", []))
    return Bench(out, [Setting.of("smoke")], variants, seeds, fake, **options)


def test_a_bench_that_was_stopped_goes_on_with_what_is_not_done(tmp_path):
    fake = Fake()
    fake.exits = {"rl-cooler": 143}
    variant = ["cooler=--policy.temperature 1.0"]
    with pytest.raises(KeyboardInterrupt):
        bench(tmp_path / "b", fake, variant=variant).run()
    assert fake.taken() == ["collect", "sft", "train", "train"]
    fake.exits = {}
    again = bench(tmp_path / "b", fake, variant=variant)
    again.run()
    assert fake.taken() == ["train"]
    record = again.write()
    assert list(record["settings"]["smoke"]["variants"]) == ["baseline", "cooler"]
    # Both attempts count: twice 3 processor seconds, 8 of 23 seconds for learning.
    runs = record["settings"]["smoke"]["runs"]
    assert (runs["baseline"][0]["cpu_s"], runs["cooler"][0]["cpu_s"]) == (1.0, 2.1)
    assert record["settings"]["smoke"]["variants"]["cooler"]["cost"]["complete"]
    # More seeds and more variants are added to what is there.
    more = bench(tmp_path / "b", fake, seeds=(0, 1), variant=[*variant, "x=--learner.lr 1e-4"])
    more.run()
    assert fake.taken() == ["train", "collect", "sft", "train", "train", "train"]
    assert "| x, seed 1 | 52.0 (0.0 to 100.0) | 52.0 (0.0 to 100.0) |" in tables(more.write())


def test_an_attempt_that_nobody_saw_end_makes_the_cost_a_lower_bound(tmp_path):
    class KilledError(Exception):
        """In place of SIGKILL."""

    def killed(arguments: Sequence[str], log: Path) -> Attempt:
        raise KilledError

    first = bench(tmp_path / "b", Fake())
    first.execute = killed
    with pytest.raises(KilledError):
        Bench(first.out, first.settings, first.variants, first.seeds, killed).run()
    fake = Fake()
    again = bench(tmp_path / "b", fake)
    again.run()
    assert fake.taken() == ["collect", "sft", "train"]
    assert again.stages.cost("smoke/demonstrations-0") == (2.0, 3.0, False)
    assert again.stages.cost("smoke/rl-baseline/seed-0") == (2.0, 3.0, True)


def test_what_fails_is_named_and_what_does_not_need_it_goes_on(tmp_path, capsys):
    fake = Fake()
    fake.exits = {"rl-wrong": 2, "sft-longer": 1}
    failing = bench(
        tmp_path / "b", fake, variant=["wrong=--nonsense 1"], sft=["longer=--fit.steps 9"]
    )
    failing.run()
    # The training that would need the failed fine-tuning is left out.
    assert fake.taken() == ["collect", "sft", "train", "train", "sft"]
    assert [line.split(" (")[0] for line in failing.failed] == [
        "smoke/rl-wrong/seed-0: error: it broke",
        "smoke/sft-longer/seed-0: error: it broke",
    ]
    assert "failed: smoke/rl-wrong/seed-0: error: it broke" in capsys.readouterr().out
    assert list(failing.write()["settings"]["smoke"]["variants"]) == ["baseline"]


def test_other_settings_in_the_same_folder_are_refused(tmp_path):
    bench(tmp_path / "b", Fake(), variant=["x=--learner.lr 1e-4"]).run()
    changed = bench(tmp_path / "b", Fake(), variant=["x=--learner.lr 2e-4"])
    with pytest.raises(UserError, match=r"rl-x/seed-0 .* was begun with other settings .*lr 1e-4"):
        changed.run()


def test_a_folder_that_was_moved_goes_on(tmp_path):
    bench(tmp_path / "b", Fake()).run()
    (tmp_path / "b").rename(tmp_path / "c")
    fake = Fake()
    bench(tmp_path / "c", fake).run()
    assert fake.taken() == []


def test_tests_use_the_variants_sampling_and_share_the_start_where_it_is_the_same(tmp_path):
    fake = Fake()
    variant = ["cooler=--algorithm.groups 4 --policy.temperature 1.0", "lr=--learner.lr 1e-4"]
    tested = bench(tmp_path / "b", fake, variant=variant, test=True)
    tested.run()
    evals = [command for command in fake.commands if command[0] == "eval"]
    places = [Path(x[x.index("--out") + 1]).relative_to(tmp_path / "b/smoke") for x in evals]
    assert [f"{x.parent.parent.name} {x.stem}" for x in places] == [
        "test-baseline start-greedy", "test-baseline start-sampled",
        "test-baseline end-greedy", "test-baseline end-sampled",
        "test-cooler start-greedy", "test-cooler start-sampled",
        "test-cooler end-greedy", "test-cooler end-sampled",
        "test-lr end-greedy", "test-lr end-sampled",
    ]  # fmt: skip
    assert evals[4][-2:] == ["--policy.temperature", "1.0"]
    assert tested.write()["settings"]["smoke"]["tests"]["lr"]["greedy"]["start"]["mean"] == 0.4


def test_the_baseline_of_another_folder_is_compared_as_a_variant(tmp_path):
    bench(tmp_path / "old", Fake()).run()
    new = bench(tmp_path / "new", Fake(), others={"old code": tmp_path / "old"})
    new.run()
    against = new.write()["settings"]["smoke"]["against_baseline"]
    assert against["old code"]["greedy"]["end"]["values"] == [0.0]


@pytest.mark.parametrize("setting", SUITE, ids=lambda setting: setting.name)
def test_every_setting_of_the_suite_evaluates_200_episodes_and_ends_with_an_evaluation(setting):
    tasks = PRESETS[setting.preset].train.env.spec.tasks
    count = 2 if setting.name == "maniskill" else len(tasks)
    assert setting.episodes_per_task * count >= 200
    assert setting.iterations % setting.every == 0


def test_a_setting_without_its_simulator_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PUSHCUT_SIMS", str(tmp_path / "none"))
    fake = Fake()
    both = [SETTINGS["maniskill"], SETTINGS["smoke"]]
    (tmp_path / "b").mkdir()
    Bench(tmp_path / "b", both, Variant.all_of([], []), [0], fake).run()
    line = "skipped maniskill: mani_skill is not installed; type: pushcut sims install maniskill"
    assert capsys.readouterr().out.splitlines()[0] == line
    assert fake.taken() == ["collect", "sft", "train"]


@pytest.mark.parametrize(
    ("variant", "reason"),
    [
        ("cooler", "a variant is NAME=ARGUMENTS"),
        ("a/b=--x 1", "a variant is NAME=ARGUMENTS"),
        ("baseline=--x 1", "the variant baseline changes nothing"),
        ("x=--seed 3", "the bench sets --seed itself"),
        ("x=--evaluation.mode=greedy", "the bench sets --evaluation.mode=greedy itself"),
    ],
)
def test_a_variant_that_cannot_be_judged_is_refused(variant, reason, tmp_path, capsys):
    arguments = ["--settings", "smoke", "--variant", variant, "--out", str(tmp_path / "b")]
    assert main(arguments) == 1
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_the_commands_can_be_seen_before_they_are_run(tmp_path, capsys):
    arguments = ["--settings", "smoke", "--seeds", "3", "--out", str(tmp_path / "b"), "--commands"]
    assert main([*arguments, "--iterations", "2"]) == 0
    out = f"{tmp_path}/b/smoke"
    assert capsys.readouterr().out.splitlines() == [
        f"pushcut collect smoke --seed 3 --out {out}/demonstrations-3",
        f"pushcut sft smoke --dataset {out}/demonstrations-3 --seed 3 "
        f"--out {out}/sft/seed-3 --resume",
        f"pushcut train smoke --policy.path {out}/sft/seed-3/policy --seed 3 "
        f"--out {out}/rl-baseline/seed-3 --resume --iterations 2 --evaluation.every 2 "
        "--evaluation.mode both --evaluation.episodes-per-task 100",
    ]


def test_a_folder_with_something_else_is_left_alone(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["--settings", "smoke", "--out", str(tmp_path)]) == 1
    assert "holds something else" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.heavy
def test_a_real_bench_is_stopped_by_a_signal_and_goes_on_where_it_was(tmp_path):
    out = tmp_path / "b"
    command = [sys.executable, "-m", "benchmarks.learning", "--settings", "smoke", "--seeds", "0"]
    command += ["--iterations", "6", "--every", "3", "--episodes-per-task", "4", "--out", str(out)]
    first = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    run = out / "smoke" / "rl-baseline" / "seed-0"
    until = time.monotonic() + 900
    while not read_metrics(run / "metrics.jsonl"):
        assert first.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    os.kill(first.pid, signal.SIGTERM)
    assert first.wait(timeout=300) == 130
    assert len(read_metrics(run / "metrics.jsonl")) < 7
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    assert "sft" not in done.stdout.split("##")[0]  # was done before
    record = json.loads(done.stdout.splitlines()[-1])
    assert [line["iteration"] for line in read_metrics(run / "metrics.jsonl")] == list(range(7))
    attempts = record["stages"]["smoke/rl-baseline/seed-0"]["attempts"]
    assert [attempt["exit_code"] for attempt in attempts] == [143, 0]
    points = record["settings"]["smoke"]["runs"]["baseline"]["0"]["points"]
    assert [point["iteration"] for point in points] == [0, 3, 6]
    assert [point["greedy"]["episodes"] for point in points] == [8, 8, 8]
    assert {path.name for path in out.iterdir() if not path.name.startswith(".")} == {
        "config.json", "stages.json", "record.json", "table.md", "smoke", "smoke.png",
    }  # fmt: skip
