"""LIBERO: a Panda arm and 130 tasks in five suites (Liu et al. 2023)."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float32, UInt8

from pushcut.envs.base import EnvConfig
from pushcut.envs.episodes import check_views
from pushcut.envs.libero.tasks import (
    COLUMNS,
    EXPERTS,
    FIXED_INITS,
    expand_tasks,
    instruction,
)
from pushcut.envs.mujoco.env import MuJoCoEnv, check_mesh_detail
from pushcut.envs.mujoco.gl import choose_gl
from pushcut.envs.randomised.config import PLACED_AXES, SCENE_AXES
from pushcut.errors import UserError
from pushcut.types import EnvSpec, InitState

if TYPE_CHECKING:
    from pushcut.envs.libero.simulator import SimulatorState, TaskSimulator
    from pushcut.envs.mujoco.renderer import RenderStyle
    from pushcut.envs.mujoco.scene import Surfaces

CAMERAS = {"agentview": "agentview", "wrist": "robot0_eye_in_hand"}
"""Our names -> robosuite's."""

CHOICES = {
    "render": ("cheap", "stock"),
    "control": ("fast", "stock"),
    "orientation": ("rotated", "upright"),
}
"""Fields that are one of a few words."""

COLLISION_GEOMS = 0
"""Group of the geoms that are there to be touched and not to be seen."""

CONTROL_HZ = 20.0
"""Control steps per second of simulated time."""

STARTS_KEPT = 64
"""Initial states of which the settled state is remembered (30 kB each)."""

AT_LEAST = {"max_steps": 1, "action_repeat": 1, "settle_steps": 0, "joint_noise": 0}
"""Field -> its least value."""


@dataclass(frozen=True)
class LiberoConfig(EnvConfig):
    """Describes a ``LiberoEnv``."""

    simulator = "libero"
    tells_events = True
    # Nothing says where the tables of the many scenes have room for distractors.
    scene_axes = (*(name for name in SCENE_AXES if name != "distractors"), *PLACED_AXES)
    experts = EXPERTS

    tasks: tuple[str, ...] = ("libero_object",)
    """Suites (libero_spatial, libero_object, libero_goal, libero_10, libero_90), tasks, or
    suite/index such as libero_goal/3."""
    image_size: int = 128
    """Height and width of the images, pixels."""
    cameras: tuple[str, ...] = ("agentview",)
    """Cameras, or none: agentview looks at the robot from the front, wrist sits on its hand. The
    state says nothing about objects."""
    max_steps: int = 240
    """Time limit, simulator steps; settling does not count."""
    settle_steps: int = 10
    """Simulator steps without motion before an episode begins, while objects come to rest."""
    render: Literal["cheap", "stock"] = "cheap"
    """Cheap: no shadows and no multisampling. Stock: as in LIBERO's own images."""
    control: Literal["fast", "stock"] = "fast"
    """Fast: the same control law without robosuite's overhead; stock: robosuite's own code."""
    orientation: Literal["rotated", "upright"] = "rotated"
    """Rotated: robosuite's upside-down image turned by 180 degrees, so left and right are swapped,
    as in published checkpoints and data. Upright: as a person would see it."""
    texture_size: int | None = None
    """Longest side of textures, pixels; larger ones are shrunk. Saves memory, changes the image."""
    action_repeat: int = 1
    """Simulator steps for which an action is held."""
    init_folder: str | None = None
    """Folder of files <task>.pruned_init whose 50 states take the place of the benchmark's."""
    joint_noise: float = 0.02
    """Standard deviation of the arm's joints where starts are drawn, radians. The benchmark's own
    states have 0.02 in all tasks, though LIBERO's environment draws none."""
    mesh_detail: float = 0.0
    """Smallest detail of meshes that is drawn, metres; 0: all. 0.002 draws 1.5 times as
    fast."""

    def __post_init__(self) -> None:
        check_views(self, CAMERAS)
        if not expand_tasks(self.tasks):
            raise ValueError("tasks must name at least one task or suite")
        if self.texture_size is not None and self.texture_size < 16:
            raise ValueError(f"texture_size must be >= 16 or none, got {self.texture_size}")
        check_mesh_detail(self.mesh_detail)
        for name, least in AT_LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be >= {least}, got {getattr(self, name)}")
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {choices}, got {getattr(self, name)!r}")

    @property
    def expert_tasks(self) -> tuple[str, ...]:
        known = set(expand_tasks(self.experts))
        return tuple(task for task in expand_tasks(self.tasks) if task in known)

    @property
    def spec(self) -> EnvSpec:
        return EnvSpec(
            tasks={task: instruction(task) for task in expand_tasks(self.tasks)},
            cameras={name: (self.image_size, self.image_size) for name in self.cameras},
            state_size=8,
            action_size=7,
            action_low=(-1.0,) * 7,
            action_high=(1.0,) * 7,
            max_steps=math.ceil(self.max_steps / self.action_repeat),
            sim_steps_per_control=self.action_repeat,
            control_hz=CONTROL_HZ / self.action_repeat,
            state_names=("x", "y", "z", "rx", "ry", "rz", "left_finger", "right_finger"),
            action_names=("dx", "dy", "dz", "rx", "ry", "rz", "gripper"),
            fixed_inits=FIXED_INITS,
            groups=COLUMNS,
        )

    @property
    def tasks_kept(self) -> int:
        """Two: each has its scene, textures and meshes."""
        return 2

    @property
    def memory_mb(self) -> tuple[float, float] | None:
        return (410.0, 1050.0) if self.render == "stock" else None

    def check_drawing(self, *, films: bool) -> None:
        choose_gl()

    def build(self) -> LiberoEnv:
        """Imports LIBERO (1 s) and makes the environment; simulators come with their tasks.

        Raises UserError if LIBERO is not installed or no off-screen OpenGL works here.
        """
        choose_gl()
        return LiberoEnv(self)


class LiberoEnv(MuJoCoEnv):
    """A Panda arm over a table or floor with the objects and fixtures of the task.

    Action (clipped to [-1, 1], held for ``action_repeat`` simulator steps of 50 ms; the
    controller is robosuite's OSC_POSE):
    0 ``dx``, 1 ``dy``, 2 ``dz``: displacement of the hand's goal from where the hand is, 1 is
    0.05 m; 3 ``rx``, 4 ``ry``, 5 ``rz``: its rotation, axis times angle, 1 is 0.5 rad; 6
    ``gripper``: +1 opens, -1 closes.
    State: 0 ``x``, 1 ``y``, 2 ``z`` of the hand, metres; 3 ``rx``, 4 ``ry``, 5 ``rz``: its
    orientation, axis times angle, radians; 6 ``left_finger``, 7 ``right_finger``: positions of
    the fingers, metres.
    Images: the cameras of the config, in the config's orientation.
    Initial state: seeds 0 to 49 are the benchmark's own; in all others the simulator's sampler
    draws placements and the arm's joints from the seed alone. Then ``settle_steps`` without motion.
    Reward: 1 in the control step in which LIBERO's own check reports success, else 0.
    Terminates at success, also in the middle of a held action; truncates at the time limit.
    Expert: a script for some of the tasks, which sees the simulator's state.

    One simulator and one renderer per task, made when first needed and kept.
    """

    def __init__(self, config: LiberoConfig) -> None:
        # The first import of the simulator in this process.
        from pushcut.envs.libero.package import problem_classes

        problem_classes()  # installed?
        from pushcut.envs.libero.simulator import TaskSimulator

        self._simulator_type = TaskSimulator
        super().__init__(config.spec, max_sim_steps=config.max_steps, image_size=config.image_size)
        self._config = config
        self._starts: OrderedDict[tuple[InitState, float], SimulatorState] = OrderedDict()

    def render(self, size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
        """Draws what the first camera sees, in any size; always upright."""
        if not self._config.cameras:
            raise UserError("there are no images without cameras: --env.cameras agentview")
        return np.ascontiguousarray(self._image(self._config.cameras[0], size))

    def close(self) -> None:
        super().close()
        self._starts.clear()

    @property
    def _style(self) -> RenderStyle:
        from pushcut.envs.mujoco.renderer import RenderStyle

        cheap = self._config.render == "cheap"
        return RenderStyle(
            lean=cheap,
            without=("shadow",) if cheap else (),
            hidden_groups=(COLLISION_GEOMS,),
            cull=cheap,
            mesh_detail=self._config.mesh_detail,
        )

    @property
    def _surfaces(self) -> Surfaces:
        from pushcut.envs.mujoco.scene import Surfaces

        return Surfaces(r"^(\w*table\w*|floor)/", "^world/")

    @property
    def _model_cameras(self) -> Mapping[str, str]:
        return CAMERAS

    def _make_simulator(self, task: str) -> TaskSimulator:
        return self._simulator_type(
            task,
            control=self._config.control,
            texture_size=self._config.texture_size,
            init_folder=self._config.init_folder,
            joint_noise=self._config.joint_noise,
        )

    def _start(self, simulator: TaskSimulator, init: InitState) -> None:
        start = (init, self._raised)
        if start in self._starts:
            simulator.set_state(self._starts[start])
        else:
            settle_steps = self._config.settle_steps
            simulator.reset(init.seed, settle_steps=settle_steps, raised=self._raised)
            self._starts[start] = simulator.state()
            if len(self._starts) > STARTS_KEPT:
                self._starts.popitem(last=False)
        self._starts.move_to_end(start)

    def _images(self) -> dict[str, UInt8[np.ndarray, "_ _ 3"]]:
        images = {}
        for name in self._config.cameras:
            image = self._image(name, self._config.image_size)
            turned = image[:, ::-1] if self._config.orientation == "rotated" else image
            images[name] = np.ascontiguousarray(turned)
        return images

    def _state(self) -> Float32[np.ndarray, " 8"]:
        return self._now.proprioception()

    def _image(self, camera: str, size: int) -> np.ndarray:
        return self._draw(CAMERAS[camera], size)
