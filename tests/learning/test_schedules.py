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


def test_pi_rls_cosine_over_1000_iterations_has_fallen_to_0_551_at_the_500th():
    # 0.1 + 0.9 * (1 + cos(0.499 pi)) / 2 = 0.1 + 0.45 * 1.0031416 = 0.5514.
    got = warmup_cosine(499, warmup=0, ramp=1, decay=1000)
    assert got == pytest.approx(0.5514137, abs=1e-6)


def test_a_cosine_can_end_at_nothing():
    # Half of the way 0.5, at the end 0.
    got = [warmup_cosine(i, warmup=0, ramp=1, decay=1000, floor=0.0) for i in (0, 500, 1000)]
    assert got == pytest.approx([1.0, 0.5, 0.0])


def test_rates_of_sft_are_those_of_earlier_versions_to_the_bit():
    got = rates(0, 2, 6, 49, 50, 51, 777, 1025, 1999, peak=1e-3, warmup=50, ramp=50, decay=1950)
    assert got == [
        2e-05,
        6e-05,
        0.00014000000000000001,
        0.001,
        0.001,
        0.000999999415999866,
        0.0007250501223447086,
        0.00055,
        0.0001000005840001341,
    ]


def test_rates_of_rl_are_those_of_earlier_versions_to_the_bit():
    shares = rates(0, 1, 2, 4, 5, 6, 12, 15, 24, 25, 99, warmup=5, ramp=6, decay=20)
    assert [1e-4 * share for share in shares] == [
        1.6666666666666667e-05,
        3.3333333333333335e-05,
        5e-05,
        8.333333333333334e-05,
        0.0001,
        9.94459753267812e-05,
        7.542957248827961e-05,
        5.500000000000001e-05,
        1.0554024673218807e-05,
        1e-05,
        1e-05,
    ]
