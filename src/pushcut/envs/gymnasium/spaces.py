"""What gymnasium's spaces become: named numbers of a state, cameras, bounds of an action.

This module imports gymnasium, so it is itself imported late.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from jaxtyping import Float32, UInt8

from pushcut.errors import UserError

WHOLE = "observation"
"""What an observation without keys is called."""
ALL = "all"
"""Stands for every vector of the observation."""


def leaves(space: gymnasium.Space, name: str = "") -> dict[str, gymnasium.Space]:
    """The parts of an observation space; dots lead into dictionaries."""
    if not isinstance(space, spaces.Dict):
        return {name or WHOLE: space}
    parts: dict[str, gymnasium.Space] = {}
    for key, inner in space.spaces.items():
        parts |= leaves(inner, f"{name}.{key}" if name else str(key))
    return parts


def part_of(observation: Any, name: str) -> np.ndarray:
    """The part of an observation that ``leaves`` calls so."""
    if name == WHOLE and not isinstance(observation, Mapping):
        return np.asarray(observation)
    for key in name.split("."):
        observation = observation[key]
    return np.asarray(observation)


def is_image(space: gymnasium.Space) -> bool:
    """Whether a part is an RGB image."""
    return (
        isinstance(space, spaces.Box)
        and space.dtype == np.uint8
        and len(space.shape) == 3
        and space.shape[2] == 3
    )


def is_vector(space: gymnasium.Space) -> bool:
    """Whether a part is a few numbers."""
    return isinstance(space, spaces.Box) and len(space.shape) <= 1


class StateReader:
    """Picks the numbers of the state out of an observation."""

    def __init__(self, space: gymnasium.Space, wanted: tuple[str, ...]) -> None:
        """``wanted``: parts, single numbers, or ``all``; UserError for what is not there."""
        parts = leaves(space)
        numbers = {
            f"{name}_{index}".replace(".", "_"): (name, index)
            for name, part in parts.items()
            if isinstance(part, spaces.Box) and not is_image(part)
            for index in range(int(np.prod(part.shape)))
        }
        vectors = [name for name, part in parts.items() if is_vector(part)]
        self._where: dict[str, tuple[str, int]] = {}
        for asked in wanted:
            chosen = vectors if asked == ALL else [asked]
            found = {n: w for n, w in numbers.items() if w[0] in chosen or n == asked}
            if not found and asked != ALL:
                some = list(numbers)[:8] + (["…"] if len(numbers) > 8 else [])
                raise UserError(
                    f"--env.state {asked}: the observation has {sorted(parts)}, numbers "
                    f"{', '.join(some) or 'none'}"
                )
            self._where |= found
        self._parts = list(dict.fromkeys(name for name, _ in self._where.values()))

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each number."""
        return tuple(self._where)

    def read(self, observation: Any) -> Float32[np.ndarray, " s"]:
        """The numbers of one observation."""
        flat = {name: part_of(observation, name).reshape(-1) for name in self._parts}
        state = [flat[name][index] for name, index in self._where.values()]
        return np.array(state, dtype=np.float32)


def bounds(space: gymnasium.Space) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest action; UserError for actions that no policy here can choose."""
    if not isinstance(space, spaces.Box) or not np.issubdtype(space.dtype, np.floating):
        raise UserError(f"its actions are {space}; policies here need a Box of floats")
    low, high = (np.asarray(x, np.float64).reshape(-1) for x in (space.low, space.high))
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()):
        raise UserError(
            f"its actions have no bounds ({space}); give it some, for example with "
            "gymnasium.wrappers.RescaleAction in the function that registers it"
        )
    return low, high


def square(image: Any, size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """An image stretched to a square."""
    from PIL import Image

    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise UserError(f"an image must be uint8 [H, W, 3], got {image.dtype} {list(image.shape)}")
    if image.shape[:2] == (size, size):
        return np.ascontiguousarray(image)
    picture = Image.fromarray(np.ascontiguousarray(image))
    return np.asarray(picture.resize((size, size), Image.Resampling.BOX))
