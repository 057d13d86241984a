"""Five sub-tasks in a row: the benchmark's 1,000 chains, and others by the rule that made them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from pushcut.envs.calvin.tasks import CONDITIONS, TASKS, Condition

LENGTH = 5
"""Sub-tasks of a chain."""
OFFICIAL = 1000
"""Chains of the benchmark's evaluation."""

FILE = Path(__file__).with_name("chains.npy")
"""The official chains, as ``generate`` makes them; that takes minutes."""

Chain = tuple[Condition, tuple[str, ...]]
"""What it starts from, and its sub-tasks."""


def chain_of(seed: int) -> Chain:
    """The chain of a seed: official below 1,000, else drawn from all that the rule allows."""
    if seed < OFFICIAL:
        condition, *places = _official()[seed].tolist()
        names = list(TASKS)
        return CONDITIONS[condition], tuple(names[place] for place in places)
    rng = np.random.default_rng(seed)
    condition = CONDITIONS[int(rng.integers(len(CONDITIONS)))]
    chains = possible_chains(condition)
    return condition, chains[int(rng.integers(len(chains)))]


def is_chain(condition: Condition, names: tuple[str, ...]) -> bool:
    """Whether each sub-task has exactly one outcome, and no two are of one category."""
    if len({TASKS[name].category for name in names}) < len(names):
        return False
    for name in names:
        after = TASKS[name].successors(condition)
        if len(after) != 1:
            return False
        condition = after[0]
    return True


@cache
def possible_chains(condition: Condition) -> tuple[tuple[str, ...], ...]:
    """Every chain from a condition; the official rule draws all of them equally often."""
    return tuple(_continuations(condition, frozenset(), LENGTH))


def _continuations(
    condition: Condition, used: frozenset[int], length: int
) -> list[tuple[str, ...]]:
    if length == 0:
        return [()]
    found = []
    for name, task in TASKS.items():
        if task.category in used:
            continue
        after = task.successors(condition)
        if len(after) == 1:
            rest = _continuations(after[0], used | {task.category}, length - 1)
            found += [(name, *names) for names in rest]
    return found


def generate() -> UInt8[np.ndarray, "n 6"]:
    """The official chains by the official rule: place of the condition, then of each sub-task.

    Each condition has a generator of its own, seeded with its place, and tries five different
    sub-tasks until they are a chain; all are shuffled in the end. Needs some minutes.
    """
    shares = np.array_split(np.arange(OFFICIAL), len(CONDITIONS))
    rows = [row for place, share in enumerate(shares) for row in draw_by_trial(place, len(share))]
    np.random.RandomState(0).shuffle(rows)
    return np.array(rows, np.uint8)


def draw_by_trial(place: int, count: int) -> list[tuple[int, ...]]:
    """The first chains of the condition at a place, as rows of ``generate``."""
    rng = np.random.RandomState(place)
    names = np.array(list(TASKS))
    allowed = set(possible_chains(CONDITIONS[place]))
    rows: list[tuple[int, ...]] = []
    while len(rows) < count:
        places = rng.choice(len(names), LENGTH, replace=False)
        if tuple(names[places].tolist()) in allowed:
            rows.append((place, *places.tolist()))
    return rows


@cache
def _official() -> UInt8[np.ndarray, "1000 6"]:
    return np.load(FILE, allow_pickle=False)
