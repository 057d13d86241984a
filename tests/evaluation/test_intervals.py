import subprocess
import sys

import pytest
from scipy.stats import binomtest

from pushcut.evaluation.intervals import (
    Paired,
    Rate,
    design_effect,
    mean_interval,
    newcombe,
    wilson,
)


def test_the_interval_of_half_of_a_hundred_matches_the_formula_by_hand():
    # z = 1.959964, z² = 3.841459, n = 100, p = 0.5; 1 + z²/n = 1.03841459
    # centre: (0.5 + 3.841459/200) / 1.03841459 = 0.5
    # half:   1.959964 √(0.25/100 + 3.841459/40000) / 1.03841459
    #       = 1.959964 · 0.05095132 / 1.03841459 = 0.0961685
    assert wilson(50, 100) == pytest.approx((0.4038315, 0.5961685), abs=1e-6)


def test_the_interval_of_no_success_in_ten_starts_at_zero():
    # p = 0: from 0 to (z²/n) / (1 + z²/n) = 0.3841459 / 1.3841459 = 0.2775328
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775328), abs=1e-6)


def test_the_interval_of_ten_in_ten_mirrors_that_of_none_in_ten():
    assert wilson(10, 10) == pytest.approx((1 - 0.2775328, 1.0), abs=1e-6)


def test_less_confidence_gives_a_narrower_interval():
    # z(50 %) = 0.6744898, z² = 0.4549365, n = 4, p = 0.5: half
    # 0.6744898 √(0.0625 + 0.4549365/64) / 1.11373413 = 0.6744898 · 0.26383845 / 1.11373413
    assert wilson(2, 4, confidence=0.5) == pytest.approx((0.3402160, 0.6597840), abs=1e-5)


@pytest.mark.parametrize(("successes", "episodes"), [(0, 10), (10, 10), (137, 200), (1, 5000)])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
def test_whole_counts_have_scipys_interval(successes: int, episodes: int, confidence: float):
    theirs = binomtest(successes, episodes).proportion_ci(confidence, "wilson")
    assert wilson(successes, episodes, confidence) == pytest.approx(tuple(theirs), abs=1e-14)


def test_no_episodes_tell_nothing():
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("successes", "episodes"), [(-1, 5), (6, 5), (0, -1)])
def test_impossible_counts_are_refused(successes: int, episodes: int):
    with pytest.raises(ValueError, match="need 0 <= successes <= episodes"):
        wilson(successes, episodes)


def test_an_impossible_confidence_is_refused():
    with pytest.raises(ValueError, match="between 0 and 1, got 95"):
        wilson(1, 2, confidence=95.0)


def test_scipy_is_imported_only_when_mcnemars_test_is_asked_for():
    code = (
        "import sys; from pushcut.evaluation.intervals import Paired, Rate\n"
        "print(Rate(3, 7), Paired.of([[True]], [[True]]))\n"
        "sys.exit('scipy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_fractions_of_counts_have_an_interval_too():
    # n = 2, p = 1/4, z² = 3.841459: centre (0.25 + 0.9603647) / 2.9207294 = 0.4144050;
    # half 1.959964 √(0.09375 + 0.2400912) / 2.9207294 = 1.959964 · 0.5777899 / 2.9207294
    assert wilson(0.5, 2) == pytest.approx((0.0266773, 0.8021325), abs=1e-6)


def test_the_interval_of_a_paired_difference_matches_newcombes_method_10_by_hand():
    # Altman et al. 2000, table 6.2: 14 both, 5 only first, 0 only second, 22 neither; n = 41.
    # p1 = 19/41 = 0.463415, Wilson 0.320562 to 0.612535; p2 = 14/41 = 0.341463, 0.215588 to
    # 0.494502. φ = (14·22 - 5·0 - 41/2) / √(19·22·14·27) = 287.5 / 397.497 = 0.723276
    # below: a = p1 - l1 = 0.142853, b = u2 - p2 = 0.153039
    #   √(0.020407 - 2·0.723276·0.142853·0.153039 + 0.023421) = √0.0122046 = 0.110475
    # above: a = u1 - p1 = 0.149120, b = p2 - l2 = 0.125875
    #   √(0.022237 - 2·0.723276·0.149120·0.125875 + 0.015845) = √0.0109290 = 0.104542
    # 0.121951 - 0.110475 = 0.0115, 0.121951 + 0.104542 = 0.2265: "0.011 to 0.226" in the book
    assert newcombe(14, 5, 0, 22) == pytest.approx((0.0114832, 0.2264927), abs=1e-5)


def test_a_difference_of_nothing_but_common_successes_is_zero_give_or_take():
    # φ = 0; Wilson of 54/54: 0.9335864 to 1; √(0.0664136² + 0²) on either side
    assert newcombe(54, 0, 0, 0) == pytest.approx((-0.0664136, 0.0664136), abs=1e-6)
    assert newcombe(0, 0, 0, 0) == (-1.0, 1.0)


def test_exchanging_the_policies_turns_the_difference_round():
    low, high = newcombe(3, 9, 2, 6)
    assert newcombe(3, 2, 9, 6) == pytest.approx((-high, -low))


def test_the_interval_of_a_mean_adds_distances_as_squares():
    # (0.9 + 0.5) / 2 = 0.7; below √(0.3² + 0.4²) / 2 = 0.25; above √(0.05² + 0.12²) / 2 = 0.065
    got = mean_interval([0.9, 0.5], [(0.6, 0.95), (0.1, 0.62)])
    assert got == pytest.approx((0.45, 0.765))


def test_copies_of_an_episode_count_once_and_independent_ones_in_full():
    copies = Rate.of([[True] * 3] * 6 + [[False] * 3] * 4)
    assert (copies.successes, copies.episodes, copies.design_effect) == (18, 30, 3.0)
    assert copies.interval == pytest.approx(wilson(6, 10))
    # Each state solved once in two: the states do not differ at all.
    alternating = Rate.of([[True, False]] * 5)
    assert alternating.design_effect == 1.0
    assert alternating.interval == pytest.approx(wilson(5, 10))


def test_the_design_effect_is_the_variance_between_states_over_that_of_independent_episodes():
    # Means of the states 1, 1, 0.5, 0 about 0.625: squares 0.140625 + 0.140625 + 0.015625 +
    # 0.390625 = 0.6875, over 4·3: 0.0572917. Eight episodes: 5 · 0.375² + 3 · 0.625² = 1.875,
    # over 8²: 0.0292969. Ratio 1.9556.
    rows = [[True, True], [True, True], [True, False], [False, False]]
    assert design_effect(rows) == pytest.approx(1.955556, abs=1e-6)


def test_where_all_repeats_end_alike_only_the_states_count():
    # 10 states, 3 repeats, all solved: what is known is 10 of 10
    assert Rate.of([[True] * 3] * 10).interval == pytest.approx(wilson(10, 10))


def paired(both: int, gained: int, lost: int, neither: int, repeats: int = 1) -> Paired:
    counts = (both, gained, lost, neither)
    outcomes = ((True, True), (True, False), (False, True), (False, False))
    pairs = [pair for pair, n in zip(outcomes, counts, strict=True) for _ in range(n)]
    return Paired.of([[new] * repeats for new, _ in pairs], [[old] * repeats for _, old in pairs])


def test_mcnemars_exact_test_tosses_a_coin_for_each_state_that_differs():
    # 9 gained, 2 lost: 2 (C(11,0) + C(11,1) + C(11,2)) / 2¹¹ = 2 · 67 / 2048 = 0.0654297
    pair = paired(30, 9, 2, 10)
    assert pair.p_value == pytest.approx(0.0654297, abs=1e-6)
    # (9 - 2) / 51
    assert pair.difference == pytest.approx(0.1372549, abs=1e-6)
    assert pair.interval == newcombe(30, 9, 2, 10)
    assert paired(5, 0, 0, 3).p_value == 1.0


def test_repeats_that_are_copies_make_no_difference_any_surer():
    once, thrice = paired(30, 9, 2, 10), paired(30, 9, 2, 10, repeats=3)
    assert thrice.gained == 27
    assert thrice.difference == once.difference
    assert thrice.p_value == once.p_value
    assert thrice.interval == pytest.approx(once.interval)


def test_a_state_is_gained_where_more_of_its_repeats_are_solved():
    new = [[True, True, False], [True, False, False], [False, False, True]]
    old = [[True, False, False], [True, True, False], [True, False, False]]
    pair = Paired.of(new, old)
    # first: 2 of 3 against 1 of 3; second: 1 against 2; third: 1 against 1
    assert (pair.states_gained, pair.states_lost) == (1, 1)
    # repeats: (T,T) (T,F) (F,F) | (T,T) (F,T) (F,F) | (F,T) (F,F) (T,F)
    assert (pair.both, pair.gained, pair.lost, pair.neither) == (2, 2, 2, 3)


def test_a_comparison_says_points_interval_states_and_p():
    # Newcombe of 30, 9, 2, 10: see above; in points
    text = str(paired(30, 9, 2, 10))
    assert text.startswith("+13.7 points (95 % interval ")
    assert text.endswith("9 initial states gained, 2 lost, McNemar's exact test p = 0.065")
