"""A robot and a policy from outside the tree: demonstrations to report, as a user types it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.heavy

EXAMPLES = Path(__file__).parents[2] / "examples"
ROBOT = ["--plugin", str(EXAMPLES / "reach_env.py")]
BOTH = [*ROBOT, "--plugin", str(EXAMPLES / "cnn_policy.py")]
FAST = ["--rollout.slots", "8", "--rollout.workers", "1", "--evaluation.every", "0"]
ALGORITHMS = {
    "ppo": ["--algorithm", "ppo", "--algorithm.episodes", "48"],
    "grpo": ["--algorithm.groups", "6", "--algorithm.max-groups", "12"],
}


def pushcut(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own: plug-ins stay with the process that loads them."""
    command = [sys.executable, "-m", "pushcut", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def done(folder: Path, *arguments: str) -> str:
    result = pushcut(folder, *arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout + result.stderr


@pytest.fixture(scope="module")
def started(tmp_path_factory) -> Path:
    """Demonstrations of the robot, and a policy that after them reaches both dots at times."""
    folder = tmp_path_factory.mktemp("lab")
    done(folder, "collect", "reach", *ROBOT, "--out", "demos", "--episodes-per-task", "5")
    fit = ["--fit.steps", "25", "--fit.warmup-steps", "1"]
    done(
        folder, "sft", "reach", *BOTH, "--policy", "cnn", "--dataset", "demos", "--out", "sft", *fit
    )
    return folder


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_robot_and_a_policy_of_a_lab_learn_by_every_algorithm(started, algorithm):
    chosen = ["--policy", "cnn", "--policy.path", "sft", "--learner.lr", "2e-3", *FAST]
    long = ["--iterations", "20", "--patience", "20"]  # also where every episode succeeds
    settings = [*chosen, *ALGORITHMS[algorithm], *long, "--out", algorithm]
    done(started, "train", "reach", *BOTH, *settings)
    config = json.loads((started / algorithm / "config.json").read_text())
    assert config["config"]["env"]["type"] == "ReachConfig"
    assert config["config"]["policy"]["type"] == "PolicySource"
    assert [Path(name).name for name in config["plugins"]] == ["reach_env.py", "cnn_policy.py"]
    rates = {}
    for name in ("sft", algorithm):
        few = ["--episodes-per-task", "25", "--out", f"{algorithm}-{name}.json"]
        chosen = ["--policy", "cnn", "--policy.path", name, *FAST[:4]]
        done(started, "eval", "reach", *BOTH, *chosen, *few)
        rates[name] = json.loads((started / f"{algorithm}-{name}.json").read_text())["successes"]
    assert rates[algorithm] >= rates["sft"] + 10, rates  # of 50
    done(started, "report", algorithm)
    assert "<html" in (started / algorithm / "report.html").read_text()


def test_without_its_plug_in_a_policy_is_named_in_one_line(started):
    result = pushcut(started, "eval", "reach", *ROBOT, "--policy.path", "sft")
    assert result.returncode == 1
    assert "unknown policy type 'cnn'" in result.stderr
    assert "--plugin FILE.py" in result.stderr
    result = pushcut(started, "eval", "reach", "--policy.path", "sft")
    assert result.returncode == 2
    assert "unknown preset 'reach'" in result.stderr


def test_the_yaml_that_a_run_wrote_makes_the_same_run_again(started):
    few = ["--algorithm.groups", "2", "--algorithm.max-groups", "2", "--iterations", "2"]
    chosen = ["--policy", "cnn", "--policy.path", "sft", "--threads", "1", *FAST, *few]
    done(started, "train", "reach", *BOTH, *chosen, "--out", "first")
    settings = yaml.safe_load((started / "first" / "config.yaml").read_text())
    assert settings["algorithm"]["groups"] == 2
    done(started, "train", *BOTH, "--config", "first/config.yaml", "--out", "again")
    assert done(started, "diff", "first", "again").split() == [
        *("setting", "first", "again"),
        *("out", str(started / "first"), str(started / "again")),
    ]
    runs = [(started / name / "episodes.jsonl").read_text() for name in ("first", "again")]
    assert runs[0] == runs[1]
    done(started, "train", *BOTH, "--resume", "--out", "first", "--iterations", "3")
    assert len((started / "first" / "episodes.jsonl").read_text().splitlines()) == 3
