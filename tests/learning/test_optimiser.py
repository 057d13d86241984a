"""AdamW on a GPU and without one."""

import pytest
import torch
from torch import nn

from pushcut.learning import optimiser
from pushcut.learning.optimiser import make_adamw, restore

SETTINGS = {"lr": 0.1, "betas": (0.9, 0.95), "weight_decay": 0.01}


def weight() -> nn.Parameter:
    return nn.Parameter(torch.tensor([1.0, -2.0]))


def step(optimizer: torch.optim.Optimizer, parameter: nn.Parameter) -> torch.Tensor:
    parameter.grad = torch.tensor([0.5, 0.25])
    optimizer.step()
    return parameter.detach().clone()


def test_without_a_gpu_it_is_torchs_plain_adamw_to_the_bit():
    ours, theirs = weight(), weight()
    adamw = torch.optim.AdamW([theirs], **SETTINGS)
    optimizer = make_adamw([ours], **SETTINGS)
    assert optimizer.param_groups[0]["fused"] is None
    for _ in range(3):
        assert torch.equal(step(optimizer, ours), step(adamw, theirs))
    assert optimizer.state_dict()["param_groups"] == adamw.state_dict()["param_groups"]


@pytest.mark.parametrize(
    ("devices", "fused"),
    [(("cuda", "cuda"), True), (("cuda", "cpu"), False), (("cpu",), False), ((), False)],
)
def test_it_is_fused_where_all_weights_are_on_gpus(devices, fused):
    assert optimiser.runs_fused([torch.device(name) for name in devices]) is fused


def test_a_run_that_began_on_a_gpu_goes_on_without_one():
    there, here = weight(), weight()
    fused = torch.optim.AdamW([there], fused=True, **SETTINGS)
    step(fused, there)
    here.data.copy_(there)
    optimizer = make_adamw([here], **SETTINGS)
    restore(optimizer, fused.state_dict())
    assert optimizer.param_groups[0]["fused"] is None
    assert optimizer.state[here]["step"].item() == 1
    torch.testing.assert_close(step(optimizer, here), step(fused, there))


def test_a_run_that_began_without_a_gpu_is_fused_where_there_is_one():
    there, here = weight(), weight()
    plain = make_adamw([there], **SETTINGS)
    step(plain, there)
    here.data.copy_(there)
    fused = torch.optim.AdamW([here], fused=True, **SETTINGS)
    restore(fused, plain.state_dict())
    assert fused.param_groups[0]["fused"] is True and optimiser.counts_on_gpu(fused)
    assert fused.state[here]["step"].device == here.device
    torch.testing.assert_close(step(fused, here), step(plain, there))
