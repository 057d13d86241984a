"""Statistics are not trusted: what no data can have is refused, what is degenerate is widened."""

import json
import math
from collections.abc import Sequence

import pytest
import torch

from pushcut.errors import UserError
from pushcut.policies.normalisation import (
    ActionNormaliser,
    NormStats,
    measured_stats,
    read_small_stats,
)

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"mean": [0.0, NAN]}, "mean is not finite: number 1 (nan), counted from 0"),
        ({"std": [INF]}, "std is not finite: number 0 (inf)"),
        ({"q99": [1, 1, -INF]}, "q99 is not finite: number 2 (-inf)"),
        ({"std": [0.5, -0.1]}, "std is negative: number 1 (-0.1)"),
        ({"q01": [0, 2], "q99": [1, 1]}, "q01 is above q99: number 1 (2 > 1)"),
        ({"min": [3], "max": [2]}, "min is above max: number 0 (3 > 2)"),
        ({"std": [-1] * 5}, "number 2 (-1.0) and 2 more"),
        ({"mean": [0, 0], "std": [1]}, "different lengths"),
        (3, "no dictionary"),
    ],
)
def test_statistics_that_no_data_can_have_are_refused_by_number(values, said):
    with pytest.raises(ValueError) as error:
        NormStats.of(values)
    assert said in str(error.value)


def test_a_state_of_no_numbers_has_statistics_of_none():
    stats, lines = measured_stats(dict.fromkeys(("mean", "std", "min", "max"), []), "state")
    assert (stats.size, lines) == (0, [])


def test_bounds_that_only_float32_crosses_are_taken():
    assert NormStats.of({"q01": [1.0000001], "q99": [1.0]}).size == 1


def test_crossed_bounds_of_a_small_policy_are_refused_with_their_file(tmp_path):
    file = tmp_path / "statistics.json"
    stats = {"action_low": [1.0], "action_high": [-1.0], "state_mean": [0.0], "state_std": [1.0]}
    file.write_text(json.dumps(stats))
    with pytest.raises(UserError, match=r"statistics.json is not .*: q01 is above q99"):
        read_small_stats(file)


def vector(**fields: Sequence[float]) -> dict[str, list[float]]:
    """Two numbers: one that is as usual, one to be changed."""
    usual = {"mean": 0.0, "std": 0.5, "q01": -0.9, "q99": 0.9, "min": -1.0, "max": 1.0}
    return {name: [value, *fields.get(name, [value])] for name, value in usual.items()}


def test_a_gripper_that_hardly_ever_opens_can_still_open():
    """1 in 99 % of the frames and -1 in a few: both quantiles are 1."""
    stats, lines = measured_stats(vector(q01=[1], q99=[1], std=[0.1], mean=[0.99]), "action")
    assert (stats.q01, stats.q99) == ((-0.9, -1.0), (0.9, 1.0))
    assert stats.std == (0.5, 0.1)
    assert len(lines) == 1
    assert "number 1 of action (counted from 0) reaches from -1 to 1" in lines[0]
    assert "98 % of its values lie in 1 to 1" in lines[0]
    scaled = ActionNormaliser(stats)
    assert scaled.normalise(torch.tensor([0.0, -1.0]))[1] == -1
    assert scaled.denormalise(torch.tensor([0.0, -1.0]))[1] == -1


@pytest.mark.parametrize("width", [0.0, 1e-7, 1e-4, 0.019])
def test_quantiles_that_nearly_coincide_are_widened(width):
    stats, lines = measured_stats(vector(q01=[1 - width], q99=[1]), "action")
    assert stats.q01 == (-0.9, -1.0)
    assert len(lines) == 1


def test_a_deviation_of_next_to_nothing_becomes_half_the_range():
    """One frame of a million is another one: its share of the deviation is 0.002."""
    stats, lines = measured_stats(vector(mean=[1], std=[0.002], q01=[1], q99=[1]), "state")
    assert stats.std == (0.5, 1.0)
    assert "98 % of its values lie in 1 to 1 and its deviation is 0.002" in lines[0]


def test_a_long_tail_stays_as_it_is():
    stats, lines = measured_stats(vector(q01=[-0.02], q99=[0.02], std=[0.03]), "action")
    assert (stats.q01, stats.std, lines) == ((-0.9, -0.02), (0.5, 0.03), [])


def test_a_constant_is_scaled_to_nothing_and_stays_what_it_is():
    fixed = vector(mean=[3], std=[0], q01=[3], q99=[3], min=[3], max=[3])
    stats, lines = measured_stats(fixed, "state")
    assert (stats.mean, stats.std, lines) == ((0.0, 3.0), (0.5, 1.0), [])
    action = ActionNormaliser(stats)
    assert action.denormalise(torch.tensor([[0.0, -1.0], [0.0, 1.0]]))[:, 1].tolist() == [3, 3]
    assert action.normalise(torch.tensor([0.0, 3.0]))[1] == -1
