"""Sequences drawn token by token, on a chain whose probabilities are known."""

import math

import torch

from pushcut.policies.tokens.sequences import draw_sequences

END = 2
CHAIN = torch.tensor([[0.0, 0.75, 0.25], [0.5, 0.0, 0.5], [0.0, 0.0, 1.0]]).log()
"""Row: logits after token 0, 1 or 2; a token never follows itself but for the end."""


def drawn(uniform, *, room=4, temperature=1.0):
    first = CHAIN[0].expand(len(uniform) if uniform is not None else 2, -1)
    return draw_sequences(
        first, lambda token: CHAIN[token], end=END, room=room, uniform=uniform,
        temperature=temperature,
    )  # fmt: skip


def test_a_sequence_goes_up_to_its_end_token_which_is_counted():
    # Row 0: 0.5 < 0.75 is token 1, then 0.6 > 0.5 is the end. Row 1: 0.8 is the end at once.
    got = drawn(torch.tensor([[0.5, 0.6, 0.0, 0.0], [0.8, 0.0, 0.0, 0.0]]))
    assert got.ids.tolist() == [[1, 2, 0, 0], [2, 0, 0, 0]]
    assert got.drawn.tolist() == [[True, True, False, False], [True, False, False, False]]
    total = got.logprob.sum(1)
    torch.testing.assert_close(total, torch.tensor([0.75 * 0.5, 0.25]).log())


def test_a_sequence_without_an_end_fills_its_room():
    got = drawn(torch.tensor([[0.5, 0.2, 0.5, 0.2]]))
    assert got.ids.tolist() == [[1, 0, 1, 0]] and bool(got.drawn.all())
    torch.testing.assert_close(got.logprob.sum(), torch.tensor(2 * math.log(0.75 * 0.5)))


def test_without_noise_the_likeliest_tokens_are_taken():
    assert drawn(None, room=1).ids.tolist() == [[1], [1]]


def test_the_temperature_flattens_what_is_drawn_from():
    # Square roots of 0.75 and 0.25, made to sum to 1: 0.634 and 0.366.
    got = drawn(torch.tensor([[0.64, 0.99, 0.0, 0.0]]), temperature=2.0)
    assert got.ids[0, 0] == END
    want = 0.25**0.5 / (0.25**0.5 + 0.75**0.5)
    torch.testing.assert_close(got.logprob[0, 0], torch.tensor(math.log(want)))


def test_the_last_of_many_words_is_drawn_from_its_own_share():
    logits = torch.zeros(1, 257_152)
    got = draw_sequences(
        logits, lambda token: logits, end=257_151, room=1,
        uniform=torch.tensor([[1 - 2**-24]]), temperature=1.0,
    )  # fmt: skip
    assert got.ids[0, 0] == 257_151
    got = draw_sequences(
        logits, lambda token: logits, end=0, room=1,
        uniform=torch.tensor([[0.5]]), temperature=1.0,
    )  # fmt: skip
    assert got.ids[0, 0] == 257_152 // 2
