"""The decoupled objective: what an older policy drew, clipped around the newest one."""

import math

import pytest
import torch

from pushcut.algorithms.grpo import GRPO
from pushcut.algorithms.objectives import behaviour_weight
from pushcut.algorithms.ppo import PPO
from pushcut.algorithms.surrogate import clipped_surrogate
from pushcut.batch import Evaluation, Minibatch


def chunk(*logprob: float) -> torch.Tensor:
    return torch.tensor(logprob).view(1, 1, -1, 1)


def surrogate(new: torch.Tensor, behaviour: torch.Tensor | None, *, cap: float = 5.0):
    """Loss of a chunk with advantage 2; the proximal policy gave -1 to both of its elements."""
    one = torch.ones(1, 1, 1, 1)
    batch = Minibatch(
        logprob_old=chunk(-1.0, -1.0),
        valid=torch.ones(1, 1, 2, 1, dtype=torch.bool),
        advantage=2 * one,
        weight=one,
        share=one,
        logprob_behaviour=behaviour,
    )
    return clipped_surrogate(
        Evaluation(new, torch.zeros_like(new)),
        batch,
        granularity="chunk",
        clip_low=0.2,
        clip_high=0.2,
        entropy_coefficient=0.0,
        behaviour_cap=cap,
    )


def test_what_became_likelier_weighs_more_up_to_the_cap():
    # 0.3 / 0.2 = 1.5; 0.9 / 0.1 = 9 is capped at 5; 0.1 / 0.4 = 0.25.
    proximal, behaviour = torch.tensor([0.3, 0.9, 0.1]), torch.tensor([0.2, 0.1, 0.4])
    weight = behaviour_weight(proximal.log(), behaviour.log(), cap=5.0)
    torch.testing.assert_close(weight, torch.tensor([1.5, 5.0, 0.25]))


def test_without_clipping_the_two_ratios_make_that_of_plain_importance_sampling():
    # Proximal to behaviour e^0.2, new to proximal e^0.1 (below 1.2): -e^0.3 * 2.
    loss, metrics = surrogate(chunk(-0.95, -0.95), chunk(-1.1, -1.1))
    assert loss.item() == pytest.approx(-2 * math.exp(0.3))
    assert metrics["behaviour_weight"].item() == pytest.approx(math.exp(0.2))
    assert metrics["behaviour_capped"].item() == 0


def test_the_clip_is_around_the_proximal_policy_and_the_weight_stays_outside_of_it():
    # New to proximal e^0.4 = 1.49 is held at 1.2: -e^0.2 * 1.2 * 2, and no gradient.
    new = chunk(-0.8, -0.8).requires_grad_()
    loss, metrics = surrogate(new, chunk(-1.1, -1.1))
    assert loss.item() == pytest.approx(-2.4 * math.exp(0.2))
    assert metrics["clip_fraction"].item() == 1
    assert torch.autograd.grad(loss, new)[0].abs().sum() == 0


def test_a_capped_weight_is_told():
    # Proximal to behaviour e^2 = 7.4, capped at 5: the ratio is 1, the loss -5 * 2.
    loss, metrics = surrogate(chunk(-1.0, -1.0), chunk(-2.0, -2.0))
    assert loss.item() == pytest.approx(-10)
    assert metrics["behaviour_capped"].item() == 1


def test_a_behaviour_that_is_the_proximal_policy_changes_nothing():
    plain, _ = surrogate(chunk(-0.9, -1.0), None)
    same, metrics = surrogate(chunk(-0.9, -1.0), chunk(-1.0, -1.0))
    assert same.item() == plain.item()
    assert metrics["behaviour_weight"].item() == 1


@pytest.mark.parametrize("algorithm", [GRPO, PPO])
def test_a_cap_below_one_would_shrink_all_that_is_learned(algorithm):
    with pytest.raises(ValueError, match="behaviour_cap must be >= 1"):
        algorithm(behaviour_cap=0.5)


@pytest.mark.parametrize("granularity", ["element", "step", "chunk"])
@pytest.mark.parametrize("advantage", [2.0, -2.0])
@pytest.mark.parametrize("behaviour", [None, 100.0, -100.0])
@pytest.mark.parametrize("far", [100.0, -100.0])
def test_one_decision_far_away_leaves_the_gradients_of_the_others(
    granularity, advantage, behaviour, far
):
    """Two decisions of one element; the second has moved by e^100 or e^-100."""
    new = torch.tensor([0.0, far]).view(2, 1, 1, 1).requires_grad_()
    shape = torch.ones(2, 1, 1, 1)
    acted = None if behaviour is None else behaviour * shape
    batch = Minibatch(
        0 * shape, shape > 0, advantage * shape, shape / 2, shape / 2, logprob_behaviour=acted
    )
    loss, metrics = clipped_surrogate(
        Evaluation(new, 0 * new),
        batch,
        granularity=granularity,
        clip_low=0.2,
        clip_high=0.28,
        entropy_coefficient=0.1,
        behaviour_cap=5.0,
    )
    (gradient,) = torch.autograd.grad(loss, new)
    # min(e^±20, 5) is the weight of what another policy drew: e^-20, or 5 at the cap.
    weight = {None: 1.0, 100.0: math.exp(-20), -100.0: 5.0}[behaviour]
    assert gradient.flatten().tolist() == pytest.approx([-advantage / 2 * weight, 0.0], rel=1e-5)
    assert all(torch.isfinite(value) for value in [loss, *metrics.values()])
