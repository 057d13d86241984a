"""Checkpoints of runs with adapters: what is adapted is there once, adapters lie beside it."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pushcut.errors import UserError
from pushcut.policies import load
from pushcut.policies.base import Policy
from pushcut.policies.lora import ADAPTER, BASE, LoRAConfig, adapted_layers
from pushcut.policies.masters import MASTERS_FILE, load_masters, save_masters
from pushcut.policies.pretrained import (
    TRAINING_PARTS_FILE,
    load_training_parts,
    save_training_parts,
)
from pushcut.policies.released.policy import ReleasedPolicy
from pushcut.policies.source import PolicySource
from pushcut.policies.tensor_files import SharedFiles, weight_files
from pushcut.policies.whole import copy_whole
from tests.policies.builders import noise, observation
from tests.policies.released.builders import READING, bfloat16, flow, tokens
from tests.policies.released.folders import write_lerobot, write_openpi, write_openvla

LORA = LoRAConfig(rank=2, alpha=4)

FOLDERS: dict[str, tuple[Callable[[Path], Path], Callable[..., PolicySource]]] = {
    "openvla-oft": (write_openvla, tokens),
    "pi0-openpi": (write_openpi, flow),
    "pi0-lerobot": (write_lerobot, flow),
}


def halve(folder: Path) -> Path:
    """Rounds the weights of a folder to bfloat16, as released ones are."""
    for file in weight_files(folder):
        halved = {name: x.bfloat16() for name, x in load_file(file).items()}
        file.unlink()
        save_file(halved, file, {"format": "pt"})
    return folder


def source_of(name: str, folder: Path) -> PolicySource:
    write, make = FOLDERS[name]
    return make(halve(write(folder)), bfloat16(True), trained="lora", lora=LORA)


def learnt(source: PolicySource) -> ReleasedPolicy:
    """A policy that has learnt little: less than bfloat16 tells from nothing."""
    policy = source.load()
    assert isinstance(policy, ReleasedPolicy)
    disturb(policy)
    return policy


def disturb(policy: Policy) -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.requires_grad:
                parameter += torch.randn(parameter.shape, generator=generator) * 0.01


def write(policy: Policy, run: Path, number: str) -> Path:
    """A checkpoint, as a run writes it."""
    folder = run / number
    policy.save_shared(folder / "policy", SharedFiles(run))
    save_training_parts(policy, folder / TRAINING_PARTS_FILE)
    save_masters(policy, folder / MASTERS_FILE)
    return folder


def stored(folder: Path) -> dict[str, Tensor]:
    return {name: x for file in weight_files(folder) for name, x in load_file(file).items()}


def act(policy: Policy) -> Tensor:
    return policy.sample(observation(8), noise(8), "sampled").logprob


@pytest.mark.parametrize("name", FOLDERS)
def test_each_checkpoint_has_the_adapters_and_all_share_what_is_adapted(name, tmp_path):
    policy = learnt(source_of(name, tmp_path / "base"))
    first, second = (write(policy, tmp_path / "run", n) / "policy" for n in ("000001", "000002"))
    shared = [next(folder.glob("frozen-*.safetensors")) for folder in (first, second)]
    assert shared[0].stat().st_ino == shared[1].stat().st_ino
    before, after = stored(tmp_path / "base"), stored(second)
    layers = [layer for layer, _ in adapted_layers(policy.network)]
    assert len(layers) > 5
    for layer in layers:
        found = after[f"{policy.prefix}{layer}.weight"]
        assert found.dtype == torch.bfloat16
        assert torch.equal(found, before[f"{policy.prefix}{layer}.weight"])
    adapters = load_file(second / "adapter_model.safetensors")
    assert len(adapters) == 2 * len(layers)
    # The adapters, and for pi0 the expert in the files' bfloat16.
    trained = [p for p in policy.parameters() if p.requires_grad]
    own = [file for file in second.iterdir() if file.stat().st_nlink == 1]
    most = sum(4 * p.numel() for p in trained)
    small = sum(len(content) for content in policy.files.values())
    assert sum(file.stat().st_size for file in own) < most + small + 300_000
    assert not (second.parent / TRAINING_PARTS_FILE).exists()


@pytest.mark.parametrize("name", FOLDERS)
def test_who_evaluates_a_checkpoint_acts_to_the_bit_as_the_run_did(name, tmp_path):
    """Merged in bfloat16, a small adapter would be rounded away."""
    source = source_of(name, tmp_path / "base")
    policy = learnt(source)
    checkpoint = write(policy, tmp_path / "run", "000001")
    want = act(policy)
    acting = replace(source, path=checkpoint, trained="all").load_to_act()
    assert torch.equal(act(acting), want)
    assert not torch.equal(act(replace(source, trained="all").load_to_act()), want)
    assert {p.dtype for n, p in acting.named_parameters() if ADAPTER in n} == {torch.bfloat16}


def test_without_peft_adapters_are_merged_and_a_line_says_so(tmp_path, monkeypatch, capsys):
    source = source_of("openvla-oft", tmp_path / "base")
    policy = learnt(source)
    checkpoint = write(policy, tmp_path / "run", "000001")
    monkeypatch.setitem(sys.modules, "peft", None)
    acting = replace(source, path=checkpoint, trained="all").load_to_act()
    assert "adapters are merged, which rounds them: with peft" in capsys.readouterr().out
    layer, adapted = next(adapted_layers(policy))
    delta = adapted.get_delta_weight("default").detach()
    sums = (adapted.base_layer.weight.float() + delta).bfloat16()
    assert torch.equal(acting.get_parameter(f"{layer}.weight"), sums)


@pytest.mark.parametrize("name", FOLDERS)
def test_a_policy_that_is_taken_away_is_whole(name, tmp_path):
    policy = learnt(source_of(name, tmp_path / "base"))
    checkpoint = write(policy, tmp_path / "run", "000001")
    copy_whole(checkpoint / "policy", tmp_path / "away")
    names = {file.name for file in (tmp_path / "away").iterdir()}
    assert not [n for n in names if n.startswith(("adapter", "frozen", "model-trained"))]
    policy.save_pretrained(tmp_path / "saved")
    want, got, base = (stored(tmp_path / x) for x in ("saved", "away", "base"))
    assert want.keys() == got.keys() == base.keys()
    for name, tensor in want.items():
        assert got[name].dtype == tensor.dtype
        torch.testing.assert_close(got[name], tensor, rtol=0, atol=1e-7)
    layer, adapted = next(adapted_layers(policy.network))
    name = f"{policy.prefix}{layer}.weight"
    down, up = (x["default"].weight.detach() for x in (adapted.lora_A, adapted.lora_B))
    # alpha / rank = 4 / 2
    torch.testing.assert_close(got[name], base[name].float() + 2 * up @ down, rtol=0, atol=1e-7)
    assert got[name].dtype == torch.float32


@pytest.mark.parametrize("base_there", [True, False], ids=["base-there", "base-gone"])
@pytest.mark.parametrize("name", FOLDERS)
def test_a_run_goes_on_with_the_very_same_weights(name, base_there, tmp_path):
    source = source_of(name, tmp_path / "base")
    policy = learnt(source)
    checkpoint = write(policy, tmp_path / "run", "000001")
    if not base_there:
        shutil.rmtree(tmp_path / "base")
        source = replace(source, path=checkpoint / "policy")

    def forget(loaded: Policy) -> None:
        loaded.adapters = None

    again = source.load(check=forget)
    again.load_weights(checkpoint / "policy")
    load_training_parts(again, checkpoint / TRAINING_PARTS_FILE)
    if (checkpoint / MASTERS_FILE).exists():
        load_masters(again, checkpoint / MASTERS_FILE)
    want, got = policy.state_dict(), again.state_dict()
    assert want.keys() == got.keys()
    assert all(torch.equal(got[key], tensor) for key, tensor in want.items())
    # And its next checkpoint has the same file of what is frozen.
    second = write(again, tmp_path / "run", "000002")
    assert next(second.glob("policy/frozen-*")).stat().st_nlink == 2


@pytest.mark.parametrize("name", FOLDERS)
def test_training_all_begins_with_the_sum(name, tmp_path):
    source = source_of(name, tmp_path / "base")
    policy = learnt(source)
    checkpoint = write(policy, tmp_path / "run", "000001")
    copy_whole(checkpoint / "policy", tmp_path / "away")
    (checkpoint / MASTERS_FILE).unlink(missing_ok=True)  # only checkpoints have those digits
    plain = replace(source, path=checkpoint / "policy", trained="all")
    whole = replace(plain, path=tmp_path / "away")
    want, got = whole.load().state_dict(), plain.load().state_dict()
    assert want.keys() == got.keys()
    for key, tensor in want.items():
        torch.testing.assert_close(got[key], tensor, rtol=0, atol=1e-7)
    layer, _ = next(adapted_layers(policy.network))
    assert got[f"network.{layer}.weight"].dtype == torch.float32


def test_new_adapters_go_onto_what_is_merged(tmp_path):
    source = source_of("openvla-oft", tmp_path / "base")
    policy = learnt(source)
    checkpoint = write(policy, tmp_path / "run", "000001")
    second = replace(source, path=checkpoint / "policy").load()
    layer, adapted = next(adapted_layers(second))
    assert not bool(adapted.lora_B["default"].weight.any())
    first = dict(adapted_layers(policy))[layer]
    delta = first.get_delta_weight("default").detach()
    sums = (first.base_layer.weight.float() + delta).bfloat16()
    assert torch.equal(adapted.base_layer.weight, sums)
    # The sums are saved as they are computed with: no file has had them.
    again = write(second, tmp_path / "again", "000001")
    assert torch.equal(stored(again / "policy")[f"{layer.removeprefix('network.')}.weight"], sums)


def test_a_library_user_gets_the_sums(tmp_path):
    policy = learnt(source_of("pi0-lerobot", tmp_path / "base"))
    checkpoint = write(policy, tmp_path / "run", "000001")
    loaded = load(checkpoint / "policy", READING)
    layer, adapted = next(adapted_layers(policy))
    want = adapted.base_layer.weight.float() + adapted.get_delta_weight("default")
    torch.testing.assert_close(loaded.get_parameter(f"{layer}.weight"), want, rtol=0, atol=1e-7)


def test_adapters_of_other_layers_are_refused(tmp_path):
    policy = learnt(source_of("openvla-oft", tmp_path / "base"))
    checkpoint = write(policy, tmp_path / "run", "000001") / "policy"
    file = checkpoint / "adapter_model.safetensors"
    tensors = load_file(file)
    name = next(iter(tensors))
    cut = {k: x[:, :-1].contiguous() if k == name else x for k, x in tensors.items()}
    save_file(cut, file)
    with pytest.raises(UserError, match=r"the adapters in .* do not fit their base"):
        load(checkpoint, READING)
    save_file({k: x for k, x in tensors.items() if k != name}, file)
    with pytest.raises(UserError, match=r"the adapters in .* do not fit|does not know"):
        load(checkpoint, READING)


@pytest.mark.parametrize("name", FOLDERS)
def test_checkpoints_of_0_2_0_go_on(name, tmp_path):
    """Merged weights in the policy, adapters and what they adapt beside it."""
    source = source_of(name, tmp_path / "base")
    policy = learnt(source)
    old = tmp_path / "run" / "000001"
    policy.save_pretrained(old / "policy")
    state = policy.state_dict()
    save_file({n: x for n, x in state.items() if ADAPTER in n}, old / TRAINING_PARTS_FILE)
    below = {n: x for n, x in state.items() if BASE in n}
    save_file(below, old / "frozen_parts-0123456789ab.safetensors")
    again = source.load()
    again.load_weights(old / "policy")
    load_training_parts(again, old / TRAINING_PARTS_FILE)
    got = again.state_dict()
    assert all(torch.equal(got[n], x) for n, x in state.items() if ADAPTER in n or BASE in n)


def test_adapters_beside_a_checkpoint_with_adapters_would_lose_those(tmp_path):
    source = source_of("openvla-oft", tmp_path / "base")
    checkpoint = write(learnt(source), tmp_path / "run", "000001") / "policy"
    apart = replace(LORA, saved="separate")
    with pytest.raises(UserError, match=r"--policy.lora.saved merged"):
        replace(source, path=checkpoint, lora=apart).load()
    first = replace(source, lora=apart).load()
    first.save_pretrained(tmp_path / "apart")
    file = tmp_path / "apart" / "adapter_config.json"
    file.write_text(file.read_text().replace(str(tmp_path / "base"), str(checkpoint)))
    with pytest.raises(UserError, match=r"holds adapters itself: .*`pushcut export"):
        load(tmp_path / "apart")
