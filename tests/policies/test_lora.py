"""Low-rank adapters: nothing at first, merged when saved."""

import sys

import pytest
import torch

from pushcut.errors import UserError
from pushcut.policies import load
from pushcut.policies.lora import adapt, adapter_parameters
from pushcut.policies.small.flow_vla import FlowPolicy
from tests.policies.builders import flow, noise, observation


def adapted() -> FlowPolicy:
    policy = flow()
    policy.train_prefix(False)
    adapt(policy.adaptable, {"language": 2}, alpha=4)
    return policy


def test_adapters_change_nothing_before_they_are_trained():
    obs = observation(4)
    policy = flow()
    plain = policy.sample(obs, noise(4), "greedy").actions
    policy.train_prefix(False)
    adapt(policy.adaptable, {"language": 2}, alpha=4)
    assert torch.equal(policy.sample(obs, noise(4), "greedy").actions, plain)


def test_of_an_adapted_prefix_only_the_adapters_are_trained():
    policy = adapted()
    trained = {name for name, p in policy.named_parameters() if p.requires_grad}
    assert all("lora_" in name or name.startswith("expert.") for name in trained)
    # Two blocks with five linear layers each, two matrices for each layer.
    assert sum("lora_" in name for name in trained) == 20


def test_a_saved_policy_has_its_adapters_merged(tmp_path):
    policy, obs = flow(), observation(4)
    plain = policy.sample(obs, noise(4), "greedy").actions
    policy.train_prefix(False)
    adapt(policy.adaptable, {"language": 2}, alpha=4)
    for parameter in adapter_parameters(policy):
        torch.nn.init.normal_(parameter, std=0.1)
    want = policy.sample(obs, noise(4), "greedy").actions
    policy.save_pretrained(tmp_path)
    merged = load(tmp_path)
    assert not list(adapter_parameters(merged))
    got = merged.sample(obs, noise(4), "greedy").actions
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-4)
    assert (plain - want).abs().max() > 1e-3


def test_without_peft_a_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match=r"pip install 'pushcut\[lora\]'"):
        adapted()


def test_adapters_can_start_as_those_of_pi_rls_program():
    policy = flow()
    adapt(policy.adaptable, {"language": 16}, alpha=16, init="gaussian")
    inner = torch.cat(
        [p.flatten() for name, p in policy.named_parameters() if "lora_A" in name]
    ).detach()
    outer = [p for name, p in policy.named_parameters() if "lora_B" in name]
    # Normal with standard deviation 1 / 16, where Kaiming's is uniform.
    assert float(inner.std()) == pytest.approx(1 / 16, rel=0.05)
    assert float(inner.abs().max()) > 3 / 16
    assert not any(bool(p.any()) for p in outer)
