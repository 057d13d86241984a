"""Random numbers of a batch that is computed in parts."""

import numpy as np
import pytest

from pushcut.learning.draws import SIZE_AT, RowsOf

STATE = np.random.default_rng(3).bit_generator.state
ROWS = np.array([1, 4])


def whole() -> np.random.Generator:
    return np.random.default_rng(3)


CALLS = {
    "noise": lambda g, b: g.standard_normal((b, 3, 2), dtype=np.float32),
    "noise, by position": lambda g, b: g.standard_normal((b, 3), np.float32),
    "times": lambda g, b: g.beta(1.5, 1.0, size=b),
    "times, by position": lambda g, b: g.beta(1.5, 1.0, b),
    "integers": lambda g, b: g.integers(0, 10, size=(b, 4)),
    "integers from 0": lambda g, b: g.integers(9, size=(b,), dtype=np.int32),
    "uniform": lambda g, b: g.uniform(size=(b, 1)),
    "normal": lambda g, b: g.normal(0.0, 2.0, (b, 5)),
    "random": lambda g, b: g.random(b),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_part_draws_what_its_rows_have_in_the_whole_batch(name):
    draw = CALLS[name]
    assert np.array_equal(draw(RowsOf(STATE, 5, ROWS), 2), draw(whole(), 5)[ROWS])


def test_one_draw_follows_another_and_the_state_is_that_of_the_whole_batch():
    part, batch = RowsOf(STATE, 5, ROWS), whole()
    for draw in CALLS.values():
        assert np.array_equal(draw(part, 2), draw(batch, 5)[ROWS])
    assert part.bit_generator.state == batch.bit_generator.state


def test_what_is_not_drawn_for_each_row_is_the_same_for_all_parts():
    part, batch = RowsOf(STATE, 5, ROWS), whole()
    assert part.integers(1000) == batch.integers(1000)
    assert np.array_equal(part.random(7), batch.random(7))


def test_sizes_are_where_numpy_has_them():
    for name, place in SIZE_AT.items():
        arguments = [0.5] * place if name not in ("integers", "binomial") else [3, 0.5][:place]
        if name == "integers":
            arguments = [0, 5]
        assert np.shape(getattr(whole(), name)(*arguments, (4, 2))) == (4, 2)
