"""Trackers: the page for Prometheus, and ports that are not to be had."""

import re
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pushcut.errors import UserError
from pushcut.presets import PRESETS
from pushcut.reporting.video import write_mp4
from pushcut.runs.run import Run, read_metrics
from pushcut.runs.trackers import TRACKERS, RunInfo, TrackerBackend, check_openable, tag


def page(url: str) -> dict[str, float]:
    """Name -> value of everything that the page shows of a run called "run"."""
    with urllib.request.urlopen(url, timeout=50) as answer:
        text = answer.read().decode()
    return {
        name: float(value)
        for name, value in re.findall(r'^(\w+)\{run="run"\} (\S+)$', text, re.MULTILINE)
    }


def address(capsys) -> str:
    return re.findall(r"http://127\.0\.0\.1:\d+/metrics", capsys.readouterr().out)[0]


def test_prometheus_reads_the_newest_metrics_and_nothing_is_left_after_the_run(tmp_path, capsys):
    with Run.create(tmp_path / "run", {}, ("prometheus",), prometheus_port=0) as run:
        url = address(capsys)
        run.log(0, {"loss": 0.5, "lr": 1e-4, "entropy": None})
        run.log(1, {"loss": 0.25, "success rate greedy": 1.0})
        shown = page(url)
    assert shown.pop("pushcut_iterations_total") == 1
    assert {name: x for name, x in shown.items() if not name.endswith("_created")} == {
        "pushcut_loss": 0.25,
        "pushcut_lr": 1e-4,
        "pushcut_success_rate_greedy": 1.0,
    }
    with pytest.raises(urllib.error.URLError):
        page(url)


def test_a_resumed_run_counts_on(tmp_path, capsys):
    with Run.create(tmp_path / "run", {}) as run:
        run.log(0, {"loss": 0.5})
    resumed = Run.resume(run.path, {}, ("prometheus",), first=7, may_change=(), prometheus_port=0)
    with resumed:
        url = address(capsys)
        resumed.log(7, {"loss": 0.5})
        assert page(url)["pushcut_iterations_total"] == 7


def test_a_port_in_use_says_what_to_type_and_leaves_no_folder_behind(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=rf"port {port} .* in use.*--prometheus-port, or 0"):
            Run.create(tmp_path / "run", {}, ("prometheus",), prometheus_port=port)
    assert not (tmp_path / "run").exists()


def test_a_missing_package_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(UserError, match=r"pip install .pushcut\[prometheus\]"):
        Run.create(tmp_path / "run", {}, ("prometheus",))


def test_a_port_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="prometheus_port must be 0 to 65535, got 70000"):
        type(PRESETS["smoke"].train)(PRESETS["smoke"].train.env, prometheus_port=70000)


def test_tags_are_grouped_by_what_they_are_about():
    names = (
        "success_rate_sampled", "success_rate_sampled/push v3", "eval_greedy_success_rate",
        "eval_greedy_success_rate/push", "eval_greedy_seconds", "seconds_rollout", "loss",
        "value_loss", "validation_loss", "approx_kl", "lr", "groups_kept", "eval_greedy_episodes",
        "env_steps_total", "groups_played_per_kept", "greedy_gap", "something_new",
    )  # fmt: skip
    assert [tag(name) for name in names] == [
        "success/sampled", "success_of_task/sampled/push v3", "success/eval_greedy",
        "success_of_task/eval_greedy/push", "time/eval_greedy", "time/rollout", "loss/loss",
        "loss/value_loss", "loss/validation_loss", "update/approx_kl", "update/lr",
        "rollout/groups_kept", "rollout/eval_greedy_episodes", "rollout/env_steps_total",
        "rollout/groups_played_per_kept", "success/greedy_gap", "other/something_new",
    ]  # fmt: skip


def test_tensorboard_has_the_grouped_tags_and_metrics_jsonl_the_plain_names(tmp_path):
    with Run.create(tmp_path / "run", {}, ("tensorboard",)) as run:
        run.log(3, {"loss": 0.5, "success_rate_sampled/push": 0.25})
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert events.Tags()["scalars"] == ["loss/loss", "success_of_task/sampled/push"]
    assert [(x.step, x.value) for x in events.Scalars("loss/loss")] == [(3, 0.5)]
    (line,) = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert line == {"iteration": 3, "loss": 0.5, "success_rate_sampled/push": 0.25}


def test_prometheus_has_a_label_for_the_task(tmp_path, capsys):
    with Run.create(tmp_path / "run", {}, ("prometheus",), prometheus_port=0) as run:
        url = address(capsys)
        for rate in (0.5, 0.75):
            run.log(1, {"success_rate_sampled": rate, "success_rate_sampled/a b": rate})
        with urllib.request.urlopen(url, timeout=50) as answer:
            text = answer.read().decode()
    assert 'pushcut_success_rate_sampled_of_task{run="run",task="a b"} 0.75' in text
    assert 'pushcut_success_rate_sampled{run="run"} 0.75' in text


class FakeWandB(ModuleType):
    """What the tracker uses of W&B."""

    class Error(Exception):
        """Base of W&B's errors."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.told: dict[str, Any] = {}
        self.logged: list[tuple[int, dict[str, Any]]] = []

    def init(self, **told: Any) -> "FakeWandB":
        self.told = told
        return self

    def Video(self, path: str, *, caption: str) -> tuple[str, str]:  # noqa: N802, as theirs
        return path, caption

    def log(self, metrics: dict[str, Any], *, step: int) -> None:
        self.logged.append((step, metrics))

    def finish(self) -> None:
        pass


@pytest.fixture
def wandb(monkeypatch) -> FakeWandB:
    fake = FakeWandB()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    for name in ("WANDB_PROJECT", "WANDB_NAME", "WANDB_TAGS"):
        monkeypatch.delenv(name, raising=False)
    return fake


def test_wandb_gets_config_tags_metrics_and_videos(tmp_path, wandb):
    with Run.create(tmp_path / "run", PRESETS["smoke"].train, ("wandb",)) as run:
        run.log(2, {"success_rate_sampled/push": 0.5})
        videos = {"push, start 0: failed": Path("a.mp4"), "push, start 3: success": Path("b.mp4")}
        run.log_videos(2, videos)
    told = wandb.told
    assert (told["project"], told["name"]) == ("pushcut", "run")
    assert told["tags"] == ["PointMass", "GRPO"]
    assert told["config"]["algorithm"]["group_size"] == PRESETS["smoke"].train.algorithm.group_size
    assert {"command", "commit", "versions"} <= told["config"]["provenance"].keys()
    assert wandb.logged == [
        (2, {"success_of_task/sampled/push": 0.5}),
        (2, {"videos/push": [("a.mp4", "push, start 0: failed"),
                             ("b.mp4", "push, start 3: success")]}),
    ]  # fmt: skip


def test_wandbs_own_variables_come_first(tmp_path, wandb, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "arms")
    monkeypatch.setenv("WANDB_TAGS", "night,lab")
    with Run.create(tmp_path / "run", PRESETS["smoke"].train, ("wandb",)):
        assert wandb.told["project"] == "arms"
        assert wandb.told["tags"] == ["PointMass", "GRPO", "night", "lab"]
        assert "entity" not in wandb.told  # W&B reads WANDB_ENTITY itself


def test_wandb_without_a_key_says_what_to_do_and_leaves_no_folder_behind(
    tmp_path, wandb, monkeypatch
):
    def no_key(**told: Any):
        raise wandb.Error("No API key\nconfigured.")

    monkeypatch.setattr(wandb, "init", no_key)
    with pytest.raises(UserError, match=r"\(No API key configured\.\): type `wandb login`, or set"):
        Run.create(tmp_path / "run", {}, ("wandb",))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "error",
    [ConnectionError("no route\nto host"), TimeoutError("timed out"), OSError("no network")],
)
def test_wandb_without_a_server_is_one_line_whatever_it_raises(tmp_path, wandb, monkeypatch, error):
    def no_server(**told: Any):
        raise error

    monkeypatch.setattr(wandb, "init", no_server)
    with pytest.raises(UserError, match=r"W&B cannot be reached \(") as told:
        Run.create(tmp_path / "run", {}, ("wandb",))
    assert "\n" not in str(told.value) and "WANDB_MODE=offline" in str(told.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "package", "todo"),
    [
        ("tensorboard", "tensorboard", "pip install tensorboard"),
        ("wandb", "wandb", 'pip install "pushcut[wandb]"'),
        ("prometheus", "prometheus_client", 'pip install "pushcut[prometheus]"'),
    ],
)
def test_a_missing_package_is_told_before_anything_is_loaded(name, package, todo, monkeypatch):
    monkeypatch.delitem(sys.modules, package, raising=False)
    monkeypatch.setattr("pushcut.runs.trackers.find_spec", lambda module: None)
    with pytest.raises(UserError) as error:
        check_openable([name], 0)
    assert str(error.value) == f"the {name} tracker needs `{todo}`"


def test_a_broken_tensorboard_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match="the tensorboard tracker needs `pip install tensorboard`"):
        Run.create(tmp_path / "run", {}, ("tensorboard",))
    assert not (tmp_path / "run").exists()


def test_a_port_in_use_is_told_before_anything_is_loaded():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"port {port} on 127\.0\.0\.1 cannot be opened"):
            check_openable(["prometheus"], port)
    check_openable(["prometheus"], port)


class FailingTracker(TrackerBackend):
    def __init__(self, where: RunInfo) -> None:
        self.told = 0

    def log(self, iteration: int, metrics: Mapping[str, float]) -> None:
        raise RuntimeError("the server\nis gone")

    def close(self) -> None:
        raise RuntimeError("gone, too")


def test_a_tracker_that_fails_does_not_end_the_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(TRACKERS, "failing", FailingTracker)
    with Run.create(tmp_path / "run", PRESETS["smoke"].train, ("failing",)) as run:
        run.log(0, {"loss": 1.0})
        run.log(1, {"loss": 0.5})
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("is told no more (the server is gone); metrics.jsonl has everything") == 1
    assert [line["loss"] for line in read_metrics(tmp_path / "run" / "metrics.jsonl")] == [1.0, 0.5]


def test_a_tracker_that_cannot_be_opened_is_one_line(tmp_path, monkeypatch):
    def broken(where: RunInfo):
        raise TypeError("Descriptors cannot be\ncreated directly")

    monkeypatch.setitem(TRACKERS, "broken", broken)
    with pytest.raises(UserError, match=r"broken cannot be opened \(Descriptors cannot be created"):
        Run.create(tmp_path / "run", {}, ("broken",))


def test_the_real_wandb_takes_it_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    clip = write_mp4(tmp_path / "a.mp4", np.zeros((3, 32, 32, 3), np.uint8), fps=5)
    with Run.create(tmp_path / "run", PRESETS["smoke"].train, ("wandb",)) as run:
        run.log_videos(0, {"push, start 0: failed": clip})
        run.log(0, {"loss": 0.5})
    media = list((tmp_path / "run").glob("wandb/offline-run-*/files/media/**/*.mp4"))
    assert [file.read_bytes() for file in media] == [clip.read_bytes()]


class Remembering(TrackerBackend):
    """A plug-in's tracker."""

    def __init__(self, where: RunInfo) -> None:
        self.lines: list[int] = []

    def log(self, iteration: int, metrics: Mapping[str, float]) -> None:
        self.lines.append(iteration)

    def close(self) -> None:
        pass


def test_a_plug_in_adds_a_tracker(tmp_path, monkeypatch):
    opened: list[Remembering] = []

    def remembering(where: RunInfo) -> Remembering:
        opened.append(Remembering(where))
        return opened[-1]

    monkeypatch.setitem(TRACKERS, "mine", remembering)
    config = replace(PRESETS["smoke"].train, trackers=("mine",))
    with Run.create(tmp_path / "run", config, config.trackers) as run:
        run.log(4, {"loss": 1.0})
        run.log_videos(4, {})
    assert opened[0].lines == [4]


@pytest.mark.parametrize("command", ["train", "sft"])
def test_an_unknown_tracker_is_refused_with_those_there_are(command):
    with pytest.raises(ValueError, match="no tracker 'tensorbord'; have tensorboard, wandb"):
        replace(getattr(PRESETS["smoke"], command), trackers=("tensorbord",))
