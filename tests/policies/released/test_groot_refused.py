"""GR00T folders that do not fit: one clear line each."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pushcut.errors import UserError
from pushcut.policies import load
from pushcut.policies.base import Policy
from pushcut.policies.source import StartPolicy
from tests.policies.builders import noise, observation
from tests.policies.released.builders import READING, bfloat16, edit_json, flow, refusal, step
from tests.policies.released.folders import write_openpi, write_openvla
from tests.policies.released.groot_folders import groot_metadata, write_groot, write_lerobot_groot

METADATA = "experiment_cfg/metadata.json"


@pytest.mark.parametrize(("model", "name"), [("Gr00tN1d6", "N1.6"), ("Gr00tN1d7", "N1.7")])
def test_later_models_of_nvidia_are_refused_by_name(model, name, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model}))
    message = refusal(tmp_path)
    assert f"is a GR00T {name}, whose network is another one" in message
    assert "pushcut knows GR00T N1.5" in message


def test_lerobots_groot_of_0_6_is_refused_by_name(tmp_path):
    folder = write_lerobot_groot(tmp_path / "a")
    edit_json(folder / "config.json", lambda c: c.update(action_decode_transform="auto"))
    assert "is a GR00T N1.7" in refusal(folder)


def test_an_embodiment_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    folder = write_groot(tmp_path / "a")
    message = refusal(folder, embodiment="gr1")
    assert "knows no embodiment 'gr1'; it has libero_franka" in message
    assert "weights are those of embodiment 'mine'? Known are new_embodiment" in refusal(
        folder, embodiment="mine"
    )
    assert "TAG or TAG=NUMBER" in refusal(folder, embodiment="mine=many")
    (folder / METADATA).write_text(json.dumps(groot_metadata(tag="mine")))
    assert "say --policy.released.embodiment mine=NUMBER" in refusal(folder)
    assert load(folder, replace(READING, embodiment="mine=7")).chunk == 4
    assert "weights for 32 embodiments" in refusal(folder, embodiment="mine=32")


def test_of_several_embodiments_one_must_be_named(tmp_path):
    folder = write_groot(tmp_path / "a")
    both = groot_metadata() | groot_metadata(tag="gr1")
    (folder / METADATA).write_text(json.dumps(both))
    assert "has 2 embodiments (libero_franka, gr1): name one with" in refusal(folder)


def test_missing_metadata_are_named_with_two_ways_out(tmp_path):
    folder = write_groot(tmp_path / "a")
    (folder / METADATA).unlink()
    message = refusal(folder)
    assert f"{METADATA} is missing" in message and "--statistics data" in message


DAMAGED: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no statistics": (lambda e: e.pop("statistics"), "damaged: KeyError('statistics')"),
    "text": (
        lambda e: e["statistics"]["action"]["arm"].update(min=["a", 1.0]),
        "min is no number",
    ),
    "crossed": (
        lambda e: e["statistics"]["state"]["x"].update(min=[3.0]),
        "min is above max",
    ),
    "a rotation": (
        lambda e: e["modalities"]["state"]["x"].update(rotation_type="quaternion"),
        "a rotation as quaternion",
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_metadata_are_named(name, tmp_path):
    change, said = DAMAGED[name]
    folder = write_groot(tmp_path / "a")
    edit_json(folder / METADATA, lambda content: change(content["libero_franka"]))
    message = refusal(folder)
    assert METADATA in message and said in message


def test_a_missing_tokenizer_is_said_before_weights_are_read(tmp_path):
    folder = write_groot(tmp_path / "a")
    (folder / "tokenizer.json").unlink()
    for file in folder.glob("*.safetensors"):
        file.unlink()
    message = refusal(folder)
    assert "hf download lerobot/eagle2hg-processor-groot-n1p5 vocab.json" in message
    assert "--policy.released.tokenizer" in message


def test_a_network_with_other_settings_is_refused(tmp_path):
    folder = write_groot(tmp_path / "a")
    edit_json(folder / "config.json", lambda c: c["action_head_cfg"].update(use_vlln=False))
    assert "states action_head_cfg.use_vlln False, pushcut knows True only" in refusal(folder)


def test_steps_of_lerobot_that_are_not_known_are_refused(tmp_path):
    folder = write_lerobot_groot(tmp_path / "a")
    edit_json(folder / "policy_preprocessor.json", lambda c: c["steps"].append(step("mine")))
    assert "has the processor step mine" in refusal(folder)


def test_options_without_effect_are_refused(tmp_path):
    for write, options in (
        (write_groot, {"delta": True}),
        (write_groot, {"statistics": "x"}),
        (write_lerobot_groot, {"embodiment": "gr1"}),
        (write_openpi, {"padded_length": 570}),
        (write_openvla, {"embodiment": "gr1"}),
    ):
        name = next(iter(options))
        folder = write(tmp_path / f"{write.__name__}-{name}")
        assert f"leave out --policy.released.{name.replace('_', '-')}" in refusal(folder, **options)


def test_a_prompt_longer_than_its_padding_is_said_with_its_length(tmp_path):
    policy = load(write_groot(tmp_path / "a"), replace(READING, padded_length=100))
    with pytest.raises(UserError, match=r"has 1\d\d rows, prompts are padded to 100"):
        policy.sample(observation(2), noise(2), "greedy")


def mixed(folder: Path) -> Path:
    """Eagle in bfloat16, the action head in float32."""
    for file in folder.glob("model*.safetensors"):
        weights = load_file(file)
        types = {
            name: torch.bfloat16 if "backbone" in name else x.dtype for name, x in weights.items()
        }
        save_file({n: x.to(types[n]) for n, x in weights.items()}, file, {"format": "pt"})
    return folder


def dtypes(folder: Path) -> dict[str, torch.dtype]:
    files = folder.glob("model*.safetensors")
    return {name: x.dtype for file in files for name, x in load_file(file).items()}


@pytest.mark.parametrize("write", [write_groot, write_lerobot_groot])
def test_mixed_dtypes_are_read_computed_and_saved_as_they_are(write, tmp_path):
    folder = mixed(write(tmp_path / "a"))
    policy: Policy = flow(folder, bfloat16(True)).load()
    sample = policy.sample(observation(2), noise(2), "sampled")
    assert torch.equal(policy.evaluate(observation(2), sample.trace).logprob, sample.logprob)
    policy.save_pretrained(tmp_path / "b")
    assert dtypes(tmp_path / "b") == dtypes(folder)


def test_fine_tuning_can_leave_eagle_as_it_is_where_there_is_an_expert(tmp_path):
    policy = StartPolicy(write_groot(tmp_path / "a"), READING, trained="expert").load(None, seed=0)
    trained = {name.split(".")[1] for name, p in policy.named_parameters() if p.requires_grad}
    assert trained == {"action_head"}
    with pytest.raises(UserError, match="has no action expert"):
        StartPolicy(write_openvla(tmp_path / "b"), READING, trained="expert").load(None, seed=0)
