"""What ranks say to each other, in processes of their own."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch

from pushcut.errors import Interrupted, RankLostError, UserError
from pushcut.ranks.config import RanksConfig
from pushcut.ranks.start import joined
from tests.ranks.launch import free_port, on_ranks

pytestmark = pytest.mark.heavy


def talk(port: int) -> dict[str, Any]:
    """Every kind of message once; ``port`` is for a second meeting, which one rank leaves."""
    with joined(RanksConfig()) as ranks:
        here = ranks.index
        heard: dict[str, Any] = {"sum": ranks.sum([here + 1.0, 10.0])}
        heard["gather"] = ranks.gather({"rank": here})
        heard["exchange"] = ranks.exchange([f"{here} to {there}" * (here + 1) for there in (0, 1)])
        parameters = [torch.nn.Parameter(torch.zeros(2)) for _ in range(3)]
        for value, parameter in enumerate(parameters[:2], start=1):
            parameter.grad = torch.full((2,), value * 10.0**here)
        ranks.sum_gradients(parameters)
        heard["gradients"] = [None if p.grad is None else p.grad.tolist() for p in parameters]
        layer = torch.nn.Linear(2, 1)
        ranks.place(layer)
        heard["weights"] = ranks.gather(layer.weight.tolist())
        for error in (UserError("the disk is full"), Interrupted(143), KeyError("bug")):
            heard.setdefault("raised", []).append(failure(ranks, error))
    os.environ["MASTER_PORT"] = str(port)
    return heard | {"left": left_alone()}


def left_alone() -> str:
    """What a rank hears in torch's own code, as FSDP's is, when the other has gone."""
    try:
        with joined(RanksConfig(timeout_s=100.0)) as ranks:
            ranks.sum([1.0])  # both are there before one goes
            if ranks.index == 0:
                torch.distributed.all_reduce(torch.ones(1))
    except RankLostError as error:
        return str(error)
    return ""


def failure(ranks: Any, error: Exception) -> str:
    """What a rank hears when the second one fails."""
    with pytest.raises(Exception) as raised, ranks.together():
        if ranks.index == 1:
            raise error
    return f"{type(raised.value).__name__}: {raised.value}"


def test_ranks_exchange_numbers_values_gradients_and_failures():
    first, second = on_ranks(2, talk, free_port())
    assert first["sum"] == second["sum"] == [3.0, 20.0]
    assert first["gather"] == second["gather"] == [{"rank": 0}, {"rank": 1}]
    assert first["exchange"] == ["0 to 0", "1 to 0" * 2]
    assert second["exchange"] == ["0 to 1", "1 to 1" * 2]
    # 1 + 10, 2 + 20; a parameter without gradient has none afterwards.
    assert first["gradients"] == second["gradients"] == [[11.0] * 2, [22.0] * 2, None]
    assert first["weights"][0] == first["weights"][1]
    assert first["raised"] == [
        "UserError: rank 1: the disk is full",
        "Interrupted: interrupted (exit code 143)",
        "KeyError: 'bug'",
    ]
    assert second["raised"][0] == "UserError: the disk is full"
    assert first["left"].startswith("could not gather weights: another rank is gone or hangs (")
    assert "\n" not in first["left"] and not second["left"]
