import math

import pytest
import torch

from pushcut.algorithms.objectives import (
    behaviour_weight,
    clipped_tokens,
    kl_k3,
    pool,
    ppo_clip_loss,
    token_weights,
    trajectory_scale,
    value_loss,
)

CLIP = {"clip_low": 0.2, "clip_high": 0.28}


def loss_of(ratio: list[float], advantage: list[float]) -> tuple[float, list[float]]:
    """Loss and gradient by log-probability, each token weighing 1."""
    logprob = torch.tensor([math.log(r) for r in ratio], requires_grad=True)
    ones = torch.ones(len(ratio))
    loss = ppo_clip_loss(logprob, torch.zeros(len(ratio)), torch.tensor(advantage), ones, **CLIP)
    (gradient,) = torch.autograd.grad(loss, logprob)
    return loss.item(), gradient.tolist()


def test_the_surrogate_is_the_smaller_of_the_plain_and_the_clipped_term():
    loss, _ = loss_of([1.5, 1.5, 0.5, 0.5], [1.0, -1.0, 1.0, -1.0])
    # min(1.5, 1.28) + min(-1.5, -1.28) + min(0.5, 0.8) + min(-0.5, -0.8)
    assert loss == pytest.approx(-(1.28 - 1.5 + 0.5 - 0.8))


def test_the_gradient_is_zero_exactly_where_the_clip_holds():
    ratio = [1.5, 1.5, 0.5, 0.5, 1.27, 0.81]
    advantage = [1.0, -1.0, 1.0, -1.0, 2.0, -2.0]
    _, gradient = loss_of(ratio, advantage)
    # d(-r A)/d logp = -r A where it is not clipped
    assert gradient == pytest.approx([0.0, 1.5, -0.5, 0.0, -2.54, 1.62])


def test_the_clipped_tokens_are_those_without_gradient():
    ratio = torch.tensor([1.5, 1.5, 0.5, 0.5, 1.27, 0.81])
    advantage = torch.tensor([1.0, -1.0, 1.0, -1.0, 2.0, -2.0])
    got = clipped_tokens(ratio.log(), torch.zeros(6), advantage, **CLIP)
    assert got.tolist() == [True, False, False, True, False, False]


def test_clip_higher_lets_an_unlikely_token_grow_further():
    logprob, old = torch.tensor([math.log(1.25)]), torch.zeros(1)
    one = torch.ones(1)
    higher = ppo_clip_loss(logprob, old, one, one, clip_low=0.2, clip_high=0.28)
    symmetric = ppo_clip_loss(logprob, old, one, one, clip_low=0.2, clip_high=0.2)
    assert higher.item() == pytest.approx(-1.25)
    assert symmetric.item() == pytest.approx(-1.2)


E20 = math.exp(20)  # 4.85e8: what a log-ratio of 20 or more counts as


@pytest.mark.parametrize("advantage", [1.0, -1.0])
@pytest.mark.parametrize("far", [100.0, -100.0, 1e4, -1e4])
def test_a_log_ratio_beyond_all_bounds_has_no_gradient_and_spoils_no_other(far, advantage):
    logprob = torch.tensor([0.0, far], requires_grad=True)
    ones = torch.ones(2)
    loss = ppo_clip_loss(logprob, torch.zeros(2), advantage * ones, ones / 2, **CLIP)
    (gradient,) = torch.autograd.grad(loss, logprob)
    # The first term is -A r / 2 with r = 1 and its gradient -A / 2, whatever the second is.
    assert gradient.tolist() == [-advantage / 2, 0.0]
    # Of the second: min(e^20 A, 1.28 A) far above, min(e^-20 A, 0.8 A) far below.
    term = {(1, 1): 1.28, (1, -1): -E20, (-1, 1): 1 / E20, (-1, -1): -0.8}
    want = term[1 if far > 0 else -1, int(advantage)]
    assert loss.item() == pytest.approx(-(advantage + want) / 2, rel=1e-5)


def test_a_policy_that_is_no_number_is_not_hidden():
    logprob = torch.tensor([0.0, float("nan")], requires_grad=True)
    ones = torch.ones(2)
    loss = ppo_clip_loss(logprob, torch.zeros(2), ones, ones, **CLIP)
    (gradient,) = torch.autograd.grad(loss, logprob)
    assert math.isnan(loss.item()) and math.isnan(gradient[1].item())


def test_what_the_clamp_holds_counts_as_clipped_where_the_clip_holds_too():
    far = torch.tensor([100.0, 100.0, -100.0, -100.0])
    advantage = torch.tensor([1.0, -1.0, 1.0, -1.0])
    got = clipped_tokens(far, torch.zeros(4), advantage, **CLIP)
    assert got.tolist() == [True, False, False, True]


def test_k3_of_policies_far_apart_is_finite():
    logprob = torch.tensor([0.0, 0.0, 0.0], requires_grad=True)
    kl = kl_k3(logprob, torch.tensor([100.0, -100.0, 0.0]))
    (gradient,) = torch.autograd.grad(kl.sum(), logprob)
    # e^20 - 20 - 1 without gradient; e^-100 + 100 - 1 = 99 with -(e^-100 - 1) = 1; 0 with 0.
    assert kl.tolist() == pytest.approx([E20 - 21, 99.0, 0.0], rel=1e-5)
    assert gradient.tolist() == [0.0, 1.0, 0.0]


def test_a_behaviour_weight_far_away_is_the_cap_or_nothing():
    got = behaviour_weight(torch.tensor([100.0, -100.0]), torch.zeros(2), cap=5.0)
    assert got.tolist() == pytest.approx([5.0, 1 / E20], rel=1e-5)


VALID = torch.tensor([[True, True], [True, False], [True, True]])
EPISODE = torch.tensor([7, 7, 9])  # three tokens, and two


def test_trajectory_weights_are_a_mean_per_episode_then_over_episodes():
    got = token_weights(VALID, EPISODE, aggregation="trajectory")
    want = torch.tensor([[1 / 6, 1 / 6], [1 / 6, 0], [1 / 4, 1 / 4]])
    torch.testing.assert_close(got, want)


def test_token_weights_are_one_mean_over_all_tokens():
    got = token_weights(VALID, EPISODE, aggregation="token")
    torch.testing.assert_close(got, VALID / 5)


def test_sequence_sum_weights_do_not_know_the_length():
    got = token_weights(VALID, EPISODE, aggregation="sequence_sum")
    torch.testing.assert_close(got, VALID / 2)


@pytest.mark.parametrize("aggregation", ["trajectory", "token"])
def test_means_weigh_one_in_all_also_with_action_dimensions(aggregation):
    valid = VALID.unsqueeze(-1).expand(3, 2, 4)
    got = token_weights(valid, EPISODE, aggregation=aggregation)
    assert got.shape == (3, 2, 4)
    assert got.sum().item() == pytest.approx(1)


def test_k3_is_zero_for_equal_policies_and_right_for_a_ratio_of_two():
    logprob = torch.tensor([0.0, 0.0])
    reference = torch.tensor([0.0, math.log(2)])
    # exp(log 2) - log 2 - 1 = 0.306853
    torch.testing.assert_close(kl_k3(logprob, reference), torch.tensor([0.0, 0.3068528]))


def test_units_of_the_ratio_sum_over_what_was_executed():
    values = torch.arange(12.0).view(1, 1, 3, 4)
    valid = torch.ones(1, 1, 3, 4, dtype=torch.bool)
    valid[:, :, 2] = False
    # Steps: 0+1+2+3 = 6, 4+5+6+7 = 22, none; the chunk is 28.
    assert pool(values, valid, "step").flatten().tolist() == [6, 22, 0]
    assert pool(values, valid, "chunk").flatten().tolist() == [28]
    assert pool(values, valid, "element")[0, 0, :2].equal(values[0, 0, :2])
    assert pool(values, valid, "element")[0, 0, 2].tolist() == [0] * 4


def test_each_part_of_a_decision_is_a_unit_of_its_own():
    values = torch.arange(8.0).view(1, 2, 2, 2)
    valid = torch.ones(1, 2, 2, 2, dtype=torch.bool)
    assert pool(values, valid, "chunk").flatten().tolist() == [6, 22]
    assert pool(values, valid, "step").flatten().tolist() == [1, 5, 9, 13]


def test_the_value_loss_is_the_larger_of_the_plain_and_the_clipped_one():
    # V_old 0, clip 0.2. V 1, target 2: plain 0.5, clipped (0.2 - 2)^2 / 2 = 1.62.
    # V 0.1 (not clipped), target 0: 0.005. V 1, target 0: plain 0.5, clipped 0.02.
    got = value_loss(
        torch.tensor([1.0, 0.1, 1.0]),
        torch.zeros(3),
        torch.tensor([2.0, 0.0, 0.0]),
        torch.tensor([1.0, 1.0, 0.5]),
        clip=0.2,
        huber_delta=10.0,
    )
    assert got.item() == pytest.approx(1.62 + 0.005 + 0.25)


def test_the_value_loss_is_linear_beyond_delta():
    # Error 5, delta 1: 1 * (5 - 0.5) = 4.5, clipped or not.
    one = torch.ones(1)
    got = value_loss(5 * one, 5 * one, 0 * one, one, clip=0.2, huber_delta=1.0)
    assert got.item() == pytest.approx(4.5)


def test_a_mean_over_padded_trajectories_is_the_packed_mean_with_the_scale():
    # Lengths 1 and 3 of at most 4. Padded: mean over 8 places of loss * mask * 4 / length:
    # (4 * 8 / 1 + 4 * (1 + 2 + 3) / 3) / 8 = (32 + 8) / 8 = 5 = (8 + 2) / 2: each weighs the same.
    losses, episode = torch.tensor([8.0, 1.0, 2.0, 3.0]), torch.tensor([0, 1, 1, 1])
    scale = trajectory_scale(torch.ones(4), episode)
    # The mean length is 2: 2 / 1 and 2 / 3.
    assert scale.tolist() == pytest.approx([2.0, 2 / 3, 2 / 3, 2 / 3])
    assert (losses * scale).mean().item() == pytest.approx(5.0)
    assert losses.mean().item() == 3.5


def test_the_scale_counts_units_where_decisions_have_several():
    # Episode 4 has 4 + 2 units, episode 9 has 2: mean 4.
    scale = trajectory_scale(torch.tensor([4.0, 2.0, 2.0]), torch.tensor([4, 4, 9]))
    assert scale.tolist() == pytest.approx([4 / 6, 4 / 6, 2.0])
