"""What ranks send each other, and what they need not."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist

from pushcut.ranks.config import RanksConfig
from pushcut.ranks.start import joined
from tests.ranks.launch import on_ranks


class Told:
    """Counts how often it is pickled."""

    pickled = 0

    def __init__(self, text: str) -> None:
        self.text = text

    def __reduce__(self) -> tuple[type, tuple[str]]:
        type(self).pickled += 1
        return Told, (self.text,)


def exchanged() -> dict[str, Any]:
    with joined(RanksConfig(), gpus=False) as ranks:
        messages: list[str] = []
        send = dist.all_to_all_single

        def noted(*arguments: Any) -> Any:
            messages.append("sent")
            return send(*arguments)

        dist.all_to_all_single = noted
        own = Told(f"{ranks.index} to itself")
        kept: list[Told | None] = [None, None]
        kept[ranks.index] = own
        alone = ranks.exchange(kept)
        seen: dict[str, Any] = {
            "kept is the same object": alone[ranks.index] is own,
            "others": alone[1 - ranks.index],
            "messages": len(messages),
            "pickled": Told.pickled,
        }
        crossed = ranks.exchange([Told(f"{ranks.index} to {other}") for other in range(2)])
        seen["crossed"] = [told.text for told in crossed]
        seen["messages then"], seen["pickled then"] = len(messages), Told.pickled
        one_way = ranks.exchange([torch.ones(3), None] if ranks.index else [None, None])
        seen["one way"] = [None if x is None else x.tolist() for x in one_way]
        return seen


def test_a_rank_neither_pickles_nor_sends_what_it_keeps():
    want = {
        "kept is the same object": True,
        "others": None,
        "messages": 0,
        "pickled": 0,
        "messages then": 1,
        "pickled then": 1,
    }
    assert on_ranks(2, exchanged) == [
        want | {"crossed": ["0 to 0", "1 to 0"], "one way": [None, [1.0, 1.0, 1.0]]},
        want | {"crossed": ["0 to 1", "1 to 1"], "one way": [None, None]},
    ]
