"""Released VLAs in training: what gets gradients, in which precision, and what is saved."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pushcut.batch import PolicySample
from pushcut.memory.live_bytes import LiveBytes
from pushcut.policies import load
from pushcut.policies.base import Policy
from pushcut.policies.lora import LoRAConfig, adapter_parameters
from pushcut.policies.networks.paligemma import stays_float32
from pushcut.policies.networks.smolvla import is_inside
from pushcut.policies.pretrained import (
    TRAINING_PARTS_FILE,
    load_training_parts,
    save_training_parts,
)
from pushcut.policies.released.options import ReleasedConfig
from pushcut.policies.source import PolicySource
from pushcut.policies.tensor_files import SharedFiles
from pushcut.policies.value_head import CriticConfig
from tests.policies.builders import noise, observation
from tests.policies.released.builders import (
    LORA,
    PI05,
    READING,
    READINGS,
    SOURCES,
    bfloat16,
    disturb,
    flow,
    tokens,
)
from tests.policies.released.folders import OPENVLA, write_lerobot, write_openpi, write_openvla

pytestmark = pytest.mark.heavy

VLM = "network.paligemma_with_expert.paligemma."
EXPERT = "network.paligemma_with_expert.gemma_expert."

FLOAT32: dict[str, Callable[[str], bool]] = {
    "pi0": stays_float32,
    "pi05": stays_float32,
    "smolvla": lambda name: not is_inside(name),
    "groot": lambda name: False,
    "openvla": lambda name: False,
}
"""Whether a parameter is float32 in any precision."""

FLOWS: dict[str, Callable[[Path], Path]] = {
    "pi0": write_openpi,
    "pi0-lerobot": write_lerobot,
    "pi05": lambda path: write_openpi(path, PI05),
}


def without_adapters(path: Path, name: str, reading: ReleasedConfig = READING) -> PolicySource:
    """The policy in a folder, of the kind that ``name`` says, as it is."""
    return tokens(path, reading) if name.startswith("openvla") else flow(path, reading)


def act(policy: Policy, n: int = 4) -> PolicySample:
    return policy.sample(observation(n), noise(n), "sampled")


def gradients(policy: Policy, trace: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of the log-probability, by parameter; without those that it does not depend on."""
    policy.zero_grad()
    policy.evaluate(observation(4), trace).logprob.sum().backward()
    grads = {name: p.grad for name, p in policy.named_parameters() if p.grad is not None}
    return {name: grad for name, grad in grads.items() if bool(grad.any())}


def trained(policy: Policy) -> set[str]:
    return {name for name, p in policy.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("keep_prefix", [False, True])
def test_with_a_frozen_prefix_the_expert_alone_is_trained(name, keep_prefix, tmp_path):
    policy = flow(FLOWS[name](tmp_path / "a"), keep_prefix=keep_prefix).load()
    grads = gradients(policy, act(policy).trace)
    assert not any(parameter.startswith(VLM) for parameter in trained(policy))
    assert f"{EXPERT}lm_head.weight" not in trained(policy)
    assert grads.keys() == trained(policy)
    assert {"network.action_in_proj.weight", "network.action_out_proj.weight"} <= grads.keys()


@pytest.mark.parametrize("name", FLOWS)
def test_trained_as_a_whole_no_unused_head_is_trained(name, tmp_path):
    policy = flow(FLOWS[name](tmp_path / "a"), trained="all").load()
    grads = gradients(policy, act(policy).trace)
    # Output words are tied to the input's, and counted once, under their name as input.
    assert not any("lm_head" in parameter for parameter in trained(policy))
    assert f"{VLM}model.language_model.embed_tokens.weight" in grads
    # The expert looks at the last block's keys and values only: its queries and output, its MLP's
    # three layers and what comes after have no say.
    last = f"{VLM}model.language_model.layers.1."
    unused = {f"{last}self_attn.{part}_proj.weight" for part in "qo"}
    unused |= {f"{last}mlp.{part}_proj.weight" for part in ("gate", "up", "down")}
    unused |= {f"{last}post_attention_layernorm.weight", f"{VLM}model.language_model.norm.weight"}
    assert trained(policy) - grads.keys() == unused


def test_a_critic_that_looks_at_the_prefix_gives_those_gradients_too(tmp_path):
    policy = flow(write_openpi(tmp_path / "a"), trained="all").load()
    policy.add_critic(CriticConfig(placement="vlm", detach=False), seed=0)
    value = policy.evaluate(observation(4), act(policy).trace).value
    assert value is not None
    value.sum().backward()
    grad = dict(policy.named_parameters())[f"{VLM}model.language_model.norm.weight"].grad
    assert grad is not None and bool(grad.any())


def test_a_critic_of_openvla_can_look_at_the_last_token_behind_the_norm(tmp_path):
    policy = tokens(write_openvla(tmp_path / "a"), trained="all").load()
    sample = act(policy)
    heads = {}
    for placement in ("vlm", "last-token"):
        policy.add_critic(CriticConfig(placement=placement, layers=1, detach=False), seed=0)
        heads[placement] = policy.evaluate(observation(4), sample.trace).value
    assert heads["vlm"] is not None and heads["last-token"] is not None
    assert not torch.allclose(heads["vlm"], heads["last-token"])
    # The norm's weight scales all that the critic sees: without it the value is the bias, 0.
    policy.zero_grad()
    heads["last-token"].sum().backward()
    norm = dict(policy.named_parameters())["network.language_model.model.norm.weight"]
    assert norm.grad is not None and bool(norm.grad.any())
    with torch.no_grad():
        norm.zero_()
    seen = policy.evaluate(observation(4), sample.trace).value
    assert seen is not None and not bool(seen.any())


def test_flow_policies_have_no_last_token(tmp_path):
    policy = flow(write_openpi(tmp_path / "a"), trained="all").load()
    with pytest.raises(ValueError, match=r"--critic.placement vlm or expert"):
        policy.add_critic(CriticConfig(placement="last-token"), seed=0)


def test_adapters_can_be_put_on_language_and_vision(tmp_path):
    lora = LoRAConfig(rank_of=(("language", 2), ("vision", 2)), init="gaussian")
    policy = flow(write_openpi(tmp_path / "a"), trained="lora", lora=lora).load()
    disturb(policy)
    grads = gradients(policy, act(policy).trace)
    assert any("vision_tower" in name and "lora_A" in name for name in grads)
    assert any("language_model" in name and "lora_A" in name for name in grads)


@pytest.mark.parametrize("name", FLOWS)
def test_adapters_of_language_and_expert_are_trained_and_the_projections_of_actions(name, tmp_path):
    policy = flow(FLOWS[name](tmp_path / "a"), trained="lora", lora=LORA).load()
    disturb(policy)  # fresh ones are zero on one side, and hide the other side's gradient
    names = trained(policy)
    ranks = {name: min(p.shape) for name, p in policy.named_parameters() if "lora_" in name}
    assert {rank for name, rank in ranks.items() if name.startswith(VLM)} == {2}
    assert {rank for name, rank in ranks.items() if name.startswith(EXPERT)} == {3}
    # Two blocks with seven linear layers, two matrices each; pi0.5's norms are two layers more.
    assert sum(name.startswith(VLM) for name in ranks) == 2 * 7 * 2
    assert sum(name.startswith(EXPERT) for name in ranks) == 2 * (9 if name == "pi05" else 7) * 2
    # What is no block of either is as without adapters: the expert's is trained.
    others = names - ranks.keys()
    assert not any(".layers." in name or name.startswith(VLM) for name in others)
    assert all(
        "_proj." in name or "mlp_" in name or f"{EXPERT}model.norm" in name for name in others
    )
    grads = gradients(policy, act(policy).trace)
    assert not any(name.startswith(f"{EXPERT}lm_head") for name in grads)
    assert grads.keys() <= names and any("language_model.layers.0" in name for name in grads)


def test_openvlas_adapters_are_trained_and_nothing_else(tmp_path):
    policy = tokens(write_openvla(tmp_path / "a"), trained="lora", lora=LoRAConfig(rank=2)).load()
    disturb(policy)
    names = trained(policy)
    assert all("lora_" in name for name in names)
    assert gradients(policy, act(policy).trace).keys() == names
    # Two Llama blocks with 7 linear layers, two used blocks of either tower with 4, and 3.
    assert len(names) == 2 * (2 * 7 + 2 * 2 * 4 + 3)


def test_openvlas_unused_parts_are_never_trained(tmp_path):
    policy = tokens(write_openvla(tmp_path / "a", replace(OPENVLA, proprio_dim=2))).load()
    names, grads = trained(policy), gradients(policy, act(policy).trace)
    assert names == grads.keys()
    # The last block, the last norm of either tower and SigLIP's pooling.
    frozen = {name for name, p in policy.named_parameters() if not p.requires_grad}
    unused = (".blocks.2.", "featurizer.norm.", ".attn_pool.")
    assert frozen and all(any(part in name for part in unused) for name in frozen)
    assert {f"network.proprio_projector.fc{i}.weight" for i in (1, 2)} <= names


@pytest.mark.parametrize("name", ["pi0-lora", "openvla-lora"])
def test_a_saved_policy_has_its_adapters_merged_and_acts_the_same(name, tmp_path):
    policy = SOURCES[name](tmp_path / "a", READING).load()
    plain = act(policy)
    disturb(policy)
    want = policy.evaluate(observation(4), plain.trace).logprob
    assert (plain.logprob - want).abs().max() > 1e-2
    policy.save_pretrained(tmp_path / "b")
    merged = without_adapters(tmp_path / "b", name).load()
    assert not list(adapter_parameters(merged))
    got = merged.evaluate(observation(4), plain.trace).logprob
    # The same sums in another order.
    torch.testing.assert_close(got, want, rtol=0, atol=2e-5)


@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)
@pytest.mark.parametrize("name", SOURCES)
def test_a_resumed_policy_is_the_one_that_was_saved_in_the_same_parameters(name, reading, tmp_path):
    source = SOURCES[name](tmp_path / "a", reading)
    first = source.load()
    disturb(first)
    first.save_shared(tmp_path / "run" / "1" / "policy", SharedFiles(tmp_path / "run"))
    save_training_parts(first, tmp_path / "run" / "1" / TRAINING_PARTS_FILE)
    second = source.load(seed=1)
    # What an optimiser holds must stay what is trained.
    before = {n: (p, p.requires_grad) for n, p in second.named_parameters()}
    second.load_weights(tmp_path / "run" / "1" / "policy")
    load_training_parts(second, tmp_path / "run" / "1" / TRAINING_PARTS_FILE)
    for parameter, tensor in second.named_parameters():
        old, was_trained = before[parameter]
        assert tensor is old and tensor.requires_grad == was_trained, parameter
    assert torch.equal(act(second).actions, act(first).actions)
    assert torch.equal(act(second).logprob, act(first).logprob)


@pytest.mark.parametrize("master", [True, False])
@pytest.mark.parametrize("name", SOURCES)
def test_in_bfloat16_sampling_and_evaluating_agree_and_log_probabilities_are_float32(
    name, master, tmp_path
):
    policy = SOURCES[name](tmp_path / "a", bfloat16(master)).load()
    disturb(policy)
    obs, sample = observation(8), act(policy, 8)
    evaluation = policy.evaluate(obs, sample.trace)
    assert sample.logprob.dtype == evaluation.logprob.dtype == torch.float32
    assert evaluation.entropy.dtype == sample.actions.dtype == torch.float32
    # The same kernels on the same numbers: not even rounding differs.
    assert torch.equal(evaluation.logprob, sample.logprob)
    rows = np.array([1, 6, 3])
    trace = {key: x[rows] for key, x in sample.trace.items()}
    part = policy.evaluate(obs.select(rows), trace).logprob
    # bfloat16 has 8 bits: a sum of another order may differ by 2**-8 of a logit of 5.
    assert (part - sample.logprob[rows]).abs().max() < 0.02


@pytest.mark.parametrize("name", SOURCES)
def test_master_weights_are_float32_and_what_is_frozen_is_not(name, tmp_path):
    policy = SOURCES[name](tmp_path / "a", bfloat16(True)).load()
    for parameter, tensor in policy.named_parameters():
        kept = FLOAT32[name.partition("-")[0]](parameter.removeprefix("network."))
        float32 = tensor.requires_grad or kept
        assert tensor.dtype == (torch.float32 if float32 else torch.bfloat16), parameter
    some_frozen = name not in (
        "pi0-trained",
        "pi05-trained",
        "smolvla-trained",
        "groot-trained",
    )
    expected = {torch.float32, torch.bfloat16} if some_frozen else {torch.float32}
    assert {p.dtype for p in policy.parameters()} == expected
    grads = gradients(policy, act(policy).trace)
    assert grads and {grad.dtype for grad in grads.values()} == {torch.float32}


@pytest.mark.parametrize("name", SOURCES)
def test_without_master_weights_only_openpis_float32_parts_are_float32(name, tmp_path):
    policy = SOURCES[name](tmp_path / "a", bfloat16(False)).load()
    for parameter, tensor in policy.named_parameters():
        float32 = FLOAT32[name.partition("-")[0]](parameter.removeprefix("network."))
        assert tensor.dtype == (torch.float32 if float32 else torch.bfloat16), parameter
    assert gradients(policy, act(policy).trace)


@pytest.mark.parametrize("master", [True, False])
@pytest.mark.parametrize("name", ["pi0-frozen", "pi05-frozen", "openvla"])
def test_bfloat16_computes_nearly_what_float32_computes_and_is_saved_for_it(name, master, tmp_path):
    policy = SOURCES[name](tmp_path / "a", READING).load()
    half = SOURCES[name](tmp_path / "b", bfloat16(master)).load()
    sample = act(policy)
    trace = {key: x for key, x in sample.trace.items() if not key.startswith("prefix")}
    with torch.no_grad():
        got = half.evaluate(observation(4), trace).logprob
    assert 0 < (got - sample.logprob).abs().mean() < 0.1
    half.save_pretrained(tmp_path / "c")
    saved = without_adapters(tmp_path / "c", name, bfloat16(master)).load()
    with torch.no_grad():
        again = saved.evaluate(observation(4), trace).logprob
    assert torch.equal(got, again)


@pytest.mark.parametrize("name", SOURCES)
def test_recomputed_activations_give_the_same_gradients(name, tmp_path):
    reading = bfloat16(True)
    plain = SOURCES[name](tmp_path / "a", reading).load()
    again = SOURCES[name](tmp_path / "b", replace(reading, gradient_checkpointing=True)).load()
    for policy in (plain, again):
        disturb(policy)
    trace = act(plain).trace
    assert torch.equal(act(again).logprob, act(plain).logprob)
    want, got = gradients(plain, trace), gradients(again, trace)
    assert want.keys() == got.keys()
    for parameter, grad in want.items():
        assert torch.equal(got[parameter], grad), parameter


@pytest.mark.parametrize("name", ["pi0-trained", "openvla"])
def test_recomputing_keeps_fewer_activations(name, tmp_path):
    def kept(recompute: bool) -> int:
        source = SOURCES[name](
            tmp_path / str(recompute), replace(READING, gradient_checkpointing=recompute)
        )
        policy = source.load()
        trace = act(policy).trace
        with LiveBytes() as alive:
            _evaluation = policy.evaluate(observation(4), trace)
            return alive.now

    assert kept(True) < 0.7 * kept(False)


def test_a_policy_is_loaded_without_dropout_and_in_evaluation_mode(tmp_path):
    policy = load(write_openvla(tmp_path / "a"), READING)
    assert not policy.training
    assert not any(isinstance(module, nn.Dropout) for module in policy.modules())
