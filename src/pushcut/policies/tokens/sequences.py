"""Sequences of tokens, drawn one after the other until an end token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pushcut.policies.tokens.head import draw


@dataclass(frozen=True)
class Sequences:
    """Token sequences of a batch, each up to its end token, in a room of one length."""

    ids: Int[Tensor, "b room"]
    """0 behind the end."""
    drawn: Bool[Tensor, "b room"]
    """Which tokens there are; the end token is one."""
    logprob: Float[Tensor, "b room"]
    """Under the distribution that each was drawn from; 0 behind the end."""


def draw_sequences(
    first: Float[Tensor, "b words"],
    follow: Callable[[Int[Tensor, " b"]], Float[Tensor, "b words"]],
    *,
    end: int,
    room: int,
    uniform: Float[Tensor, "b room"] | None,
    temperature: float,
) -> Sequences:
    """Draws tokens until each row has its end token, or there is no more room.

    Args:
        first: Logits of the first token.
        follow: The last token of each row -> the logits of the next one. Rows that are done are
            asked too, so that no row's numbers depend on when the others end.
        end: The token that ends a sequence.
        room: The most tokens of a sequence.
        uniform: Noise in [0, 1) for each token; None takes the likeliest.
        temperature: softmax(logits / temperature) is what is drawn from.
    """
    logits, b = first, len(first)
    ids = torch.zeros(b, room, dtype=torch.long, device=first.device)
    drawn = torch.zeros(b, room, dtype=torch.bool, device=first.device)
    logprob = torch.zeros(b, room, device=first.device)
    going = torch.ones(b, dtype=torch.bool, device=first.device)
    for place in range(room):
        scaled = logits / temperature
        if uniform is None:
            token = logits.argmax(-1)
        else:
            # In float64: over so many words float32 would lose the last of them to rounding.
            token = draw(scaled.double(), uniform[:, place].double())
        chosen = scaled.log_softmax(-1).gather(-1, token.unsqueeze(-1)).squeeze(-1)
        ids[:, place] = torch.where(going, token, 0)
        drawn[:, place] = going
        logprob[:, place] = torch.where(going, chosen, 0.0)
        going = going & (token != end)
        if place == room - 1 or not bool(going.any()):
            break
        logits = follow(token)
    return Sequences(ids, drawn, logprob)
