"""Which action is due: latency compensation, temporal ensembling, and the end of a chunk."""

import math

import numpy as np
import pytest

from pushcut.client import Chunks


def chunk(*values: float) -> np.ndarray:
    return np.array([[value] for value in values])


def test_the_steps_that_passed_while_the_policy_worked_are_skipped():
    chunks = Chunks(10.0)
    chunks.add(5.0, chunk(0, 1, 2, 3))
    assert [chunks.at(5.0 + t) for t in (0.0, 0.1, 0.31)] == [0, 1, 3]
    assert chunks.at(5.4) is None  # used up
    assert chunks.at(4.8) is None  # not due yet


def test_the_newest_chunk_counts_alone_unless_chunks_are_averaged():
    newest, mean = Chunks(10.0), Chunks(10.0, decay=math.log(2))
    for chunks in (newest, mean):
        chunks.add(0.0, chunk(0, 6, 6))
        chunks.add(0.1, chunk(3, 3, 3))
    assert newest.at(0.1) == 3
    # Oldest first: weights 1 and 1/2, (6 * 1 + 3 * 1/2) / 1.5 = 5.
    assert mean.at(0.1) == pytest.approx([5.0])
    assert mean.at(0.3) == 3  # the first one does not reach so far


def test_what_is_no_chunk_is_refused():
    chunks = Chunks(10.0)
    for wrong in (np.zeros(3), np.zeros((0, 3)), chunk(math.nan)):
        with pytest.raises(ValueError, match="no chunk of finite numbers"):
            chunks.add(0.0, wrong)
    chunks.add(0.0, np.zeros((2, 3)))
    with pytest.raises(ValueError, match="actions of 4 numbers, before that of 3"):
        chunks.add(0.1, np.zeros((2, 4)))
