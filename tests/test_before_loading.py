"""What would end a command anyway is told before a weight is loaded or a file written."""

import json
import shlex
import socket
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pushcut import before_loading
from pushcut.cli import main
from pushcut.envs.gymnasium.env import GymnasiumConfig
from pushcut.envs.maniskill.env import ManiSkillConfig
from pushcut.envs.metaworld.env import MetaWorldConfig
from pushcut.envs.mixed.config import Member, MixedConfig
from pushcut.errors import UserError
from pushcut.runs import wandb_check
from pushcut.runs.trackers import TRACKERS, RunInfo, TrackerBackend, check_openable
from pushcut.system import video

COMMANDS = {
    "train": "train smoke --policy.path policy --out new",
    "sft": "sft smoke --dataset data --out new",
}
EVAL = "eval smoke --policy.path policy --out new.json"


@pytest.fixture
def told(tmp_path, monkeypatch, capsys):
    """Runs a command in an empty folder in which nothing can be loaded; what it says."""
    monkeypatch.chdir(tmp_path)

    def loads(*arguments: Any, **named: Any) -> Any:
        raise AssertionError("something was loaded")

    monkeypatch.setattr("pushcut.assembly.load_policy", loads)
    monkeypatch.setattr("pushcut.commands.sft.parts_of", loads)
    monkeypatch.setattr("pushcut.commands.evaluate.play_sources", loads)

    def run(command: str) -> str:
        before = sorted(Path().rglob("[!.]*"))
        assert main(shlex.split(command)) == 1
        assert sorted(Path().rglob("[!.]*")) == before
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        return lines[0]

    return run


class Package(ModuleType):
    """A W&B with a key that its server may not know."""

    def __init__(self, *, login: bool | Exception | None, verified: Exception | None = None):
        super().__init__("wandb")
        self._login, self._verified = login, verified
        if login is not None:
            self.login = self._asked

    def _asked(self, *, verify: bool) -> bool:
        if isinstance(self._login, Exception):
            raise self._login
        if verify and self._verified:
            raise self._verified
        return bool(self._login)


@pytest.fixture
def wandb(monkeypatch, tmp_path):
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setattr(wandb_check, "connect", lambda: None)

    def use(package: Package) -> None:
        monkeypatch.setitem(sys.modules, "wandb", package)

    return use


NO_KEY = RuntimeError("No API key\nconfigured.")
WITHOUT = {
    "no key": (Package(login=NO_KEY), "No API key configured."),
    "an old package without a key": (Package(login=None), "no API key is configured"),
    "a wrong key": (Package(login=True, verified=ValueError("401")), "401"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("case", WITHOUT)
def test_wandb_that_cannot_be_reached_is_told(told, wandb, command, case):
    package, reason = WITHOUT[case]
    wandb(package)
    assert told(f"{COMMANDS[command]} --trackers wandb") == (
        f"error: W&B cannot be reached ({reason}): type `wandb login`, or set WANDB_MODE=offline "
        "and upload later with `wandb sync RUN/wandb/offline-run-*`"
    )


@pytest.mark.parametrize("mode", ["offline", "disabled", "dryrun"])
def test_wandb_offline_needs_no_key(wandb, monkeypatch, mode):
    wandb(WITHOUT["no key"][0])
    monkeypatch.setenv("WANDB_MODE", mode)
    check_openable(["wandb"], 0)


def test_wandb_is_ready_with_a_key(wandb, monkeypatch, tmp_path):
    wandb(Package(login=True))
    check_openable(["wandb"], 0)
    wandb(Package(login=False))  # it was set to offline by `wandb offline`
    check_openable(["wandb"], 0)
    busy = RuntimeError("the service process is busy and did not respond in time.")
    wandb(Package(login=True, verified=busy))
    check_openable(["wandb"], 0)
    wandb(Package(login=None))
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    check_openable(["wandb"], 0)
    monkeypatch.delenv("WANDB_API_KEY")
    (tmp_path / "no-netrc").write_text("machine api.wandb.ai\n  login user\n  password key\n")
    check_openable(["wandb"], 0)


def test_a_server_of_wandb_that_takes_no_connection_is_named(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(wandb_check, "getproxies", dict)
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
    with pytest.raises(OSError, match=f"127.0.0.1:{port}: Connection refused"):
        wandb_check.connect()
    monkeypatch.setattr(wandb_check, "getproxies", lambda: {"https": "proxy"})
    wandb_check.connect()


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("tracker", "package", "todo"),
    [
        ("wandb", "wandb", 'pip install "pushcut[wandb]"'),
        ("tensorboard", "tensorboard", "pip install tensorboard"),
        ("prometheus", "prometheus_client", 'pip install "pushcut[prometheus]"'),
    ],
)
def test_a_tracker_that_is_not_installed_is_told(
    told, monkeypatch, command, tracker, package, todo
):
    monkeypatch.delitem(sys.modules, package, raising=False)
    monkeypatch.setattr("pushcut.runs.trackers.find_spec", lambda module: None)
    said = told(f"{COMMANDS[command]} --trackers {tracker}")
    assert said == f"error: the {tracker} tracker needs `{todo}`"


class OwnTracker(TrackerBackend):
    def __init__(self, where: RunInfo) -> None:
        raise AssertionError("it was opened")

    @staticmethod
    def check() -> None:
        raise ConnectionError("http://mlflow:5000\ndoes not answer")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_tracker_of_others_may_look_for_its_server_first(told, monkeypatch, command):
    monkeypatch.setitem(TRACKERS, "mlflow", OwnTracker)
    assert told(f"{COMMANDS[command]} --trackers mlflow") == (
        "error: the tracker mlflow cannot be opened (http://mlflow:5000 does not answer); "
        "--trackers names those that are wanted, none where nothing follows it"
    )


def test_an_unknown_tracker_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for command in COMMANDS.values():
        with pytest.raises(SystemExit):
            main(shlex.split(f"{command} --trackers wnadb"))
    capsys.readouterr()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", [*COMMANDS.values(), EVAL])
def test_a_full_disk_is_told(told, monkeypatch, command, tmp_path):
    monkeypatch.setattr(before_loading, "free_bytes", lambda path: 0)
    said = told(f"{command}")
    assert said.startswith("error: the disk of ")
    assert said.endswith(
        "is full (0 kB are free): free some space or choose another place with --out"
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_missing_adapters_are_told(told, monkeypatch, command):
    monkeypatch.setitem(sys.modules, "peft", None)
    path = "" if command == "train" else "--policy.path policy"
    said = told(f"{COMMANDS[command]} {path} --policy.trained lora")
    assert said == "error: LoRA needs the library peft: pip install 'pushcut[lora]'"


FILMS = {
    "train": f"{COMMANDS['train']} --evaluation.videos 1",
    "eval": f"{EVAL} --videos 1",
}


@pytest.mark.parametrize("command", FILMS)
def test_videos_without_an_encoder_are_told(told, monkeypatch, command):
    def no_codec(name: str, mode: str) -> None:
        raise video.UnknownCodecError(name)

    monkeypatch.setattr(video, "Codec", no_codec)
    assert told(FILMS[command]).startswith("error: no H.264 encoder: this build of PyAV lacks")


def test_a_run_that_is_there_already_is_told(told):
    Path("new").mkdir()
    Path("new/notes.txt").write_text("mine")
    said = told(COMMANDS["train"])
    assert said.startswith("error: new exists; continue it with --resume")
    assert told("train smoke --policy.path policy").startswith("error: where should the run go?")


def test_another_config_is_told_before_a_run_goes_on(told):
    Path("new").mkdir()
    Path("new/config.json").write_text(json.dumps({"config": {"seed": 7}, "command": []}))
    said = told(f"{COMMANDS['train']} --resume")
    assert "--resume: the run was started with --algorithm.groups 8, the command says" in said


def test_a_folder_that_cannot_be_made_is_told(told):
    Path("file").write_text("")
    for command in ("train smoke --policy.path policy", "sft smoke --dataset data"):
        assert "cannot be written to" in told(f"{command} --out file/new")


def test_who_cannot_draw_says_so_before_films(monkeypatch):
    def broken() -> str:
        raise UserError("MUJOCO_GL=osmesa does not work here")

    monkeypatch.setattr("pushcut.envs.metaworld.env.choose_gl", broken)
    blind = MetaWorldConfig(cameras=())
    before_loading.check_pictures(blind, videos=0)
    mix = MixedConfig(members=(Member("a", blind), Member("b", blind)))
    for env, videos in ((MetaWorldConfig(), 0), (blind, 1), (mix, 1)):
        with pytest.raises(UserError, match="MUJOCO_GL=osmesa does not work here"):
            before_loading.check_pictures(env, videos=videos)
    for env in (ManiSkillConfig(), GymnasiumConfig(cameras=())):
        before_loading.check_pictures(env, videos=0)
        with pytest.raises(UserError, match="there are no images without cameras"):
            before_loading.check_pictures(env, videos=1)
