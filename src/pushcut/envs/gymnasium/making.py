"""How a gymnasium environment is made and looked at, and what is known of it without making it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

RENDER = "render"
"""The camera that ``env.render()`` is."""


@dataclass(frozen=True)
class Making:
    """All that the simulator of one task depends on; hashable, so that it is measured once."""

    id: str
    kwargs: tuple[tuple[str, str], ...]
    """Names, and values as JSON."""
    module: str
    """Imported first; it registers the id."""
    cameras: tuple[str, ...]
    state: tuple[str, ...]
    restart: Literal["reset", "make"]
    draw: Literal["asked", "step"]

    @property
    def arguments(self) -> dict[str, Any]:
        """For ``gymnasium.make``, beside the id."""
        return {name: json.loads(value) for name, value in self.kwargs}


@dataclass(frozen=True)
class Facts:
    """What an environment turned out to be."""

    state_names: tuple[str, ...]
    action_low: tuple[float, ...]
    action_high: tuple[float, ...]
    """The environment's own bounds."""
    max_steps: int
    """The time limit that it was registered with; 0 for none."""
    control_hz: float
    """Simulator steps per second, from its metadata."""


def as_json(text: str) -> str:
    """A value of the command line as JSON: what is no JSON is a string."""
    try:
        return json.dumps(json.loads(text))
    except ValueError:
        return json.dumps(text)
