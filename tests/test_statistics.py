import subprocess
import sys

import pytest

from pushcut.statistics import wilson


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


def test_no_episodes_tell_nothing():
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("successes", "episodes"), [(-1, 5), (6, 5), (0, -1)])
def test_impossible_counts_are_refused(successes: int, episodes: int):
    with pytest.raises(ValueError, match="need 0 <= successes <= episodes"):
        wilson(successes, episodes)


def test_an_impossible_confidence_is_refused():
    with pytest.raises(ValueError, match="between 0 and 1, got 95"):
        wilson(1, 2, confidence=95.0)


def test_scipy_is_imported_only_when_an_interval_is_asked_for():
    code = "import sys, pushcut.statistics; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
