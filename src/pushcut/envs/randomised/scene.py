"""What a simulator is told to draw or place differently: lights, colours, cameras, the table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from pushcut.envs.randomised.draws import Draws
from pushcut.errors import UserError

Colour = tuple[float, float, float]
"""Red, green and blue, 0 to 1."""

SMALLEST, LARGEST = 0.015, 0.045
"""Half the size of distractors, metres."""


@dataclass(frozen=True)
class Distractor:
    """An object that is drawn and that nothing can touch."""

    shape: Literal["box", "sphere", "cylinder"]
    place: tuple[float, float]
    """Where on the table, as shares of its two sides."""
    size: float
    """Half its width and height, metres."""
    colour: Colour


@dataclass(frozen=True)
class CameraChange:
    """How a camera differs from the simulator's."""

    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Displacement, metres, in the world's directions."""
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Rotation in the camera's frame, axis times angle, radians."""
    view: float = 1.0
    """Factor of the angle of view."""


@dataclass(frozen=True)
class Scene:
    """How an episode is drawn; physics never sees any of it."""

    light_turn: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Rotation of the lights around the middle of the scene, axis times angle, radians."""
    light: float = 1.0
    """Factor of the lights' intensity."""
    table: tuple[float, Colour] = (0.0, (0.0, 0.0, 0.0))
    """Share of the table's colour that is replaced, and by what."""
    background: tuple[float, Colour] = (0.0, (0.0, 0.0, 0.0))
    """Share of the floor's and the walls' colour that is replaced, and by what."""
    cameras: tuple[tuple[str, CameraChange], ...] = ()
    """Camera of the spec -> its change; those that are not named stay."""
    distractors: tuple[Distractor, ...] = ()


@runtime_checkable
class ShowsScenes(Protocol):
    """What an ``Env`` has besides, if it can draw an episode differently."""

    def show(self, scene: Scene | None) -> None:
        """Draws what follows so, until it is told otherwise; None: as the simulator has it."""
        ...


@runtime_checkable
class RaisesTables(Protocol):
    """What an ``Env`` has besides, if the table can stand higher or lower under its robot."""

    def raise_table(self, metres: float) -> None:
        """Episodes that are started from now on have the table so much higher than usual."""
        ...


def showing(env: Any) -> ShowsScenes:
    """The environment, as one that draws scenes; UserError where it does not."""
    if isinstance(env, ShowsScenes):
        return env
    raise UserError("this simulator cannot draw other scenes (it has no method show(scene))")


def scene_of(draws: Draws, cameras: tuple[str, ...]) -> Scene:
    """What the axes of the simulator do in an episode."""
    turn = np.deg2rad(draws.direction("light_angle", 3))
    changes = tuple((name, _camera(draws, name)) for name in cameras)
    return Scene(
        light_turn=_three(turn),
        light=1 + draws.signed("light_intensity"),
        table=_colour(draws, "table_colour"),
        background=_colour(draws, "background_colour"),
        cameras=tuple((name, change) for name, change in changes if change != CameraChange()),
        distractors=_distractors(draws),
    )


def _camera(draws: Draws, name: str) -> CameraChange:
    where = f"/{name}"
    return CameraChange(
        shift=_three(draws.direction("camera_position", 3, where)),
        turn=_three(np.deg2rad(draws.direction("camera_angle", 3, where))),
        view=1 + draws.signed("field_of_view", where),
    )


def _colour(draws: Draws, axis: str) -> tuple[float, Colour]:
    return draws.scale(axis), _three(draws.stream(f"{axis}/colour").random(3))


def _distractors(draws: Draws) -> tuple[Distractor, ...]:
    rng = draws.stream("distractors/each")
    shapes: tuple[Literal["box", "sphere", "cylinder"], ...] = ("box", "sphere", "cylinder")
    found = []
    for _ in range(draws.steps("distractors")):
        shape = shapes[int(rng.integers(len(shapes)))]
        x, y = rng.random(2).tolist()
        size = float(rng.uniform(SMALLEST, LARGEST))
        found.append(Distractor(shape, (x, y), size, _three(rng.random(3))))
    return tuple(found)


def _three(vector: np.ndarray) -> tuple[float, float, float]:
    x, y, z = vector.tolist()
    return x, y, z
