"""What is randomised and how far: the axes, by group, and the strength of each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Group = Literal["vision", "semantic", "execution"]
"""Vision: what is seen. Semantic: what is told. Execution: how actions and states travel.
The groups of pi_RL's generalisation tests (Chen et al. 2025, section 5.3)."""


@dataclass(frozen=True)
class Axis:
    """Something that can be disturbed."""

    group: Group
    strengths: tuple[float | int, ...]
    """What `pushcut robustness` tries where it is not told otherwise."""
    unit: str
    scene: bool = False
    """Whether the simulator must draw it so; physics does not see it."""
    placed: bool = False
    """Whether the simulator must place things so; physics sees it."""

    @property
    def simulated(self) -> bool:
        """Whether the simulator must do it; the others happen between environment and policy."""
        return self.scene or self.placed


AXES: Mapping[str, Axis] = {
    "image_noise": Axis("vision", (0.02, 0.05, 0.1), "of full scale"),
    "blur": Axis("vision", (0.01, 0.02, 0.04), "of the image's height"),
    "jpeg": Axis("vision", (0.5, 0.8, 0.95), "of the quality lost"),
    "brightness": Axis("vision", (0.15, 0.3, 0.6), "of the brightness"),
    "contrast": Axis("vision", (0.2, 0.4, 0.8), "of the contrast"),
    "hue": Axis("vision", (10.0, 30.0, 90.0), "degrees"),
    "shift": Axis("vision", (0.03, 0.06, 0.12), "of the image's size"),
    "zoom": Axis("vision", (0.05, 0.1, 0.2), "of the size"),
    "light_angle": Axis("vision", (15.0, 30.0, 60.0), "degrees", scene=True),
    "light_intensity": Axis("vision", (0.2, 0.4, 0.8), "of the intensity", scene=True),
    "table_colour": Axis("vision", (0.25, 0.5, 1.0), "of the colour", scene=True),
    "background_colour": Axis("vision", (0.25, 0.5, 1.0), "of the colour", scene=True),
    "camera_position": Axis("vision", (0.02, 0.05, 0.1), "metres", scene=True),
    "camera_angle": Axis("vision", (1.0, 3.0, 6.0), "degrees", scene=True),
    "field_of_view": Axis("vision", (0.05, 0.1, 0.2), "of the angle", scene=True),
    "distractors": Axis("vision", (1, 3, 6), "objects", scene=True),
    "paraphrases": Axis("semantic", (1,), "sentences of the list"),
    "table_height": Axis("execution", (0.01, 0.02, 0.04), "metres", placed=True),
    "action_latency": Axis("execution", (1, 2, 4), "control steps"),
    "observation_delay": Axis("execution", (1, 2, 4), "control steps"),
    "gain": Axis("execution", (0.1, 0.2, 0.4), "of the action"),
    "action_noise": Axis("execution", (0.02, 0.05, 0.1), "of the action's range"),
    "state_noise": Axis("execution", (0.005, 0.01, 0.02), "in the state's units"),
}
"""Field of ``Randomisation`` -> what it is."""

PICTURE_AXES = tuple(
    name for name, axis in AXES.items() if axis.group == "vision" and not axis.scene
)
"""What is done to a picture that is there."""
SCENE_AXES = tuple(name for name, axis in AXES.items() if axis.scene)
"""What only a simulator can draw."""
PLACED_AXES = tuple(name for name, axis in AXES.items() if axis.placed)
"""What only a simulator can place."""
BELOW_ONE = ("jpeg", "brightness", "contrast", "gain", "light_intensity", "zoom", "field_of_view")
"""Strengths that would leave nothing at 1."""
SHARES = ("table_colour", "background_colour")
"""Strengths that mean all of it at 1."""
MOST = {"shift": 0.5, "blur": 0.25, "hue": 180.0, "camera_angle": 45.0, "light_angle": 90.0,
        "distractors": 50, "camera_position": 1.0, "image_noise": 1.0,
        "action_noise": 1.0, "table_height": 0.1}  # fmt: skip
"""Largest strengths of others."""


@dataclass(frozen=True)
class Randomisation:
    """Domain randomisation: what an episode's seed disturbs, and how far; 0 leaves an axis alone.

    What an axis does is drawn by the episode's seed alone, for each axis apart: two axes do what
    each of them does. Each camera has its own draws. Noise is drawn anew for each control step.
    """

    extent: Literal["up_to", "exactly"] = "up_to"
    """Up to: each episode draws how far, evenly from nothing to what is given here (training).
    Exactly: always as far as that, and only the direction is drawn (to measure)."""

    image_noise: float = 0.0
    """Standard deviation of noise on each pixel and colour, as a share of full scale (255)."""
    blur: float = 0.0
    """Standard deviation of a Gaussian blur, as a share of the image's height."""
    jpeg: float = 0.0
    """Quality that JPEG compression loses: 0.9 is a quality of 10 of 100."""
    brightness: float = 0.0
    """Share by which the picture becomes brighter or darker: a stand-in for lighting, which
    knows nothing of shadows."""
    contrast: float = 0.0
    """Share by which differences from the picture's mean grow or shrink."""
    hue: float = 0.0
    """Degrees by which colours turn around grey."""
    shift: float = 0.0
    """Share of its size by which the picture moves, edges repeated: a stand-in for a camera that
    was turned, without parallax."""
    zoom: float = 0.0
    """Share by which the picture grows or shrinks around its centre: a stand-in for a lens."""

    light_angle: float = 0.0
    """Degrees by which the simulator's lights are turned around the middle of the scene."""
    light_intensity: float = 0.0
    """Share by which the simulator's lights are brighter or darker."""
    table_colour: float = 0.0
    """Share of the table's colour that is replaced by a random one; its texture stays."""
    background_colour: float = 0.0
    """Share of the colour of floor and walls that is replaced by a random one."""
    camera_position: float = 0.0
    """Metres by which the simulator's cameras are moved, in any direction."""
    camera_angle: float = 0.0
    """Degrees by which the simulator's cameras are turned, about any axis."""
    field_of_view: float = 0.0
    """Share by which the cameras' angle of view is wider or narrower."""
    distractors: int = 0
    """Blocks, balls and cylinders that are drawn on the table and that nothing can touch."""

    paraphrases: str = ""
    """Other sentences for the tasks: a JSON file {task: [sentence, ...]}, a policy folder, a
    dataset, or a name (MetaWorld: lerobot). Up to: the own one is among what is drawn."""
    sentences: tuple[tuple[str, str], ...] = ()
    """Pairs of a task, or of a sentence that an environment says, and one that may take its
    place: what was read from ``paraphrases``, so that the run knows it."""

    table_height: float = 0.0
    """Metres by which the table and all on it stand higher or lower, seen from the robot and its
    cameras."""
    action_latency: int = 0
    """Control steps after which an action is executed, across chunks. Until the first arrives
    nothing moves; grippers and joints that are told targets hold those of the first."""
    observation_delay: int = 0
    """Control steps that what a policy sees lies behind. Costs as many pictures per chunk."""
    gain: float = 0.0
    """Share by which each number of an action but the grippers' does more or less."""
    action_noise: float = 0.0
    """Standard deviation of noise on what is executed, as a share of the action's range."""
    state_noise: float = 0.0
    """Standard deviation of noise on each number of the state, in its unit."""

    def __post_init__(self) -> None:
        if self.extent not in ("up_to", "exactly"):
            raise ValueError(f"extent must be up_to or exactly, got {self.extent!r}")
        for name in AXES:
            if name == "paraphrases":
                continue
            value = getattr(self, name)
            most = 1.0 if name in (*BELOW_ONE, *SHARES) else MOST.get(name, math.inf)
            if not 0 <= value <= most or not math.isfinite(value):
                raise ValueError(f"{name} must be from 0 to {most:g}, got {value}")
            if name in BELOW_ONE and value == 1:
                raise ValueError(f"{name} must be below 1, got {value}")

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes that are disturbed."""
        return tuple(name for name in AXES if name != "paraphrases" and getattr(self, name)) + (
            ("paraphrases",) if self.sentences else ()
        )

    @property
    def scene_axes(self) -> tuple[str, ...]:
        """Disturbed axes that the simulator must do itself."""
        return tuple(name for name in self.axes if AXES[name].scene)

    def texts(self, task: str, text: str) -> tuple[str, ...]:
        """What may be said in place of a sentence of a task; empty where that stays."""
        by_text = tuple(new for key, new in self.sentences if key == text)
        return by_text or tuple(new for key, new in self.sentences if key == task)


OFF = Randomisation()
"""Nothing is disturbed."""
