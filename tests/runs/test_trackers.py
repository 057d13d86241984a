"""Trackers: the page for Prometheus, and ports that are not to be had."""

import re
import socket
import sys
import urllib.error
import urllib.request

import pytest

from pushcut.errors import UserError
from pushcut.presets import PRESETS
from pushcut.runs.run import Run


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
