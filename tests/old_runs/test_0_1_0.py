"""A run folder that pushcut 0.1.0 wrote at 459fbc3 goes on, is evaluated and reported."""

import json
import shlex
import shutil
from pathlib import Path

import pytest

from pushcut.cli import main

KEPT = Path(__file__).parent / "0.1.0"
"""``run`` has two of the four iterations whose metrics.jsonl and episodes.jsonl lie beside it."""

SETTINGS = shlex.split("""
    --env.image-size 16 --policy.temperature 1.5 --algorithm.group-size 8 --algorithm.groups 4
    --algorithm.max-groups 4 --rollout.slots 8 --rollout.workers 1 --save-every 2 --keep 1
    --learner.kl-limit 10 --threads 1 --evaluation.every 2 --evaluation.episodes-per-task 4 --seed 2
    --trackers
""")
"""As they were typed then."""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A copy; the policy that it once began with is taken from its first checkpoint."""
    folder = tmp_path / "run"
    shutil.copytree(KEPT / "run", folder)
    config = json.loads((folder / "config.json").read_text())
    config["config"]["policy"]["path"] = str(folder / "checkpoints" / "000000" / "policy")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_it_resumes_and_plays_and_learns_what_it_would_have_then(run: Path):
    policy = run / "checkpoints" / "000000" / "policy"
    command = ["train", "smoke", "--policy.path", str(policy), "--out", str(run), "--resume"]
    assert main([*command, "--iterations", "4", *SETTINGS]) == 0
    assert lines(run / "episodes.jsonl") == lines(KEPT / "episodes.jsonl")
    for got, want in zip(lines(run / "metrics.jsonl"), lines(KEPT / "metrics.jsonl"), strict=True):
        for name in ("loss", "approx_kl", "grad_norm", "entropy", "eval_greedy_success_rate"):
            if want.get(name) is None:
                assert got.get(name) is None
            else:
                # Another machine may round otherwise; the updates of four iterations amplify it.
                assert got[name] == pytest.approx(want[name], rel=1e-2, abs=1e-4), name


def test_its_policy_is_as_good_as_it_was(run: Path, tmp_path: Path):
    out = tmp_path / "eval.json"
    command = ["eval", "smoke", "--policy.path", str(run), "--env.image-size", "16"]
    compared = ["--baseline", str(KEPT / "eval.json"), "--episodes-per-task", "4"]
    assert main([*command, *compared, "--out", str(out)]) == 0
    want, got = json.loads((KEPT / "eval.json").read_text()), json.loads(out.read_text())
    assert got["per_task"] == want["per_task"]


def test_its_report_is_drawn(run: Path):
    assert main(["report", str(run)]) == 0
    assert "reach-red" in (run / "report.html").read_text()
