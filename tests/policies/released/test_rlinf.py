"""full_weights.pt: the model as a whole, as RLinf's FSDP trainer saves it."""

import json
import pickle
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pushcut.errors import UserError
from pushcut.policies import load
from pushcut.policies.places import policy_folder
from pushcut.policies.released import tensors
from pushcut.policies.released.tensors import TensorFolder
from tests.policies.released.builders import READING
from tests.policies.released.folders import write_openpi, write_openvla


@pytest.fixture(autouse=True)
def _nothing_told(monkeypatch):
    monkeypatch.setattr(tensors, "_told", set())


def as_rlinf(
    folder: Path, *, at: str = "full_weights.pt", prefix: str = "", more: str = ""
) -> Path:
    """Puts a folder's safetensors into one file of torch.save, with a critic."""
    state = {}
    for file in sorted(folder.glob("*.safetensors")):
        state |= {f"{prefix}{name}": x for name, x in load_file(file).items()}
        file.unlink()
    for file in folder.glob("*.index.json"):
        file.unlink()
    state["value_head.mlp.0.weight"] = torch.zeros(2, 2)
    (folder / at).parent.mkdir(exist_ok=True)
    torch.save(state | ({more: torch.ones(1)} if more else {}), folder / at)
    return folder


@dataclass
class Hostile:
    """Its pickle makes a file where it is loaded carelessly."""

    mark: Path

    def __reduce__(self):
        return Path.touch, (self.mark,)


WRITERS = {"pi0": write_openpi, "openvla": write_openvla}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("at", ["full_weights.pt", "model_state_dict/full_weights.pt"])
@pytest.mark.parametrize("prefix", ["", "module.", "_fsdp_wrapped_module."])
def test_the_weights_are_those_of_the_safetensors(tmp_path, capsys, kind, at, prefix):
    whole = load(WRITERS[kind](tmp_path / "a"), READING)
    path = as_rlinf(WRITERS[kind](tmp_path / "b"), at=at, prefix=prefix)
    capsys.readouterr()
    policy = load(path, READING)
    assert (
        f"{path}: the weights are those of RLinf's full_weights.pt, value_head left out: only "
        "training needs them\n"
    ) in capsys.readouterr().out
    ours = policy.state_dict()
    assert all(torch.equal(ours[name], x) for name, x in whole.state_dict().items())
    policy.save_pretrained(tmp_path / "c")
    again = load(tmp_path / "c").state_dict()
    assert all(torch.equal(again[name], x) for name, x in ours.items())


def test_pi0_of_a_run_needs_its_statistics_and_its_horizon_alone(tmp_path, capsys):
    """openpi's trainer, and so RLinf, writes no config.json."""
    write_openpi(tmp_path / "a")
    actor = tmp_path / "run" / "checkpoints" / "global_step_10" / "actor"
    file = actor / "model_state_dict" / "full_weights.pt"
    file.parent.mkdir(parents=True)
    torch.save(load_file(tmp_path / "a" / "model.safetensors"), file)
    (actor / "dcp_checkpoint").mkdir()
    (actor / "dcp_checkpoint" / "__0_0.distcp").write_bytes(b"part of a rank")
    statistics = next((tmp_path / "a").rglob("norm_stats.json"))
    options = replace(
        READING, statistics=str(statistics), horizon=6, tokenizer=tmp_path / "a" / "tokenizer.json"
    )
    for path in (tmp_path / "run", actor.parent, actor, file.parent, file):
        assert policy_folder(path) in (actor, file.parent)
    policy = load(policy_folder(tmp_path / "run"), options)
    said = capsys.readouterr().out
    assert "the weights are those of RLinf's full_weights.pt" in said
    assert "not read" not in said
    policy.save_pretrained(tmp_path / "b")
    assert not list((tmp_path / "b").rglob("*.distcp"))
    assert load(tmp_path / "b").chunk == 4


def test_openvla_says_what_to_copy_and_then_loads(tmp_path):
    whole = write_openvla(tmp_path / "base")
    actor = tmp_path / "run" / "checkpoints" / "global_step_3" / "actor"
    actor.mkdir(parents=True)
    for file in whole.glob("*.safetensors"):
        (actor / file.name).write_bytes(file.read_bytes())
    as_rlinf(actor, at="model_state_dict/full_weights.pt")
    with pytest.raises(UserError) as told:
        policy_folder(tmp_path / "run")
    assert str(told.value) == (
        f"no policy at {tmp_path / 'run'}: {actor / 'model_state_dict' / 'full_weights.pt'} are "
        "weights alone, as RLinf saves them: copy config.json, dataset_statistics.json and the "
        "tokenizer's files of the checkpoint that the training began with (its "
        f"actor.model.model_path) into {actor}, and give that"
    )
    for name in ("config.json", "tokenizer.json"):
        (actor / name).write_bytes((whole / name).read_bytes())
    assert policy_folder(tmp_path / "run") == policy_folder(actor) == actor
    ours, theirs = load(actor, READING).state_dict(), load(whole, READING).state_dict()
    assert all(torch.equal(ours[name], x) for name, x in theirs.items())


def test_weights_beside_those_that_training_began_with_are_taken(tmp_path, capsys):
    path = write_openpi(tmp_path / "a")
    before = load_file(path / "model.safetensors")
    state = {name: torch.full_like(x, 2.0) for name, x in before.items()}
    torch.save(state, path / "full_weights.pt")
    network = load(path, READING).state_dict()
    assert float(network["network.action_in_proj.bias"].mean()) == 2.0
    assert "full_weights.pt and not the safetensors beside it\n" in capsys.readouterr().out


def test_other_forms_of_a_file_of_torch(tmp_path):
    """Nested under a key, as older programs do, or in the format before zip."""
    weights = {"a.weight": torch.ones(2)}
    for number, content in enumerate(({"model": weights}, {"state_dict": weights}, weights)):
        folder = tmp_path / str(number)
        folder.mkdir()
        new = number < 2
        torch.save(content, folder / "full_weights.pt", _use_new_zipfile_serialization=new)
        found = dict(TensorFolder.open(folder).tensors())
        assert list(found) == ["a.weight"] and found["a.weight"].tolist() == [1.0, 1.0]


def test_what_is_no_state_of_tensors_is_refused_and_never_executed(tmp_path):
    mark = tmp_path / "mark"
    (tmp_path / "full_weights.pt").write_bytes(pickle.dumps({"a": Hostile(mark)}))
    with pytest.raises(UserError, match="holds more than tensors or is damaged"):
        TensorFolder.open(tmp_path)
    assert not mark.exists()
    for content in ({"a": torch.ones(1), "step": 3}, [torch.ones(1)], {"model": {"step": 1}}):
        torch.save(content, tmp_path / "full_weights.pt")
        with pytest.raises(UserError, match="holds more than tensors or is damaged"):
            TensorFolder.open(tmp_path)
    whole = (tmp_path / "full_weights.pt").read_bytes()
    (tmp_path / "full_weights.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="is damaged"):
        TensorFolder.open(tmp_path)


def test_adapters_that_are_not_merged_are_refused(tmp_path):
    name = "language_model.base_model.model.q_proj.lora_A.default.weight"
    torch.save({name: torch.ones(1)}, tmp_path / "full_weights.pt")
    with pytest.raises(UserError, match=r"adapters that are not merged .*convert_pt_to_hf"):
        TensorFolder.open(tmp_path)


def test_parts_that_act_are_not_left_out(tmp_path):
    """DSRL's network chooses the noise: without it this would be another policy."""
    path = as_rlinf(write_openpi(tmp_path / "a"), more="dsrl_action_noise_net.w")
    with pytest.raises(UserError, match="surplus dsrl_action_noise_net.w"):
        load(path, READING)
    assert json.loads((path / "config.json").read_text())
