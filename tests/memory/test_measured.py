"""What is measured without memory is what real networks take."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from pushcut.memory import Workload, plan
from pushcut.memory.calls import Calls, calls
from pushcut.memory.live_bytes import LiveBytes
from pushcut.memory.measure import measure
from pushcut.memory.network import AdaptedLinear, Network, build
from pushcut.policies.lora import LoRAConfig, add_lora
from pushcut.policies.networks.groot import GrootNetwork
from pushcut.policies.networks.paligemma import PaliGemmaNetwork
from tests.memory.workloads import TINY, workload

pytestmark = pytest.mark.heavy

CPU = torch.device("cpu")
LORA = LoRAConfig(rank_of=(("language", 4), ("vision", 4)))

CASES = {
    "pi0": {},
    "pi0, chains, float32": {"mdp": "two-layer", "released": {"precision": "float32"}},
    "pi0, lora, masters": {"trained": "lora", "lora": LORA, "released": {"master_weights": True}},
    "pi0, all, checkpointing": {"trained": "all", "released": {"gradient_checkpointing": True}},
    "pi05, chains, masters": {"mdp": "two-layer", "released": {"master_weights": True}},
    "smolvla": {},
    "smolvla, all, masters": {"trained": "all", "released": {"master_weights": True}},
    "smolvla, chains, float32": {"mdp": "two-layer", "released": {"precision": "float32"}},
    "groot": {},
    "groot, chains, all, masters, checkpointing": {
        "trained": "all",
        "mdp": "two-layer",
        "released": {"master_weights": True, "gradient_checkpointing": True},
    },
    "openvla-oft, lora": {"trained": "lora", "lora": LORA},
    "pi0-fast, all, masters, checkpointing": {
        "released": {"master_weights": True, "gradient_checkpointing": True}
    },
    "openvla-oft, all, masters, checkpointing": {
        "released": {"master_weights": True, "gradient_checkpointing": True}
    },
}


def tiny(case: str) -> Workload:
    network: Any = case.partition(",")[0]
    return workload(network, micro_batch=3, inference_batch=2, **CASES[case])


def real(workload: Workload) -> tuple[Network, Calls]:
    """The tiny network of a workload with memory behind it."""
    network = build(workload, TINY[workload.network])
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    network.to_empty(device=CPU)
    if isinstance(network, PaliGemmaNetwork | GrootNetwork):
        network.tie()
    for name, parameter in network.named_parameters():
        nn.init.normal_(parameter.requires_grad_(False), std=0.02)
        parameter.requires_grad_(name in trained)
    return network, calls(workload, network, CPU)


@pytest.mark.parametrize("case", CASES)
def test_an_update_and_an_inference_take_the_same_with_memory_and_without(case):
    due = tiny(case)
    got = measure(build(due, TINY[due.network]), due)
    network, policy = real(due)
    for parameter in network.parameters():
        # Gradients have a line of their own: here they exist before.
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    alive = LiveBytes(network.parameters())
    with alive:
        with due.released.compute.context(CPU):
            with torch.set_grad_enabled(not due.frozen_prefix):
                read = policy.read(3)
            held = alive.now if due.frozen_prefix else 0
            alive.peak = alive.now
            loss = policy.loss(read)
        activations = alive.now - held
        loss.backward()
    assert (got.held, got.activations) == (held, activations)
    assert got.temporary == alive.peak - held - activations
    del read, loss
    acting = LiveBytes(network.parameters())
    with torch.no_grad(), acting, due.released.compute.context(CPU):
        policy.act(policy.read(2))
    assert got.prefixes + got.inference == acting.peak


@pytest.mark.parametrize("case", ["pi0, all, checkpointing", "openvla-oft, lora"])
def test_activations_are_what_autograd_saves(case):
    due = tiny(case)
    due = replace(
        due,
        train=replace(
            due.train,
            policy=replace(
                due.train.policy, released=replace(due.released, gradient_checkpointing=False)
            ),
        ),
    )
    network, policy = real(due)
    own, saved = {p.untyped_storage()._cdata for p in network.parameters()}, {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            saved[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        _loss = policy.loss(policy.read(3))
    want = sum(storage.nbytes() for storage in saved.values())
    got = measure(build(due, TINY[due.network]), due)
    assert got.activations == pytest.approx(want, rel=0.02)


@pytest.mark.parametrize("case", ["pi0, lora, masters", "openvla-oft, lora"])
def test_parameters_and_gradients_are_those_of_the_network(case):
    due = tiny(case)
    network, policy = real(due)
    with due.released.compute.context(CPU):
        loss = policy.loss(policy.read(3))
    loss.backward()
    planned = plan(due, TINY[due.network])
    critic = planned.trained - sum(p.nbytes for p in network.parameters() if p.requires_grad)
    assert (critic > 0) == due.train.algorithm.needs_critic
    assert planned.frozen == sum(p.nbytes for p in network.parameters() if not p.requires_grad)
    gradients = sum(p.grad.nbytes for p in network.parameters() if p.grad is not None)
    assert planned.gradients == gradients + critic
    assert planned.optimiser == 2 * planned.gradients


def test_an_adapter_takes_and_computes_what_pefts_does():
    pytest.importorskip("peft")
    torch.manual_seed(0)
    peft = nn.Sequential(nn.Linear(24, 40)).bfloat16()
    add_lora(peft, rank=4, alpha=4)
    ours = nn.Sequential(AdaptedLinear(nn.Linear(24, 40), 4)).requires_grad_(False)
    ours.load_state_dict({k.replace(".default", ""): v for k, v in peft.state_dict().items()})
    for network in (peft, ours):
        network.bfloat16()
        for name, parameter in network.named_parameters():
            parameter.requires_grad_("lora" in name)
            parameter.data = parameter.data.float() if "lora" in name else parameter.data
    x = torch.rand(50, 24).bfloat16()
    found = []
    for network in (peft, ours):
        with LiveBytes() as alive, torch.autocast("cpu", torch.bfloat16):
            out = network(x)
        found.append((alive.now, alive.peak, out))
    assert found[0][:2] == found[1][:2]
    assert torch.equal(found[0][2], found[1][2])


def test_a_frozen_vlm_is_read_without_activations():
    few = plan(tiny("pi0"), TINY["pi0"])
    all_of_it = plan(tiny("pi0, all, checkpointing"), TINY["pi0"])
    assert few.reading > 0 == all_of_it.reading
