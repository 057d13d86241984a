"""ManiSkill 3: a Panda arm on a table, in SAPIEN (Tao et al. 2024, ``mani_skill`` 3.0.1)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float32, UInt8

from pushcut.envs.base import EnvConfig
from pushcut.envs.batched import OneScene, SideBySide
from pushcut.envs.episodes import check_views
from pushcut.envs.isolated.simulators import installed
from pushcut.envs.maniskill.devices import check_playing, require_cuda, say_device
from pushcut.envs.maniskill.telling import SapienEnv
from pushcut.envs.protocol import BatchedEnv, Env
from pushcut.errors import UserError
from pushcut.types import EnvSpec

if TYPE_CHECKING:
    from pushcut.envs.maniskill.simulator import TaskSimulator

INSTRUCTIONS = {
    "PickCube-v1": "pick up the red cube and hold it at the goal",
    "StackCube-v1": "stack the red cube on the green cube",
    "PushCube-v1": "push the blue cube away onto the target",
    "PullCube-v1": "pull the blue cube back onto the target",
}
CAMERAS = ("base_camera",)
CONTROL_HZ = 20.0
"""Control steps per second of simulated time."""
PHYSICS_STEPS = 5
"""Simulator steps per control step."""

NO_IMAGES = (
    "there are no images without cameras: --env.cameras base_camera (it needs Vulkan: pushcut "
    "doctor)"
)

_POSE = ("x", "y", "z", "qw", "qx", "qy", "qz")
STATE_NAMES = (
    *_POSE,
    "gripper",
    *(f"cube_{name}" for name in _POSE),
    *(f"target_{name}" for name in _POSE),
    *(f"hand_to_cube_{name}" for name in "xyz"),
    *(f"cube_to_target_{name}" for name in "xyz"),
    "held",
)


@dataclass(frozen=True)
class ManiSkillConfig(EnvConfig):
    """Describes a ``ManiSkillEnv``."""

    simulator = "maniskill"

    tasks: tuple[str, ...] = ("PickCube-v1",)
    """Tasks: PickCube-v1, StackCube-v1, PushCube-v1, PullCube-v1."""
    cameras: tuple[str, ...] = ()
    """Cameras: base_camera, or none. Images need Vulkan (see `pushcut doctor`), states do not."""
    image_size: int = 64
    """Height and width of the images, pixels."""
    render_device: str = "auto"
    """What draws: auto (a GPU with Vulkan where there is one, else the CPU), cpu, cuda or cuda:N.
    The same scene differs by some levels between them."""
    max_steps: int = 100
    """Time limit, control steps."""
    batch: Literal["off", "cpu", "cuda"] = "off"
    """Whether a process plays its slots in one batch of scenes, which step together. cpu: scenes
    one after the other, with the results of off; cuda: all at once on a GPU (one task, no cameras;
    not yet run). cuda has other initial states for a seed than the CPU."""
    scenes: int = 16
    """Episodes that a process keeps in the simulator (1 MB each without cameras). With more under
    way it is slower, because an episode that was put aside is played again."""

    def __post_init__(self) -> None:
        check_views(self, CAMERAS)
        if unknown := sorted(set(self.tasks) - set(INSTRUCTIONS)):
            raise ValueError(f"unknown tasks {unknown}; have {sorted(INSTRUCTIONS)}")
        if len(set(self.tasks)) < len(self.tasks):
            raise ValueError(f"tasks must be different, got {self.tasks}")
        if not self.tasks:
            raise ValueError("tasks must name at least one task")
        check_playing(self.render_device, self.max_steps, self.scenes)
        if self.batch == "cuda" and (len(self.tasks) > 1 or self.cameras):
            raise ValueError("batch cuda plays one task, from states: no cameras")

    @property
    def batched(self) -> bool:
        return self.batch != "off"

    @property
    def repeats(self) -> bool:
        return self.batch != "cuda"

    @property
    def tells_events(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """A batch on a GPU has other scenes than those that can be read."""
        return self.batch != "cuda"

    @property
    def expert_tasks(self) -> tuple[str, ...]:
        return () if self.batch == "cuda" else self.tasks

    @property
    def without_experts(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """What to do where a batch on a GPU is asked for demonstrations."""
        return "a batch on a GPU has no scripted expert: --env.batch off"

    @property
    def all_tasks(self) -> tuple[str, ...]:
        return tuple(INSTRUCTIONS)

    @property
    def spec(self) -> EnvSpec:
        return EnvSpec(
            tasks={task: INSTRUCTIONS[task] for task in self.tasks},
            cameras={name: (self.image_size, self.image_size) for name in self.cameras},
            state_size=len(STATE_NAMES),
            action_size=7,
            action_low=(-1.0,) * 7,
            action_high=(1.0,) * 7,
            max_steps=self.max_steps,
            sim_steps_per_control=PHYSICS_STEPS,
            control_hz=CONTROL_HZ,
            state_names=STATE_NAMES,
            action_names=("dx", "dy", "dz", "rx", "ry", "rz", "gripper"),
        )

    @property
    def episodes_kept(self) -> int:
        return self.scenes

    def check_drawing(self, *, films: bool) -> None:
        if films and not self.cameras:
            raise UserError(NO_IMAGES)
        maniskill = installed(self.simulator)
        if self.cameras and maniskill is not None:
            say_device(maniskill.python, self.render_device)
        if self.batch == "cuda" and maniskill is not None:
            require_cuda(maniskill.python)

    def build(self) -> Env:
        """Imports ManiSkill (3 s) and makes the environment; scenes come with their episodes.

        Raises UserError where cameras are asked for and Vulkan has no device.
        """
        return OneScene(self.build_batch(1)) if self.batch == "cuda" else ManiSkillEnv(self)

    def build_batch(self, scenes: int) -> BatchedEnv:
        """Imports ManiSkill; UserError where a GPU is asked for that is not there."""
        if self.batch == "cuda":
            from pushcut.envs.maniskill.many_scenes import ManyScenes

            return ManyScenes(self, scenes)
        single = replace(self, scenes=1)
        return SideBySide(ManiSkillEnv(single) for _ in range(scenes))


class ManiSkillEnv(SapienEnv):
    """A Panda arm over a table with a red or blue cube (half edges 2 cm).

    Action (clipped to [-1, 1], held for 50 ms; the controller is ManiSkill's pd_ee_delta_pose):
    0 ``dx``, 1 ``dy``, 2 ``dz``: displacement of the hand's goal from where the hand is, 1 is
    0.1 m; 3 ``rx``, 4 ``ry``, 5 ``rz``: its turn, axis times angle, 1 is 0.1 rad, together no
    more than that; both along the axes of the base. 6 ``gripper``: +1 opens, -1 closes.
    State: 0-2 ``x y z``, 3-6 ``qw qx qy qz``: pose of the point between the fingers; 7
    ``gripper``: opening, 0 to 1; 8-14: pose of the cube to be moved; 15-21: pose of the target,
    which is the goal's position in PickCube, the green cube in StackCube and a disc 20 cm beyond
    or before the cube in PushCube and PullCube; 22-24: from the hand to the cube; 25-27: from the
    cube to the target; 28 ``held``: 1 if both fingers press the cube, else 0. Metres, in the
    world's frame; quaternions with qw >= 0. ManiSkill's own state has the same.
    Images: ``base_camera``, ManiSkill's own; as there, the goal of PickCube is not drawn.
    Initial state: drawn by the task's own reset from the seed alone, below 2**31 the same as
    ManiSkill's for that seed.
    Reward: 1 in the control step in which ManiSkill reports success, else 0. PickCube: the cube
    is within 2.5 cm of the goal and the arm at rest; StackCube: it lies on the green one, at
    rest and released; PushCube, PullCube: it is within 10 cm of the disc's centre. Terminates at
    success, truncates at the time limit.
    Expert: towards a waypoint of a motion that mplib plans from the current state.

    An episode's physics is the stock one, to the bit. SAPIEN cannot save all of its state, so
    episodes that take turns keep scenes of their own (see ``envs.replayed``).
    """

    def __init__(self, config: ManiSkillConfig) -> None:
        # The first import of the simulator in this process.
        from pushcut.envs.maniskill.sapien_process import prepare
        from pushcut.envs.maniskill.simulator import TaskSimulator

        prepare(images=bool(config.cameras))
        self._simulator_type = TaskSimulator
        super().__init__(config.spec, max_sim_steps=config.max_steps * PHYSICS_STEPS)
        self._config = config

    def render(self, size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
        """Draws what a camera for people sees, the goal included."""
        if not self._config.cameras:
            raise UserError(NO_IMAGES)
        return self._now.render(size)

    def _make_simulator(self, task: str) -> TaskSimulator:
        config = self._config
        return self._simulator_type(
            task,
            cameras=config.cameras,
            image_size=config.image_size,
            scenes=config.scenes,
            render_device=config.render_device,
        )

    def _to_native(self, actions: Float32[np.ndarray, "h a"]) -> Float32[np.ndarray, "h a"]:
        return actions.astype(np.float32)

    def _images(self) -> dict[str, UInt8[np.ndarray, "_ _ 3"]]:
        return self._now.images()

    def _state(self) -> Float32[np.ndarray, " 29"]:
        return self._now.observed_state()
