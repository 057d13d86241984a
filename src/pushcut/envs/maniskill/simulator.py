"""One ManiSkill task in SAPIEN: exact resets, snapshots by keeping and replaying scenes.

This module imports the simulator, so it is itself imported late, by ``maniskill``.

PhysX keeps contacts from step to step (what the solver starts from, and in which order it
takes them) and offers no way to save them: positions and velocities put back in the middle of
a grasp go another way within one step. What is exact is a scene that was made anew and played
from its seed. So a snapshot is the seed and all actions so far, and it is restored by finding
the scene in which exactly that was played, or by playing it again in a new one.
"""

# These packages are in ManiSkill's own environment only.
# pyright: reportMissingImports=false

from __future__ import annotations

import gc
import os
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from pushcut.envs.init_states import seed_of_32_bits
from pushcut.envs.maniskill.devices import NO_VULKAN, choose_device
from pushcut.envs.maniskill.experts import Expert
from pushcut.envs.maniskill.state import SimulatorState
from pushcut.errors import UserError

RENDER_SIZE = 256
"""Height and width of images for people before they are brought to the size asked for."""

LARGEST_MOVE = 0.1
"""Displacement of the hand for which an action is 1, metres."""
LARGEST_TURN = 0.1
"""Turn of the hand for which an action is 1, radians."""

TO_NATIVE = np.array([1, 1, 1, -1, -1, -1, 1], dtype=np.float32)
"""ManiSkill scales turns by the lower bound of their range, which is negative: it turns the
other way round. We turn by the right hand about the axes of the base."""

TARGETS = {
    "PickCube-v1": ("cube", "goal_site"),
    "StackCube-v1": ("cubeA", "cubeB"),
    "PushCube-v1": ("obj", "goal_region"),
    "PullCube-v1": ("obj", "goal_region"),
}
"""Task -> the attributes of ManiSkill's environment that hold the cube and the target."""


@dataclass
class _Scene:
    """An episode in a physics scene of its own."""

    env: Any
    seed: int = -1
    actions: list[bytes] = field(default_factory=list)

    def holds(self, state: SimulatorState) -> bool:
        """Whether exactly this was played here."""
        return (
            self.seed == state.seed
            and len(self.actions) == len(state.actions)
            and tuple(self.actions) == state.actions
        )

    def start(self, seed: int) -> None:
        """Makes everything anew and places it as ``seed`` says."""
        self.seed = -1  # whatever goes wrong below, nobody takes this scene for another
        # A scene that was used orders its contacts differently: 10 of 60 episodes changed.
        self.env.reset(seed=seed_of_32_bits(seed), options={"reconfigure": True})
        self.seed = seed
        self.actions.clear()

    def step(self, action: Float32[np.ndarray, " 7"]) -> bool:
        """One control step; whether the task is solved."""
        info = self.env.step(action * TO_NATIVE)[4]
        self.actions.append(action.tobytes())
        return bool(info["success"])


class TaskSimulator:
    """One task. Actions here are ours."""

    def __init__(
        self,
        task: str,
        *,
        cameras: tuple[str, ...],
        image_size: int,
        scenes: int,
        render_device: str,
    ) -> None:
        self._task, self._cameras, self._image_size = task, cameras, image_size
        self._render_device = render_device
        self._most = scenes
        self._scenes: list[_Scene] = []
        """The one that was used last stands last."""
        self._expert: Expert | None = None

    def reset(self, seed: int) -> None:
        """Places everything as ``seed`` says."""
        self._spare().start(seed)

    def hold(self, action: Float32[np.ndarray, " 7"], limit: int) -> tuple[int, bool]:
        """One control step, of ``limit`` simulator steps; whether the task is solved."""
        return limit, self._scenes[-1].step(action)

    def state(self) -> SimulatorState:
        """What the rest of the episode depends on."""
        scene = self._scenes[-1]
        return SimulatorState(scene.seed, tuple(scene.actions))

    def set_state(self, state: SimulatorState) -> None:
        """Continues from ``state``."""
        for scene in reversed(self._scenes):
            if scene.holds(state):
                self._use(scene)
                return
        scene = self._spare()
        scene.start(state.seed)
        for action in state.actions:
            scene.step(np.frombuffer(action, np.float32))

    def observed_state(self) -> Float32[np.ndarray, " 29"]:
        """Hand, opening of the gripper, cube, target, and how they lie to each other."""
        fingers = self._env.agent.robot.get_qpos()[0, -2:]
        opening = min(max(float(fingers.sum()) / 0.08, 0.0), 1.0)  # each at 4 cm: fully open
        hand, cube, target = self._poses()
        parts = (hand, [opening], cube, target, cube[:3] - hand[:3], target[:3] - cube[:3])
        return np.concatenate([*parts, [self._held()]]).astype(np.float32)

    def expert_action(self) -> Float32[np.ndarray, " 7"]:
        """The expert's, planned from the current state."""
        if self._expert is None:
            self._expert = Expert(self._env, largest_move=LARGEST_MOVE, largest_turn=LARGEST_TURN)
        hand, cube, target = self._poses()
        return self._expert.action(
            self._task,
            qpos=self._env.agent.robot.get_qpos()[0].numpy(),
            hand=hand,
            cube=cube,
            target=target,
            held=self._held(),
        )

    def images(self) -> dict[str, UInt8[np.ndarray, "_ _ 3"]]:
        """What the cameras see, as ManiSkill shows it to policies."""
        if not self._cameras:
            return {}
        env = self._env
        for thing in env._hidden_objects:
            thing.hide_visual()
        env.scene.update_render(update_sensors=True, update_human_render_cameras=False)
        images = {}
        for name in self._cameras:
            sensor = env.scene.sensors[name]
            sensor.capture()
            seen = sensor.get_obs(rgb=True, depth=False, position=False, segmentation=False)
            images[name] = seen["rgb"][0].cpu().numpy().copy()
        return images

    def render(self, size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
        """What the camera for people sees."""
        from PIL import Image

        image = Image.fromarray(self._env.render_rgb_array()[0].cpu().numpy())
        return np.asarray(image.resize((size, size), Image.Resampling.BOX))

    def close(self) -> None:
        """Releases every scene."""
        for scene in self._scenes:
            scene.env.close()
        self._scenes.clear()
        self._expert = None

    @property
    def _env(self) -> Any:
        return self._scenes[-1].env

    def _poses(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Poses of hand, cube and target."""
        things = (self._env.agent.tcp, *(getattr(self._env, n) for n in TARGETS[self._task]))
        hand, cube, target = (pose_of(thing) for thing in things)
        return hand, cube, target

    def _held(self) -> bool:
        """Whether both fingers press the cube."""
        cube = getattr(self._env, TARGETS[self._task][0])
        return bool(self._env.agent.is_grasping(cube)[0])

    def _use(self, scene: _Scene) -> None:
        self._scenes.remove(scene)
        self._scenes.append(scene)

    def _spare(self) -> _Scene:
        """A new scene, or the one that was not used for longest."""
        if len(self._scenes) < self._most:
            self._scenes.append(_Scene(self._make()))
        else:
            self._use(self._scenes[0])
        return self._scenes[-1]

    def _make(self) -> Any:
        import gymnasium
        import sapien

        drawing = "none"
        if self._cameras:
            drawing = choose_device(self._render_device, sapien.Device, os.environ).name
        size = {"width": self._image_size, "height": self._image_size}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            env = gymnasium.make(
                self._task,
                obs_mode="none",  # nothing is drawn unless we ask
                reward_mode="none",
                control_mode="pd_ee_delta_pose",
                robot_uids="panda",
                sim_backend="physx_cpu",
                render_backend=drawing,
                render_mode="rgb_array" if self._cameras else None,
                sensor_configs=size,
                human_render_camera_configs={"width": RENDER_SIZE, "height": RENDER_SIZE},
            ).unwrapped
        if len(self._scenes) == 0:
            # Making a scene anew collects garbage, which takes 0.2 s with all that was imported.
            gc.collect()
            gc.freeze()
        return env


def prepare(*, images: bool) -> None:
    """Imports ManiSkill, once per process.

    ManiSkill makes materials also where nothing is ever drawn, and without a Vulkan device that
    fails. Without images they are stood in for by something that takes any attribute.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where libvulkan is, and what torch would like better
        import sapien
        import sapien.render
        import sapien.wrapper.urdf_loader

        if images:
            _require_vulkan(sapien)
        else:
            sapien.pysapien.render.RenderMaterial = _NoMaterial
            sapien.render.RenderMaterial = _NoMaterial
            sapien.wrapper.urdf_loader.RenderMaterial = _NoMaterial
        import mani_skill.envs  # noqa: F401 - registers the tasks


def pose_of(thing: Any) -> Float64[np.ndarray, " 7"]:
    """Position and quaternion (w first, w >= 0) of an actor or link."""
    pose = thing.pose.raw_pose[0].numpy().astype(np.float64)
    if pose[3] < 0:
        pose[3:] *= -1
    return pose


class _NoMaterial:
    """Stands in for a material that nobody will see."""

    def __init__(self, *args: object, **values: object) -> None:
        self.__dict__.update(values)


def _require_vulkan(sapien: Any) -> None:
    try:
        sapien.render.RenderMaterial()
    except RuntimeError as error:
        raise UserError(NO_VULKAN) from error
