"""MetaWorld: a Sawyer arm and 50 manipulation tasks (Yu et al. 2019, ``metaworld`` 3.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float32, UInt8

from pushcut.envs.base import EnvConfig
from pushcut.envs.episodes import check_views
from pushcut.envs.metaworld.tasks import (
    COLUMNS,
    INSTRUCTIONS,
    LEROBOT_INSTRUCTIONS,
    ML45_TEST,
    expand_tasks,
)
from pushcut.envs.mujoco.env import MuJoCoEnv, check_mesh_detail, flip_gripper
from pushcut.envs.mujoco.gl import choose_gl, import_without_images
from pushcut.envs.randomised.config import PLACED_AXES, SCENE_AXES
from pushcut.errors import UserError
from pushcut.types import EnvSpec, InitState

if TYPE_CHECKING:
    from pushcut.envs.metaworld.simulator import TaskSimulator
    from pushcut.envs.mujoco.renderer import RenderStyle
    from pushcut.envs.mujoco.scene import Surfaces

CAMERAS = (
    "corner2",
    "corner",
    "corner3",
    "corner4",
    "topview",
    "behindGripper",
    "gripperPOV",
)
UPSIDE_DOWN = ("corner", "corner2", "corner3", "corner4")
"""Cameras that MetaWorld mounts with their top towards the floor."""

CHEAP_WITHOUT = ("shadow", "reflection", "skybox")
"""What the cheap style does not draw."""

TABLE_TOP = (-0.45, 0.45, 0.4, 0.9, 0.0)
"""Free part of the table, from x to x, from y to y, and its height, metres."""

SIMULATOR_HZ = 80.0
"""Simulator steps per second of simulated time."""

HAND = ("x", "y", "z", "gripper")
STATES = {
    "hand": HAND,
    "objects": (*HAND, *(f"{what}_{x}" for what in ("object", "other", "goal") for x in "xyz")),
}
"""Choice of the state -> names of its numbers. The critic may see the last."""


@dataclass(frozen=True)
class MetaWorldConfig(EnvConfig):
    """Describes a ``MetaWorldEnv``."""

    simulator = "metaworld"
    tells_events = True
    scene_axes = (*SCENE_AXES, *PLACED_AXES)

    tasks: tuple[str, ...] = (
        "button-press-topdown-v3",
        "coffee-button-v3",
        "handle-press-v3",
        "door-close-v3",
    )
    """Tasks or groups: easy, medium, hard, very_hard, mt10, mt50, ml45-train, ml45-test."""
    image_size: int = 64
    """Height and width of the images, pixels."""
    cameras: tuple[str, ...] = ("corner2",)
    """MetaWorld's cameras, or none; corner2 is placed as in the LeRobot and RLinf data."""
    state: Literal["hand", "objects"] = "hand"
    """Hand: its position and opening. Objects: also the positions of the task's objects and goal,
    for policies without cameras."""
    max_steps: int = 150
    """Time limit, simulator steps."""
    action_repeat: int = 1
    """Simulator steps for which an action is held."""
    render: Literal["cheap", "stock"] = "cheap"
    """Cheap: no shadows, reflections, sky and multisampling, ten times as fast as stock."""
    mesh_detail: float = 0.0
    """Smallest detail of meshes that is drawn, metres; 0: all. At 64 pixels 0.004 draws 1.8
    times as fast what differs less than one simulator step's motion does."""

    def __post_init__(self) -> None:
        check_views(self, CAMERAS)
        if not expand_tasks(self.tasks):
            raise ValueError("tasks must name at least one task or group")
        if self.max_steps < 1 or self.action_repeat < 1:
            raise ValueError(
                "max_steps and action_repeat must be >= 1, "
                f"got {self.max_steps} and {self.action_repeat}"
            )
        if self.render not in ("cheap", "stock"):
            raise ValueError(f"render must be 'cheap' or 'stock', got {self.render!r}")
        check_mesh_detail(self.mesh_detail)
        if self.state not in STATES:
            raise ValueError(f"state must be one of {list(STATES)}, got {self.state!r}")

    @property
    def known_instructions(self) -> dict[str, dict[str, str]]:
        return {"lerobot": LEROBOT_INSTRUCTIONS}

    @property
    def spec(self) -> EnvSpec:
        return EnvSpec(
            tasks={task: INSTRUCTIONS[task] for task in expand_tasks(self.tasks)},
            cameras={name: (self.image_size, self.image_size) for name in self.cameras},
            state_size=len(STATES[self.state]),
            action_size=4,
            action_low=(-1.0,) * 4,
            action_high=(1.0,) * 4,
            max_steps=math.ceil(self.max_steps / self.action_repeat),
            sim_steps_per_control=self.action_repeat,
            control_hz=SIMULATOR_HZ / self.action_repeat,
            state_names=STATES[self.state],
            action_names=("dx", "dy", "dz", "gripper"),
            privileged_names=STATES["objects"],
            groups=COLUMNS,
        )

    @property
    def variations(self) -> dict[str, tuple[str, ...]]:
        """ML45's unseen tasks, where all that are chosen are among its seen ones."""
        tasks = expand_tasks(self.tasks)
        if set(tasks) & set(ML45_TEST):
            return {}
        return {"Seen tasks": tasks, "Unseen tasks (ML45)": ML45_TEST}

    @property
    def tasks_kept(self) -> int:
        """As many as take little memory, and all four of the quickstart."""
        return 2 if self.render == "stock" else 4

    @property
    def memory_mb(self) -> tuple[float, float]:
        return (235.0, 166.0 if self.render == "stock" else 90.0)

    def check_drawing(self, *, films: bool) -> None:
        if films or self.cameras:
            choose_gl()

    def build(self) -> MetaWorldEnv:
        """Imports MetaWorld (0.5 s) and makes the environment; simulators come with their tasks.

        Raises UserError if there are cameras and no off-screen OpenGL works here.
        """
        if self.cameras:
            choose_gl()
        else:
            import_without_images()
        return MetaWorldEnv(self)


class MetaWorldEnv(MuJoCoEnv):
    """A Sawyer arm over a table with the objects of the task.

    Action (clipped to [-1, 1], held for ``action_repeat`` simulator steps of 12.5 ms):
    0 ``dx``, 1 ``dy``, 2 ``dz``: how far the hand's target moves in a simulator step, 1 is
    0.01 m; 3 ``gripper``: +1 opens, -1 closes.
    State: 0 ``x``, 1 ``y``, 2 ``z`` of the hand, metres; 3 ``gripper``: opening, 0 to 1. With
    ``state="objects"`` also, in metres, the positions of 4-6 the task's object, 7-9 its other
    object (0 where there is none), 10-12 its goal, as MetaWorld's own observation has them.
    Privileged: the 13 numbers of ``state="objects"``.
    Images: the cameras of the config, upright.
    Initial state: objects and goal drawn from the task's own range by the seed alone, the
    hand at rest above the table with its gripper open.
    Reward: 1 in the control step in which MetaWorld reports success, else 0; its shaped
    reward is not computed. Terminates at success, also in the middle of a held action;
    truncates at the time limit.

    One simulator and one renderer per task, made when first needed and kept.
    """

    def __init__(self, config: MetaWorldConfig) -> None:
        # The first import of the simulator in this process.
        from pushcut.envs.metaworld.simulator import TaskSimulator

        self._simulator_type = TaskSimulator
        super().__init__(config.spec, max_sim_steps=config.max_steps, image_size=config.image_size)
        self._config = config

    def expert_action(self) -> Float32[np.ndarray, " 4"]:
        """MetaWorld's scripted policy for the task, which sees the simulator's state."""
        return flip_gripper(super().expert_action())

    def render(self, size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
        """Draws what the first camera sees, in any size."""
        if not self._config.cameras:
            raise UserError("there are no images without cameras: --env.cameras corner2")
        return self._image(self._config.cameras[0], size)

    @property
    def _style(self) -> RenderStyle:
        from pushcut.envs.mujoco.renderer import RenderStyle

        cheap = self._config.render == "cheap"
        return RenderStyle(
            lean=cheap,
            without=CHEAP_WITHOUT if cheap else (),
            mesh_detail=self._config.mesh_detail,
        )

    @property
    def _surfaces(self) -> Surfaces:
        from pushcut.envs.mujoco.scene import Surfaces

        return Surfaces("/table_wood$", "^(world/floor|RetainingWall)/", TABLE_TOP)

    def _make_simulator(self, task: str) -> TaskSimulator:
        return self._simulator_type(task)

    def _start(self, simulator: TaskSimulator, init: InitState) -> None:
        simulator.reset(init.seed, raised=self._raised)

    def _images(self) -> dict[str, UInt8[np.ndarray, "_ _ 3"]]:
        return {name: self._image(name, self._config.image_size) for name in self._config.cameras}

    def _state(self) -> Float32[np.ndarray, " s"]:
        simulator: TaskSimulator = self._now
        return simulator.proprioception() if self._config.state == "hand" else self._privileged()

    def _privileged(self) -> Float32[np.ndarray, " 13"]:
        simulator: TaskSimulator = self._now
        return np.concatenate([simulator.proprioception(), simulator.objects_and_goal()])

    def _image(self, camera: str, size: int) -> np.ndarray:
        image = self._draw(camera, size)
        turned = image[::-1, ::-1] if camera in UPSIDE_DOWN else image
        return np.ascontiguousarray(turned)
