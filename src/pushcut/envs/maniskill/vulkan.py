"""Whether Vulkan draws for ManiSkill here, found by drawing a box."""

# These packages are in ManiSkill's own environment only.
# pyright: reportMissingImports=false

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from pushcut.envs.isolated.simulators import run_isolated
from pushcut.envs.mujoco.gl import GlProbe

ADVICE = (
    "a GPU needs its Vulkan driver (in a container: NVIDIA_DRIVER_CAPABILITIES=all); for a CPU "
    "`pushcut sims install maniskill` fetches one, also where ManiSkill is there already"
)
"""What would make images possible."""


def probe_vulkan(python: Path, *, timeout: float = 120.0) -> GlProbe:
    """Draws with ManiSkill's interpreter, in a process of its own."""
    try:
        done = run_isolated(python, __name__, timeout=timeout)
    except subprocess.TimeoutExpired:
        return GlProbe("vulkan", False, 0.0, f"no frame within {timeout:g} s")
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return GlProbe("vulkan", False, 0.0, lines[-1].removeprefix("RuntimeError: "))
    return GlProbe("vulkan", True, json.loads(done.stdout.splitlines()[-1]), "draws a box")


def main() -> None:
    """Draws a red box in 64 pixels and prints the milliseconds per frame."""
    import time

    import sapien

    scene = sapien.Scene()
    scene.set_ambient_light([1.0, 1.0, 1.0])
    builder = scene.create_actor_builder()
    builder.add_box_visual(half_size=[0.3] * 3, material=[1.0, 0.0, 0.0])
    builder.build_static(name="box")
    camera = scene.add_camera("camera", 64, 64, 1.0, 0.01, 10.0)
    camera.set_entity_pose(sapien.Pose([-2.0, 0.0, 0.0]))
    start = 0.0
    image = None
    for frame in range(11):
        if frame == 1:  # the first one compiles shaders
            start = time.perf_counter()
        scene.update_render()
        camera.take_picture()
        image = camera.get_picture("Color")
    if image is None or not image[32, 32, 0] > image[32, 32, 1]:
        raise RuntimeError("the image does not show what was drawn")
    print(json.dumps((time.perf_counter() - start) * 100))


if __name__ == "__main__":
    main()
