"""Adapters of released VLAs that are saved beside the weights they belong to."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pushcut.errors import UserError
from pushcut.policies import load
from pushcut.policies.base import Policy
from pushcut.policies.lora import LoRAConfig
from pushcut.policies.pretrained import (
    TRAINING_PARTS_FILE,
    load_training_parts,
    save_training_parts,
)
from pushcut.policies.source import FlowPolicySource, PolicySource, TokenPolicySource
from tests.policies.builders import noise, observation
from tests.policies.released.builders import READING
from tests.policies.released.folders import write_lerobot, write_openpi, write_openvla

APART = LoRAConfig(rank=2, alpha=4, saved="separate")

CASES: dict[str, tuple[Callable[[Path], Path], PolicySource]] = {
    "openvla-oft": (
        write_openvla,
        TokenPolicySource(released=READING, trained="lora", lora=APART),
    ),
    "pi0-openpi": (write_openpi, FlowPolicySource(released=READING, trained="lora", lora=APART)),
    "pi0-lerobot": (write_lerobot, FlowPolicySource(released=READING, trained="lora", lora=APART)),
}


def adapted(name: str, folder: Path) -> Policy:
    """A policy that has learnt something in all that is trained."""
    write, source = CASES[name]
    policy = type(source)(**{**vars(source), "path": write(folder)}).load()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.requires_grad:
                parameter += torch.randn(parameter.shape, generator=generator) * 0.1
    return policy


def act(policy: Policy) -> torch.Tensor:
    return policy.sample(observation(8), noise(8), "greedy").actions


@pytest.mark.parametrize("name", CASES)
def test_adapters_beside_the_weights_act_as_they_did_when_they_were_trained(name, tmp_path):
    policy = adapted(name, tmp_path / "base")
    assert not torch.equal(act(policy), act(load(tmp_path / "base", READING)))
    policy.save_pretrained(tmp_path / "run")
    assert (tmp_path / "run" / "adapter_model.safetensors").exists()
    assert not list((tmp_path / "run").glob("model*"))
    torch.testing.assert_close(act(load(tmp_path / "run")), act(policy), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_a_run_with_adapters_apart_resumes_as_it_was(name, tmp_path):
    policy = adapted(name, tmp_path / "base")
    policy.save_pretrained(tmp_path / "run" / "policy")
    parts = tmp_path / "run" / TRAINING_PARTS_FILE
    save_training_parts(policy, parts)
    assert not parts.exists()  # the adapters lie in the policy's folder
    source = CASES[name][1]
    again = type(source)(**{**vars(source), "path": tmp_path / "base"}).load()
    again.load_weights(tmp_path / "run" / "policy")
    load_training_parts(again, parts)
    assert torch.equal(act(again), act(policy))


def test_adapters_of_pefts_own_making_are_read(tmp_path):
    """Without patterns: one rank and scale for all layers."""
    adapted("pi0-openpi", tmp_path / "base").save_pretrained(tmp_path / "run")
    want = act(load(tmp_path / "run"))
    file = tmp_path / "run" / "adapter_config.json"
    file.write_text(
        json.dumps(json.loads(file.read_text()) | {"rank_pattern": {}, "alpha_pattern": {}})
    )
    assert torch.equal(act(load(tmp_path / "run")), want)


def test_a_merged_policy_that_began_as_adapters_is_read_as_merged(tmp_path):
    adapted("openvla-oft", tmp_path / "base").save_pretrained(tmp_path / "run")
    policy = load(tmp_path / "run")
    policy.save_pretrained(tmp_path / "merged")
    assert torch.equal(act(load(tmp_path / "merged")), act(policy))


def test_adapters_whose_checkpoint_is_gone_say_which(tmp_path):
    adapted("pi0-openpi", tmp_path / "base").save_pretrained(tmp_path / "run")
    shutil.rmtree(tmp_path / "base")
    with pytest.raises(UserError, match=r"adapters of .*base, which is not there"):
        load(tmp_path / "run")


def test_adapters_on_top_of_adapters_have_to_be_merged(tmp_path):
    adapted("openvla-oft", tmp_path / "base").save_pretrained(tmp_path / "run")
    again = TokenPolicySource(path=tmp_path / "run", trained="lora", lora=APART)
    with pytest.raises(UserError, match=r"--policy.lora.saved merged"):
        again.load()
