"""One of SIMPLER's tasks in SAPIEN: exact resets, pictures with the photograph behind them.

This module imports the simulator, so it is itself imported late, by ``env``.
"""

# These packages are in ManiSkill's own environment only.
# pyright: reportMissingImports=false

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from pushcut.envs.init_states import seed_of_32_bits
from pushcut.envs.maniskill.control import HandControl
from pushcut.envs.maniskill.sapien_process import keep_drawing, keep_imports_out_of_garbage, made
from pushcut.envs.maniskill.simpler.assets import PHOTOGRAPHS, TABLE_TOP
from pushcut.envs.maniskill.simpler.tasks import SINK, TASKS, placement
from pushcut.envs.maniskill.widowx import arm, expert
from pushcut.envs.maniskill.widowx.state import Thing, Things
from pushcut.envs.replayed import ReplayedSimulator


class BridgeScene:
    """An episode in a physics scene of its own."""

    def __init__(self, env: Any, turn: float) -> None:
        self.env, self._turn = env, turn
        self._positions = env.xyz_configs.cpu().numpy()
        self._orientations = env.quat_configs.cpu().numpy()

    def start(self, seed: int) -> None:
        placed = placement(seed, self._positions, self._orientations, turn=self._turn)
        env = self.env
        # A scene that is made anew makes tensors of them.
        env.xyz_configs = placed.position[None].astype(np.float32)
        env.quat_configs = placed.orientation[None].astype(np.float32)
        env.reset(seed=seed_of_32_bits(seed), options={"reconfigure": True, "episode_id": 0})
        self.control = HandControl(env)

    def step(self, action: Float32[np.ndarray, " 7"]) -> bool:
        self.control.step(action)
        return bool(self.env.evaluate()["success"])

    def close(self) -> None:
        self.env.close()


class TaskSimulator(ReplayedSimulator[BridgeScene]):
    """One task. Actions are the benchmark's own."""

    def __init__(
        self,
        task: str,
        *,
        draws: bool,
        size: int,
        padded: bool,
        shader: str,
        scenes: int,
        render_device: str,
    ) -> None:
        """``padded``: the published 4 : 3 between black bars; else squeezed into the square."""
        super().__init__(scenes=scenes)
        self._task, self._draws, self._shader = task, draws, shader
        self._size, self._height = size, size * 3 // 4 if padded else size
        self._render_device = render_device
        self._photograph: UInt8[np.ndarray, "h s 3"] | None = None

    def joints(self) -> Float32[np.ndarray, " 8"]:
        """Positions of the six joints, radians, and of the two fingers, metres."""
        return arm.joints(self.now.env)

    def picture(self) -> UInt8[np.ndarray, "s s 3"]:
        """What the camera sees; all but the robot and the objects is the photograph."""
        env = self.now.env
        rgb, own = arm.seen(env, env._segmentation_ids_to_keep.cpu().numpy())
        return arm.square(np.where(own, rgb, self._behind()))

    def things(self) -> Things:
        """Where the grip and the two objects are."""
        env = self.now.env
        tip, closing = arm.grip(env)
        source, target = (self._thing(name) for name in (env.source_obj_name, env.target_obj_name))
        held = self.now.control.grip.holds(env.objs[env.source_obj_name])
        return Things(tip, closing, source, target, held)

    def expert_action(self) -> Float32[np.ndarray, " 7"]:
        """The expert's, from the current state."""
        seen = self.things()
        pose, centre = seen.source.pose, seen.source.centre
        half = seen.source.size / 2
        heights = np.abs(pose[:3, :3]) @ half
        on_target = seen.target.centre[2] + seen.target.size[2] / 2 + heights[2]
        in_sink = TASKS[self._task].scene == SINK
        return expert.action(
            expert.View(
                tip=seen.tip,
                closing=seen.closing,
                source=centre,
                grasp=centre,
                over=centre[2] + expert.HOVER,
                long_axis=pose[:3, int(np.argmax(half))],
                target=seen.target.centre,
                floor=centre[2] - heights[2] if in_sink else TABLE_TOP,
                carry=on_target + expert.HOVER,
                release=on_target + (expert.HOVER / 2 if in_sink else 0.005),
                held=seen.held,
            )
        )

    def _thing(self, name: str) -> Thing:
        env = self.now.env
        size = env.episode_model_bbox_sizes[name].cpu().numpy().astype(np.float64)
        return Thing(arm.matrix(env.objs[name]), size)

    def _behind(self) -> UInt8[np.ndarray, "h s 3"]:
        """The photograph in the size of the pictures."""
        if self._photograph is None:
            from mani_skill import ASSET_DIR
            from PIL import Image

            from pushcut.envs.maniskill.simpler.assets import BRIDGE

            name = PHOTOGRAPHS[TASKS[self._task].scene]
            file = Path(ASSET_DIR) / BRIDGE / "real_inpainting" / name
            image = Image.open(file).convert("RGB")
            size = (self._size, self._height)
            if image.size != size:
                image = image.resize(size, Image.Resampling.BOX)
            self._photograph = np.asarray(image)
        return self._photograph

    def _make(self) -> BridgeScene:
        from mani_skill.envs.tasks.digital_twins.base_env import BaseDigitalTwinEnv
        from mani_skill.envs.tasks.digital_twins.bridge_dataset_eval.base_env import BaseBridgeEnv

        # 3.0.1 draws at every step unless it may be asked for nothing.
        BaseBridgeEnv.SUPPORTED_OBS_MODES = ["none", "rgb+segmentation"]
        # Where nothing is ever drawn there is nothing to put a photograph behind.
        BaseBridgeEnv.rgb_overlay_mode = "background" if self._draws else "none"
        # A list of the class: what another task left in it would be seen in this one's pictures.
        BaseDigitalTwinEnv._objects_to_remove_from_greenscreen.clear()
        env = made(
            self._task,
            draws=self._draws,
            render_device=self._render_device,
            sensor_configs=arm.camera(self._size, self._height, self._shader),
        )
        keep_drawing(env)
        if not self._kept:
            keep_imports_out_of_garbage()
        return BridgeScene(env, TASKS[self._task].turn)
