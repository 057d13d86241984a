"""What the benchmark's objects, receptacles and instructions are called, in its own order."""

from __future__ import annotations

OBJECTS = (
    "carrot", "kitchen shovel", "bread", "plastic bottle", "7up can", "zuchinni", "ketchup bottle",
    "watering can", "pipe", "toy bear", "fast food cup", "plant", "banana", "hamburger",
    "golf ball", "BBQ sauce", "travel cup", "pepper", "nonstop can", "potato", "baguette",
    "champagne glass", "kitchen spoon", "onion", "cup",
)  # fmt: skip
"""The first 16 are trained on, the other 9 are for tests."""

RECEPTACLES = (
    "plate", "cloth", "carpet", "newspaper", "sheet metal", "drawing tablet", "tomato slice",
    "pizza", "flat bowl", "gramophone disk", "frying pan", "mouse pad", "cutting board",
    "chess board", "manhole cover", "envelope", "notepad",
)  # fmt: skip

TABLES = 21
"""Photographs, each with a texture; the first 16 are trained on."""

TEMPLATES = (
    "put {o} on {r}",
    "Place the {o} on the {r}",
    "set {o} on {r}",
    "move the {o} to the {r}",
    "Take the {o} and put it on the {r}",
    "pick up {o} and set it down on {r}",
    "please put the {o} on the {r}",
    "Put {o} onto {r}.",
    "place the {o} onto the {r} surface",
    "Make sure {o} is on {r}.",
    "on the {r}, put the {o}",
    "put the {o} where the {r} is",
    "Move the {o} from the table to the {r}",
    "Move {o} so it\N{RIGHT SINGLE QUOTATION MARK}s on {r}.",
    "Can you put {o} on {r}?",
    "{o} on the {r}, please.",
    "the {o} should be placed on the {r}.",
)
"""The first is trained on, the other 16 are what Instruct-v1-test says, word for word: what a
policy reads is a part of the benchmark, like a camera's name."""


def sentence(obj: int, receptacle: int, template: int = 0) -> str:
    """The instruction for an object and a receptacle, by their places in the lists."""
    return TEMPLATES[template].format(o=OBJECTS[obj], r=RECEPTACLES[receptacle])
