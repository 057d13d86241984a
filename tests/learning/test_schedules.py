import pytest

from pushcut.learning.schedules import warmup_cosine


def rates(*steps: int, warmup: int, ramp: int, decay: int, peak: float = 1.0) -> list[float]:
    return [warmup_cosine(i, peak=peak, warmup=warmup, ramp=ramp, decay=decay) for i in steps]


def test_a_warm_up_of_rl_ends_below_the_peak_and_the_rate_stays_there():
    # 1/4, 2/4, 3/4 of the peak, then all of it.
    got = rates(0, 1, 2, 3, 99, warmup=3, ramp=4, decay=0)
    assert got == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])


def test_a_warm_up_of_sft_ends_at_the_peak():
    # 1/10, 2/10, ... 10/10 of the peak of 2.
    got = rates(0, 9, 10, warmup=10, ramp=10, decay=100, peak=2.0)
    assert got == pytest.approx([0.2, 2.0, 2.0])


def test_the_learning_rate_falls_as_a_cosine_to_a_tenth():
    # Half of the way: 0.1 + 0.9 * (1 + cos 90 degrees) / 2 = 0.55; it stays at 0.1.
    got = rates(10, 60, 110, 999, warmup=10, ramp=10, decay=100)
    assert got == pytest.approx([1.0, 0.55, 0.1, 0.1])
