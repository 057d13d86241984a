"""One ManiSkill task of the Panda arm in SAPIEN: exact resets, snapshots by replayed scenes.

This module imports the simulator, so it is itself imported late, by ``env``.
"""

# These packages are in ManiSkill's own environment only.
# pyright: reportMissingImports=false

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from pushcut.envs.init_states import seed_of_32_bits
from pushcut.envs.maniskill.control import HandControl
from pushcut.envs.maniskill.experts import Expert
from pushcut.envs.maniskill.panda import TARGETS, TO_NATIVE, state_rows
from pushcut.envs.maniskill.sapien_process import (
    keep_imports_out_of_garbage,
    made,
    pose_of,
    positions_of,
)
from pushcut.envs.replayed import ReplayedSimulator

RENDER_SIZE = 256
"""Height and width of images for people before they are brought to the size asked for."""

LARGEST_MOVE = 0.1
"""Displacement of the hand for which an action is 1, metres."""
LARGEST_TURN = 0.1
"""Turn of the hand for which an action is 1, radians."""


class PandaScene:
    """An episode in a physics scene of its own."""

    def __init__(self, env: Any) -> None:
        self.env = env

    def start(self, seed: int) -> None:
        # A scene that was used orders its contacts differently: 10 of 60 episodes changed.
        self.env.reset(seed=seed_of_32_bits(seed), options={"reconfigure": True})
        self.control = HandControl(self.env)

    def step(self, action: Float32[np.ndarray, " 7"]) -> bool:
        self.control.step(action * TO_NATIVE)
        return bool(self.env.evaluate()["success"])

    def close(self) -> None:
        self.env.close()


class TaskSimulator(ReplayedSimulator[PandaScene]):
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
        super().__init__(scenes=scenes)
        self._task, self._cameras, self._image_size = task, cameras, image_size
        self._render_device = render_device
        self._expert: Expert | None = None

    def observed_state(self) -> Float32[np.ndarray, " 29"]:
        """Hand, opening of the gripper, cube, target, and how they lie to each other."""
        fingers = positions_of(self._env)[-2:]
        poses = (pose[None] for pose in self._poses())
        return state_rows(*poses, fingers=fingers[None], held=np.array([self._held()]))[0]

    def expert_action(self) -> Float32[np.ndarray, " 7"]:
        """The expert's, planned from the current state."""
        if self._expert is None:
            self._expert = Expert(self._env, largest_move=LARGEST_MOVE, largest_turn=LARGEST_TURN)
        hand, cube, target = self._poses()
        return self._expert.action(
            self._task,
            qpos=positions_of(self._env),
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
        super().close()
        self._expert = None

    @property
    def _env(self) -> Any:
        return self.now.env

    def _poses(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Poses of hand, cube and target."""
        things = (self._env.agent.tcp, *(getattr(self._env, n) for n in TARGETS[self._task]))
        hand, cube, target = (pose_of(thing) for thing in things)
        return hand, cube, target

    def _held(self) -> bool:
        """Whether both fingers press the cube."""
        cube = getattr(self._env, TARGETS[self._task][0])
        return self.now.control.grip.holds(cube)

    def _make(self) -> PandaScene:
        size = {"width": self._image_size, "height": self._image_size}
        env = made(
            self._task,
            draws=bool(self._cameras),
            render_device=self._render_device,
            control_mode="pd_ee_delta_pose",
            robot_uids="panda",
            render_mode="rgb_array" if self._cameras else None,
            sensor_configs=size,
            human_render_camera_configs={"width": RENDER_SIZE, "height": RENDER_SIZE},
        )
        if not self._kept:
            keep_imports_out_of_garbage()
        return PandaScene(env)
