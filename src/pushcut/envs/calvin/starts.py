"""What an episode starts with: its sub-tasks, and where door, drawer, lights and blocks are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float64

from pushcut.envs.calvin.chains import chain_of
from pushcut.envs.calvin.scenes import (
    BUTTON_Y,
    COLOURS,
    DRAWER_OPEN,
    EDGE,
    SCENE_OBS,
    SCENES,
    SHELF_Y,
    SURFACE_Z,
    SWITCH_ON,
    TABLE_Y,
    SceneFacts,
)
from pushcut.envs.calvin.tasks import CONDITIONS, TASKS, Condition

CHAIN = "chain"
"""The task of five sub-tasks in a row."""

SLIDER_LEFT = (-0.240851662, 0.0924044687, 0.460990009)
SLIDER_RIGHT = (0.070341633, 0.0924044687, 0.460990009)
TABLE = (
    (0.0500000896, -0.120000177, 0.459990009),
    (0.229995412, -0.11999514, 0.45999001),
)
"""Where the benchmark's evaluation puts blocks."""
YAW = (np.pi / 2 - np.pi / 8, np.pi / 2 + np.pi / 8)

APART = 0.12
"""Smallest distance between the centres of two blocks on the table, or of one and the button, where
places are drawn."""
DRAWER_FLOOR = 0.36
"""Height of a block's centre in the drawer."""
DRAWER_Y = -0.05
"""Middle of the closed drawer's hollow; it moves towards the viewer."""


@dataclass(frozen=True)
class Start:
    """The start of an episode."""

    letter: str
    """The scene."""
    subtasks: tuple[str, ...]
    """What is to be done, in order."""
    scene_obs: tuple[float, ...]
    """State of the scene, 24 numbers as the benchmark has them."""
    held: str = ""
    """Colour of the block that is in the hand."""
    settle: bool = False
    """Whether things come to rest before the episode; the benchmark's own starts do not."""

    @property
    def blocks(self) -> Float64[np.ndarray, "3 6"]:
        """Position and Euler angles of each block."""
        return np.array(self.scene_obs[6:]).reshape(3, 6)


def letter_of(letters: str, seed: int) -> str:
    """The scene of a seed."""
    return letters[int(np.random.default_rng((seed, 1)).integers(len(letters)))]


def start_of(task: str, letter: str, seed: int) -> Start:
    """The start of an episode of ``chain`` or of a sub-task, in a scene.

    A chain's is the benchmark's where the scene has room for it; else places are drawn from the
    scene's own regions. A sub-task starts from a condition that allows it, drawn by the seed.
    """
    if task == CHAIN:
        condition, subtasks = chain_of(seed)
    else:
        rng = np.random.default_rng((seed, 2))
        allowed = conditions_for(task)
        condition, subtasks = allowed[int(rng.integers(len(allowed)))], (task,)
    obs = scene_state(condition, SCENES[letter], np.random.default_rng((seed, 3)))
    held = next((c for c in COLOURS if condition.block(c) == "grasped"), "")
    settle = not _is_official(condition, SCENES[letter])
    return Start(letter, subtasks, tuple(obs.tolist()), held, settle)


@cache
def conditions_for(task: str) -> tuple[Condition, ...]:
    """Conditions in which a sub-task has one outcome.

    Where none of the 192 does, they are those that another sub-task brings about: a block in the
    hand, in the drawer, or on another.
    """
    found = _allowing(task, CONDITIONS)
    made: Iterable[Condition] = CONDITIONS
    while not found:
        made = dict.fromkeys(
            after for one in made for other in TASKS.values() for after in other.successors(one)
        )
        found = _allowing(task, made)
    return tuple(found)


def _allowing(task: str, conditions: Iterable[Condition]) -> list[Condition]:
    return [one for one in conditions if len(TASKS[task].successors(one)) == 1]


def scene_state(
    condition: Condition, facts: SceneFacts, rng: np.random.Generator
) -> Float64[np.ndarray, " 24"]:
    """State of a scene in a condition; ``rng`` draws what the benchmark does not say."""
    obs = np.zeros(SCENE_OBS)
    obs[0] = facts.slide_limit if condition.slider == "left" else 0.0
    obs[1] = DRAWER_OPEN if condition.drawer == "open" else 0.0
    obs[3] = SWITCH_ON * condition.lightbulb
    obs[4], obs[5] = condition.lightbulb, condition.led
    official = _is_official(condition, facts)
    blocks = _official_blocks(condition) if official else _drawn_blocks(condition, facts, rng)
    obs[6:] = blocks.ravel()
    return obs


def _is_official(condition: Condition, facts: SceneFacts) -> bool:
    """Whether the benchmark says where everything starts."""
    return facts.official_starts and condition in CONDITIONS


def seed_of(condition: Condition) -> int:
    """The benchmark's seed of a condition: FNV-1, 32 bits, begun with 0, of its values as text.

    The text is Python's of a dictionary's values, in UTF-16, little end first.
    """
    text = f"dict_values([{', '.join(map(repr, condition.values))}])"
    value = 0
    for byte in text.encode("utf-16-le"):
        value = (value * 0x01000193) % 2**32 ^ byte
    return value


def _official_blocks(condition: Condition) -> Float64[np.ndarray, "3 6"]:
    """Poses of the blocks as the benchmark's evaluation draws them."""
    rng = np.random.RandomState(seed_of(condition))
    order = [0, 1]
    rng.shuffle(order)
    first, second = (TABLE[place] for place in order)
    # The second block on the table takes the second place; pink always does.
    free = {"red": first, "blue": second if condition.red == "table" else first, "pink": second}
    blocks = np.zeros((3, 6))
    for row, colour in enumerate(COLOURS):
        shelf = {"slider_left": SLIDER_LEFT, "slider_right": SLIDER_RIGHT}
        blocks[row, :3] = shelf.get(condition.block(colour), free[colour])
        blocks[row, 5] = rng.uniform(*YAW)
    return blocks


def _drawn_blocks(
    condition: Condition, facts: SceneFacts, rng: np.random.Generator
) -> Float64[np.ndarray, "3 6"]:
    """Poses of the blocks from the scene's regions; a held one is left at zero."""
    blocks = np.zeros((3, 6))
    blocks[:, 5] = rng.uniform(*YAW, 3)
    taken = [np.array((facts.button_x, BUTTON_Y))]  # in C the button is where blocks may be
    for row, colour in enumerate(COLOURS):
        place = condition.block(colour)
        if place in ("table", "stacked_bottom"):
            blocks[row, :3] = _on_table(facts, taken, rng)
            taken.append(blocks[row, :2])
        elif place.startswith("slider_"):
            x = rng.uniform(*_inner(facts.shelf_x(place)))
            blocks[row, :3] = x, np.mean(SHELF_Y), SURFACE_Z
        elif place == "drawer":
            drawer_y = DRAWER_Y - (DRAWER_OPEN if condition.drawer == "open" else 0.0)
            x = facts.drawer_x + rng.uniform(-0.05, 0.05)
            blocks[row, :3] = x, drawer_y, DRAWER_FLOOR
    for row, colour in enumerate(COLOURS):
        if condition.block(colour) == "stacked_top":
            below = next(i for i, c in enumerate(COLOURS) if condition.block(c) == "stacked_bottom")
            blocks[row] = blocks[below]
            blocks[row, 2] += EDGE
    return blocks


def _on_table(
    facts: SceneFacts, taken: list[np.ndarray], rng: np.random.Generator
) -> tuple[float, float, float]:
    while True:
        x, y = rng.uniform(*_inner(facts.table_x)), rng.uniform(*TABLE_Y)
        if all(np.hypot(x - at[0], y - at[1]) > APART for at in taken):
            return x, y, SURFACE_Z


def _inner(limits: tuple[float, float]) -> tuple[float, float]:
    """Limits with room for half of a block at both ends."""
    low, high = limits
    return low + 0.04, high - 0.04
