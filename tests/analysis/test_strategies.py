"""Shares, tests and measures, with the arithmetic beside them."""

import math

import numpy as np
import pytest

from pushcut.analysis.strategies import (
    Episode,
    closings,
    median_interval,
    pushcuts,
    shares,
    steps_saved,
)
from pushcut.evaluation.results import LedgerLine

PUSH = (("push", "puck"),)
CARRY = (("grasp", "puck"), ("lift", "puck"))


def episode(seed: int, strategy, *, success: bool = True, length: int = 10) -> Episode:
    return Episode(LedgerLine("task", seed, success, length, length), strategy, 0.5, 1, 3.0)


def test_shares_are_of_the_successes():
    played = [
        episode(0, PUSH),
        episode(1, CARRY),
        episode(2, CARRY),
        episode(3, PUSH, success=False),
    ]
    found = shares(played)
    assert list(found) == [CARRY, PUSH]
    assert (found[CARRY]["count"], found[CARRY]["of"]) == (2, 3)


def test_a_pushcut_succeeds_after_and_occurs_in_no_episode_before():
    before = [episode(seed, CARRY) for seed in range(6)]
    after = [episode(seed, PUSH) for seed in range(3)] + [episode(3, CARRY)]
    [(strategy, found)] = pushcuts(before, after).items()
    assert strategy == PUSH
    # 3 of 10 episodes push; all of them are among the 4 after: C(4, 3) / C(10, 3).
    assert found["p_value"] == pytest.approx(4 / 120)
    # So rare that six episodes show none in 5 % of the cases: (1 - p)^6 = 0.05.
    assert (1 - found["at_most_before"]) ** 6 == pytest.approx(0.05)
    # A failed attempt before is an occurrence; an attempt that fails after is no success.
    assert not pushcuts([*before, episode(9, PUSH, success=False)], after)
    assert not pushcuts(before, [episode(0, PUSH, success=False)])


def test_the_interval_of_a_median_is_the_sign_tests():
    # Five tosses: all tails has 1/32 = 3.1 % > 2.5 %; six: 1/64 = 1.6 %, one head more 10.9 %.
    assert median_interval([1, 2, 3, 4, 5]) is None
    assert median_interval([6, 5, 4, 3, 2, 1]) == (1, 6)
    # Nine: (1 + 9) / 512 = 2.0 %, with two heads 9.0 %: from the second to the eighth.
    assert median_interval(list(range(1, 10))) == (2, 8)
    assert sum(math.comb(9, k) for k in (0, 1)) / 512 <= 0.025


def test_steps_are_paired_where_both_solved():
    before = [episode(0, CARRY, length=50), episode(1, CARRY, length=40), episode(2, CARRY)]
    after = [episode(0, PUSH, length=20), episode(1, PUSH, success=False), episode(3, PUSH)]
    found = steps_saved(before, after)
    assert found is not None and (found["median"], found["count"]) == (-30, 1)
    assert steps_saved(before, []) is None


def test_a_gripper_closes_where_it_falls_by_a_centimetre():
    # It closes, trembles by 5 mm, opens and closes again.
    opening = [0.1, 0.095, 0.05, 0.04, 0.045, 0.04, 0.09, 0.1, 0.06]
    assert closings(np.array(opening)) == 2
    assert closings(np.array([0.04, 0.1, 0.1])) == 0
