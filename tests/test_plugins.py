"""Plug-ins that a command names; in processes of their own, for a plug-in stays loaded."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pushcut import __version__, plugins
from pushcut.errors import UserError
from tests.outside import ROBOT, install

REACH = Path(__file__).parents[1] / "examples" / "reach_env.py"


def pushcut(folder: Path, *arguments: str, path: Path | None = None) -> tuple[int, str, str]:
    """Exit code, output and errors of a command."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(path or ""), environment.get("PYTHONPATH")])
    )
    command = [sys.executable, "-m", "pushcut", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(autouse=True)
def no_plugins(monkeypatch):
    monkeypatch.setenv(plugins.VARIABLE, "")
    monkeypatch.setattr(sys, "path", [*sys.path])


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        (
            "broken.py",
            "def f(:",
            "cannot be loaded: SyntaxError: invalid syntax (broken.py, line 1)",
        ),
        ("types.py", "", "Python has another module 'types'"),
        ("missing_import.py", "import nothing_of_that_name", "ModuleNotFoundError"),
        ("no_robot.py", "from pushcut.envs import ENVS\nENVS.register('x', 3)", "got 3"),
        ("gone.py", None, "no such file"),
    ],
)
def test_a_file_that_is_no_plug_in_is_named(tmp_path, monkeypatch, name, text, part):
    monkeypatch.chdir(tmp_path)
    if text is not None:
        Path(name).write_text(text)
    with pytest.raises(UserError) as caught:
        plugins.load_named(["presets", "--plugin", name])
    assert str(caught.value).startswith(f"--plugin {tmp_path / name}")
    assert part in str(caught.value)


def test_a_module_that_is_a_file_here_is_guessed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("robot_of_here.py").touch()
    with pytest.raises(UserError, match="did you mean --plugin robot_of_here.py"):
        plugins.load_named(["--plugin", "robot_of_here"])


def test_plug_ins_are_taken_out_wherever_they_stand_and_kept_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a_robot_once.py").touch()
    typed = [
        "--plugin",
        "a_robot_once.py",
        "train",
        "--plugin=./a_robot_once.py",
        "x",
        "--seed",
        "1",
    ]
    assert plugins.load_named(typed) == ["train", "x", "--seed", "1"]
    assert plugins.names() == [str(tmp_path / "a_robot_once.py")]
    assert plugins.environment() == {plugins.VARIABLE: str(tmp_path / "a_robot_once.py")}
    with pytest.raises(UserError, match="--plugin needs a value, such as --plugin my_robot.py"):
        plugins.load_named(["train", "--plugin"])


@pytest.mark.heavy
def test_a_robot_is_listed_and_described_and_its_run_names_it(tmp_path):
    robot = ["--plugin", str(REACH)]
    code, out, _ = pushcut(tmp_path, *robot, "presets")
    assert code == 0
    assert re.search(r"^  reach {2,}A point that must reach one of two dots\.$", out, re.M)
    code, out, _ = pushcut(tmp_path, "presets", "reach", *robot)
    assert code == 0
    assert "sft.policy.new.cameras           top          corner2  not said" in out
    assert pushcut(tmp_path, *robot)[0] == 2
    assert pushcut(tmp_path, *robot, "--help")[0] == 0
    assert pushcut(tmp_path, *robot, "--version")[:2] == (0, f"{__version__}\n")
    short = ["--collect.episodes-per-task", "1", "--sft.fit.steps", "2", "--train.iterations", "1"]
    short += ["--train.algorithm.groups", "1", "--train.algorithm.max-groups", "1"]
    short += ["--eval.episodes-per-task", "1", "--train.evaluation.every", "0"]
    short += ["--sft.fit.warmup-steps", "1", "--out", "all"]
    code, _, err = pushcut(tmp_path, *robot, "quickstart", "reach", *short)
    assert code == 0, err
    config = json.loads((tmp_path / "all" / "rl" / "config.json").read_text())
    assert config["plugins"] == [str(REACH)]
    # Without the plug-in: what reads files alone works, and the rest says what is missing.
    assert pushcut(tmp_path, "report", "all")[0] == 0
    assert pushcut(tmp_path, "export", "all/rl", "--out", "policy")[0] == 0
    assert pushcut(tmp_path, "diff", "all/rl", "all/sft")[0] == 0
    code, _, err = pushcut(tmp_path, "train", "--resume", "--out", "all/rl")
    assert code == 1
    assert err.count("\n") == 1
    assert "type 'ReachConfig' is unknown; have BimanualConfig, CalvinConfig, " in err
    assert err.endswith(f"it was made with --plugin {REACH}\n")
    code, _, err = pushcut(tmp_path, "quickstart", "--resume", "--out", "all", *robot)
    assert code == 0, err


@pytest.mark.heavy
def test_a_broken_package_breaks_nothing_of_ours(tmp_path):
    entries = """\
    [pushcut.envs]
    rover = lab.robots:Rover
    [pushcut.presets]
    bad = lab.nothing:Bad
    [pushcut.policies]
    bad-policy = lab.nothing:Bad
    """
    install(tmp_path / "site", "lab", entries, robots=ROBOT.format(name="Rover"))
    warning = "warning: plug-in 'bad' of lab cannot be loaded: ModuleNotFoundError: "
    code, out, err = pushcut(tmp_path, "presets", path=tmp_path / "site")
    assert (code, err.count("\n"), err.startswith(warning)) == (0, 1, True)
    assert re.search(r"^  rover {2,}A robot of a lab\.$", out, re.M)
    code, out, _ = pushcut(tmp_path, "schema", "train", path=tmp_path / "site")
    assert code == 0
    assert json.loads(out)["$defs"]["Rover"]["properties"]["wheels"]["type"] == "integer"
    code, out, _ = pushcut(tmp_path, "completion", "bash", path=tmp_path / "site")
    assert code == 0
    assert re.search(r"_train_pos_0_choices=\(.*\brover\b", out)
    code, _, err = pushcut(tmp_path, "train", "bad", path=tmp_path / "site")
    assert code == 1
    assert err.startswith("error: plug-in 'bad' of lab cannot be loaded")
