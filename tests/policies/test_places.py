"""Paths that hold no policy say what they hold."""

import json
import shlex
from pathlib import Path

import pytest

from pushcut.cli import main
from pushcut.errors import UserError
from pushcut.policies.places import policy_folder


def run(folder: Path, kind: str, **config) -> Path:
    """A run's folder that has no checkpoint yet."""
    folder.mkdir(parents=True)
    content = {"config": {"type": kind, **config}, "command": []}
    (folder / "config.json").write_text(json.dumps(content))
    return folder


def policy(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"type": "tiny", "config": {}}')
    (folder / "model.safetensors").write_text("")
    return folder


def trained(path: Path) -> str:
    run(path, "TrainConfig", policy={"path": "/runs/sft/policy"})
    return "this is a run that has no checkpoint yet; it began with /runs/sft/policy"


def fine_tuned(path: Path) -> str:
    run(path, "SFTConfig", policy={"path": None})
    return "this run of `pushcut sft` has not written its policy yet"


def recipe(path: Path) -> str:
    run(path, "QuickstartConfig")
    policy(path / "sft" / "policy")
    return f"did you mean {path / 'sft'}?"


def policies(path: Path) -> str:
    policy(path / "mine")
    return f"did you mean {path / 'mine'}?"


def lerobot(path: Path) -> str:
    (path / "meta").mkdir(parents=True)
    (path / "meta" / "info.json").write_text("{}")
    return f"these are demonstrations; `pushcut sft PRESET --dataset {path}` makes one"


def hdf5(path: Path) -> str:
    path.mkdir()
    (path / "task_demo.hdf5").write_text("")
    return "these are demonstrations"


def file(path: Path) -> str:
    path.write_text("")
    return f"it is a file; give a folder, such as {path.parent}"


def empty(path: Path) -> str:
    path.mkdir()
    (path / ".lock").write_text("")
    return "the folder is empty"


def other(path: Path) -> str:
    path.mkdir()
    (path / "notes.txt").write_text("")
    return "the folder has no config.json of a policy"


def nothing(path: Path) -> str:
    return "there is no such folder; expected is one with config.json, model.safetensors"


def rlinf(path: Path) -> str:
    for number in (9, 10):
        weights = path / "checkpoints" / f"global_step_{number}" / "actor" / "model_state_dict"
        weights.mkdir(parents=True)
        (weights / "full_weights.pt").write_text("never read")
    return f"{weights / 'full_weights.pt'} are weights alone, as RLinf saves them: copy config"


def jax(path: Path) -> str:
    (path / "5000" / "params").mkdir(parents=True)
    return "this is a JAX checkpoint of openpi: convert it"


def adapters(path: Path) -> str:
    (path / "lora_adapter").mkdir(parents=True)
    (path / "lora_adapter" / "adapter_config.json").write_text("{}")
    return f"{path / 'lora_adapter'} holds adapters alone: put the config.json of their base"


PLACES = [trained, fine_tuned, recipe, policies, lerobot, hdf5, file, empty, other, nothing]
PLACES += [rlinf, jax, adapters]


@pytest.mark.parametrize("make", PLACES)
def test_what_is_there_instead_of_a_policy_is_told(tmp_path, make):
    path = tmp_path / "it"
    said = make(path)
    with pytest.raises(UserError) as caught:
        policy_folder(path)
    assert str(caught.value).startswith(f"no policy at {path}: {said}")


@pytest.mark.parametrize(
    "command",
    ["eval smoke --policy.path", "train smoke --out NEW --policy.path", "export --out NEW"],
)
def test_every_command_tells_it(tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    said = trained(Path("it"))
    assert main([*shlex.split(command), "it"]) == 1
    assert capsys.readouterr().err.startswith(f"error: no policy at it: {said}")
    assert [path.name for path in tmp_path.iterdir()] == ["it"]


def test_a_policy_is_found_in_its_run_and_in_the_newest_checkpoint(tmp_path):
    folder = run(tmp_path / "rl", "TrainConfig")
    policy(folder / "checkpoints" / "000001" / "policy")
    newest = policy(folder / "checkpoints" / "000002" / "policy")
    assert policy_folder(folder) == newest
    assert policy_folder(newest.parent) == policy_folder(newest) == newest


def lerobot_run(folder: Path, *steps: str) -> Path:
    for number in steps:
        policy(folder / "checkpoints" / number / "pretrained_model")
        (folder / "checkpoints" / number / "training_state").mkdir()
    return folder


def test_a_run_of_lerobot_is_read_at_its_newest_checkpoint(tmp_path, capsys):
    folder = lerobot_run(tmp_path / "run", "095000", "100000", "1000000")
    newest = folder / "checkpoints" / "1000000" / "pretrained_model"
    assert policy_folder(folder) == newest
    assert capsys.readouterr().out == f"{folder}: the policy in {newest} is taken\n"
    assert policy_folder(folder) == newest
    assert capsys.readouterr().out == ""  # once is enough
    assert policy_folder(newest.parent) == newest
    assert policy_folder(newest) == newest


def test_the_last_of_lerobots_checkpoints_may_be_named_or_be_all_that_there_is(tmp_path):
    folder = lerobot_run(tmp_path / "run", "last")
    last = folder / "checkpoints" / "last"
    assert policy_folder(folder) == policy_folder(last) == last / "pretrained_model"
    last.rename(folder / "checkpoints" / "005000")
    last.symlink_to("005000")
    assert policy_folder(last) == last / "pretrained_model"
    # Given the folder of checkpoints itself.
    assert policy_folder(folder / "checkpoints").parent.name in ("last", "005000")


def test_a_policy_with_checkpoints_inside_is_itself(tmp_path):
    folder = lerobot_run(policy(tmp_path / "repository"), "005000")
    assert policy_folder(folder) == folder


def test_a_model_in_the_cache_of_the_hub_is_read_at_its_main_branch(tmp_path):
    repository = tmp_path / "models--someone--pi0"
    for revision in ("aaa", "bbb"):
        policy(repository / "snapshots" / revision)
    main = repository / "snapshots" / "aaa"
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("aaa\n")
    assert policy_folder(repository) == policy_folder(repository / "snapshots") == main
    assert policy_folder(main) == main


def test_files_that_are_links_are_followed(tmp_path):
    blobs, snapshot = policy(tmp_path / "blobs"), tmp_path / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    for file in blobs.iterdir():
        (snapshot / file.name).symlink_to(file)
    assert policy_folder(snapshot) == snapshot
