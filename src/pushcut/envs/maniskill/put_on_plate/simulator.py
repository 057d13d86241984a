"""One of the variants in SAPIEN: exact resets, pictures with a photograph behind them.

This module imports the simulator, so it is itself imported late, by ``env``.
"""

# These packages are in ManiSkill's own environment only.
# pyright: reportMissingImports=false

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from pushcut.envs.maniskill.put_on_plate.assets import TABLE, database
from pushcut.envs.maniskill.put_on_plate.grasp import grasp_of
from pushcut.envs.maniskill.put_on_plate.outcome import Reward
from pushcut.envs.maniskill.put_on_plate.pictures import Backdrop
from pushcut.envs.maniskill.put_on_plate.scene import PlateEnv, PlateScene
from pushcut.envs.maniskill.put_on_plate.starts import Start, start_of
from pushcut.envs.maniskill.put_on_plate.variants import Variant
from pushcut.envs.maniskill.sapien_process import keep_imports_out_of_garbage, playing_options
from pushcut.envs.maniskill.simpler.assets import TABLE_TOP
from pushcut.envs.maniskill.widowx import arm, expert
from pushcut.envs.maniskill.widowx.state import Thing, Things
from pushcut.envs.replayed import ReplayedSimulator
from pushcut.envs.resized import resized

REACH = 0.034
"""How far below a thing's top the finger tips come before the palm touches it, metres."""
SURFACE = 600
"""Points on a model that the expert looks at."""


class VariantSimulator(ReplayedSimulator[PlateScene]):
    """One variant. Actions are the benchmark's own."""

    def __init__(
        self,
        variant: Variant,
        folder: Path,
        *,
        settle: bool,
        reward: Reward,
        draws: bool,
        size: int,
        padded: bool,
        shader: str,
        scenes: int,
        render_device: str,
    ) -> None:
        """``padded``: the published 4 : 3 between black bars; else squeezed into the square."""
        super().__init__(scenes=scenes)
        self._variant, self._folder, self._settle = variant, folder, settle
        self._reward: Reward = reward
        self._size, self._height = size, size * 3 // 4 if padded else size
        camera = arm.camera(self._size, self._height, shader)
        self._options = playing_options(draws=draws, render_device=render_device) | {
            "sensor_configs": camera
        }

    def joints(self) -> Float32[np.ndarray, " 8"]:
        """Positions of the six joints, radians, and of the two fingers, metres."""
        return arm.joints(self.now.env)

    def reward(self) -> float:
        """The reward of the last control step."""
        return self.now.outcome.reward

    def picture(self) -> UInt8[np.ndarray, "s s 3"]:
        """What the camera sees, put together as the variant has it."""
        env = self.now.env
        rgb, own = arm.seen(env, env.kept())
        start: Start = env.start_state
        return arm.square(self._backdrop(start).behind(rgb, own))

    def things(self) -> Things:
        """Where the grip, the object and the receptacle are."""
        env = self.now.env
        tip, closing = arm.grip(env)
        obj, receptacle = env.actors[:2]
        held = self.now.control.grip.holds(obj)
        return Things(tip, closing, _thing(obj), _thing(receptacle), held)

    def expert_action(self) -> Float32[np.ndarray, " 7"]:
        """The expert's, from the current state."""
        seen = self.things()
        points, below = (_in_the_world(actor) for actor in self.now.env.actors[:2])
        grasp, bottom, top = grasp_of(points), points[:, 2].min(), points[:, 2].max()
        on_target = below[:, 2].max() + seen.source.centre[2] - bottom
        return expert.action(
            expert.View(
                tip=seen.tip,
                closing=seen.closing,
                source=seen.source.centre,
                grasp=grasp.point,
                over=max(grasp.point[2] + expert.HOVER, top + expert.HOVER / 2),
                long_axis=grasp.along,
                target=seen.target.centre,
                floor=max(TABLE_TOP, bottom, top - REACH),
                carry=on_target + expert.HOVER,
                release=on_target + 0.005,
                held=seen.held,
            )
        )

    def _backdrop(self, start: Start) -> Backdrop:
        variant = self._variant
        listed = list(database(TABLE, self._folder).items())
        photograph = self._image(f"imgs/{listed[start.table][0]}")
        if variant.extra not in ("texture", "whole"):
            return Backdrop(photograph)
        entry = listed[start.texture][1]
        texture = _pixels(self._folder / TABLE / "textures" / entry["texture"])
        return Backdrop(photograph, texture, variant.extra, variant.mix * entry["mix"])

    def _image(self, name: str) -> UInt8[np.ndarray, "h s 3"]:
        """A photograph in the size of the pictures."""
        from PIL import Image

        pixels = _pixels(self._folder / TABLE / name)
        if pixels.shape[:2] != (480, 640):
            pixels = resized(pixels, 480, 640).round().astype(np.uint8)
        image = Image.fromarray(pixels).resize((self._size, self._height), Image.Resampling.BOX)
        return np.asarray(image)

    def _make(self) -> PlateScene:
        variant, settle = self._variant, self._settle

        def start(seed: int) -> Start:
            return start_of(variant, variant.of_seed(seed), settle=settle)

        if not self._kept:
            keep_imports_out_of_garbage()
        return PlateScene(
            partial(PlateEnv, folder=self._folder, **self._options), start, self._reward
        )


def _pixels(file: Path) -> UInt8[np.ndarray, "_ _ 3"]:
    from PIL import Image

    return np.asarray(Image.open(file).convert("RGB"))


def _surface(actor: Any) -> Float64[np.ndarray, "n 3"]:
    """Points on what collides of an actor, metres, in its own frame; the same ones each time."""
    points = actor.__dict__.get("_surface_points")
    if points is None:
        import trimesh

        mesh = actor.get_first_collision_mesh(to_world_frame=False)
        points, _ = trimesh.sample.sample_surface(mesh, SURFACE, seed=0)
        points = actor.__dict__["_surface_points"] = np.asarray(points, np.float64)
    return points


def _in_the_world(actor: Any) -> Float64[np.ndarray, "n 3"]:
    """The points in the world frame, metres."""
    pose = arm.matrix(actor)
    return _surface(actor) @ pose[:3, :3].T + pose[:3, 3]


def _thing(actor: Any) -> Thing:
    return Thing(arm.matrix(actor), np.ptp(_surface(actor), axis=0))
