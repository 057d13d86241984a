"""SAPIEN in this process: imported once, with or without a device to draw on; environments made.

This module imports the simulator, so it is itself imported late, by the environments.

PhysX keeps contacts from step to step (what the solver starts from, and in which order it
takes them) and offers no way to save them: positions and velocities put back in the middle of
a grasp go another way within one step. What is exact is a scene that was made anew and played
from its seed (``envs.replayed``).
"""

# These packages are in ManiSkill's own environment only.
# pyright: reportMissingImports=false

from __future__ import annotations

import gc
import logging
import os
import warnings
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64

from pushcut.envs.maniskill.devices import NO_VULKAN, choose_device
from pushcut.errors import UserError


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
        import mani_skill
        import mani_skill.envs  # registers the tasks

        # It warns of what its own tasks do, at each scene anew.
        mani_skill.logger.setLevel(logging.ERROR)


def made(task: str, *, draws: bool, render_device: str, **options: Any) -> Any:
    """One of ManiSkill's environments, which draws nothing unless it is asked."""
    import gymnasium

    options = playing_options(draws=draws, render_device=render_device) | options
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return gymnasium.make(task, **options).unwrapped


def playing_options(*, draws: bool, render_device: str) -> dict[str, Any]:
    """What every environment of ManiSkill's is made with here."""
    import sapien

    drawing = choose_device(render_device, sapien.Device, os.environ).name if draws else "none"
    return {
        "obs_mode": "none",
        "reward_mode": "none",
        "sim_backend": "physx_cpu",
        "render_backend": drawing,
    }


_drawing: list[Any] = []


def keep_drawing(env: Any) -> None:
    """Keeps what draws for the rest of the process.

    SAPIEN lets go of it with the last scene, and the next one has everything compiled anew, which
    takes 7 s with lavapipe.
    """
    if not _drawing and env.scene.can_render():
        _drawing.append(env.scene.sub_scenes[0].render_system)


def keep_imports_out_of_garbage() -> None:
    """Making a scene anew collects garbage, which takes 0.2 s with all that was imported."""
    gc.collect()
    gc.freeze()


def sapien_pose(thing: Any) -> Any:
    """SAPIEN's own pose of an actor or link, read faster than ManiSkill's."""
    first = thing._objs[0]
    return first.pose if thing.__class__.__name__ == "Actor" else first.entity_pose


def pose_of(thing: Any) -> Float64[np.ndarray, " 7"]:
    """Position and quaternion (w first, w >= 0) of an actor or link."""
    pose = sapien_pose(thing)
    return np.concatenate([pose.p, pose.q if pose.q[0] >= 0 else -pose.q]).astype(np.float64)


def positions_of(env: Any) -> Float32[np.ndarray, " joints"]:
    """Positions of the robot's joints, radians, and of its fingers, metres."""
    return env.agent.robot._objs[0].qpos.astype(np.float32)


class _NoMaterial:
    """Stands in for a material that nobody will see."""

    def __init__(self, *args: object, **values: object) -> None:
        self.__dict__.update(values)


def _require_vulkan(sapien: Any) -> None:
    try:
        sapien.render.RenderMaterial()
    except RuntimeError as error:
        raise UserError(NO_VULKAN) from error
