"""Files in the layout of SIMPLER's, made up: an arm of boxes, boxes for objects, plain photographs.

Less than 50 KB. The arm has the joints and lengths of a WidowX 250 S, so that the tasks' own
controller moves it as it moves the real one.
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from pushcut.envs.maniskill.simpler.assets import BRIDGE, PHOTOGRAPHS, ROBOT
from pushcut.envs.maniskill.simpler.tasks import TASKS

JOINTS = (
    # name, kind, parent, child, offset, axis, lower, upper, effort
    ("waist", "revolute", "base_link", "shoulder_link", (0, 0, 0.072), "0 0 1", -3.14, 3.14, 10),
    ("shoulder", "revolute", "shoulder_link", "upper_arm_link", (0, 0, 0.03865), "0 1 0",
     -1.885, 1.99, 20),
    ("elbow", "revolute", "upper_arm_link", "upper_forearm_link", (0.04975, 0, 0.25), "0 1 0",
     -2.147, 1.606, 15),
    ("forearm_roll", "revolute", "upper_forearm_link", "lower_forearm_link", (0.175, 0, 0),
     "1 0 0", -3.14, 3.14, 2),
    ("wrist_angle", "revolute", "lower_forearm_link", "wrist_link", (0.075, 0, 0), "0 1 0",
     -1.745, 2.147, 5),
    ("wrist_rotate", "revolute", "wrist_link", "gripper_link", (0.065, 0, 0), "1 0 0",
     -3.14, 3.14, 1),
    ("ee_bar", "fixed", "gripper_link", "fingers_link", (0.066, 0, 0), "1 0 0", 0, 0, 0),
    ("left_finger", "prismatic", "fingers_link", "left_finger_link", (0, 0, 0), "0 1 0",
     0.015, 0.037, 5),
    ("right_finger", "prismatic", "fingers_link", "right_finger_link", (0, 0, 0), "0 -1 0",
     0.015, 0.037, 5),
    ("ee_gripper", "fixed", "fingers_link", "ee_gripper_link", (0.027575, 0, 0), "1 0 0", 0, 0, 0),
)  # fmt: skip

HALF = {
    "bridge_spoon_generated_modified": (0.045, 0.012, 0.009),
    "table_cloth_generated_shorter": (0.055, 0.055, 0.003),
    "bridge_carrot_generated_modified": (0.0575, 0.016, 0.018),
    "bridge_plate_objaverse_larger": (0.055, 0.055, 0.004),
    "baked_green_cube_3cm": (0.015, 0.015, 0.015),
    "baked_yellow_cube_3cm": (0.015, 0.015, 0.015),
    "eggplant": (0.04, 0.018, 0.018),
    "dummy_sink_target_plane": (0.08, 0.06, 0.002),
    "sink": (0.2, 0.2, 0.01),
}
"""Half edges of each model, metres."""

GREY = {"flat_table": 90, "sink": 160}
"""Photographs of one grey each."""


def write_assets(folder: Path) -> Path:
    """Writes everything but the tables, for which ``stand_ins`` are there; for $MS_ASSET_DIR."""
    data = folder / "data"
    _write_robot(data / ROBOT)
    models = {name: write_model(data / BRIDGE / "custom/models" / name, half) for name, half in
              HALF.items()}  # fmt: skip
    for name in ("info_bridge_custom_v0.json", "info_bridge_custom_baked_tex_v0.json"):
        (data / BRIDGE / "custom" / name).write_text(json.dumps(models))
    photographs = data / BRIDGE / "real_inpainting"
    photographs.mkdir(parents=True)
    for scene, name in PHOTOGRAPHS.items():
        pixels = np.full((480, 640, 3), GREY[scene], np.uint8)
        Image.fromarray(pixels).save(photographs / name)
    return folder


def _write_robot(folder: Path) -> None:
    folder.mkdir(parents=True)
    links = {"base_link": (0.04, 0.04, 0.03)}
    joints = []
    for name, kind, parent, child, offset, axis, lower, upper, effort in JOINTS:
        fingers = child.endswith("finger_link")
        links[child] = (0.04, 0.004, 0.012) if fingers else (0.012, 0.012, 0.012)
        limit = f'<limit lower="{lower}" upper="{upper}" effort="{effort}" velocity="3.14"/>'
        joints.append(
            f'<joint name="{name}" type="{kind}"><parent link="{parent}"/><child link="{child}"/>'
            f'<origin xyz="{" ".join(map(str, offset))}" rpy="0 0 0"/><axis xyz="{axis}"/>'
            f"{limit if kind != 'fixed' else ''}</joint>"
        )
    bodies = [_link(name, half, solid=name.endswith("finger_link")) for name, half in links.items()]
    text = f'<robot name="wx250s">{"".join(bodies)}{"".join(joints)}</robot>'
    (folder / "wx250s.urdf").write_text(text)


def _link(name: str, half: tuple[float, ...], *, solid: bool) -> str:
    """A box around the link's origin; a finger's reaches its tip, 44 mm away."""
    size = " ".join(str(2 * edge) for edge in half)
    x = 0.004 if solid else 0
    shape = f'<origin xyz="{x} 0 0" rpy="0 0 0"/><geometry><box size="{size}"/></geometry>'
    inertia = '<inertia ixx="1e-4" iyy="1e-4" izz="1e-4" ixy="0" ixz="0" iyz="0"/>'
    body = f'<inertial><mass value="0.1"/>{inertia}</inertial><visual>{shape}</visual>'
    return f'<link name="{name}">{body}{f"<collision>{shape}</collision>" if solid else ""}</link>'


def write_model(folder: Path, half: tuple[float, ...]) -> dict:
    """A box of these half edges, metres; returns its entry in the list of models."""
    folder.mkdir(parents=True)
    corners = [(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
    lines = [f"v {' '.join(f'{s * h:.5f}' for s, h in zip(c, half, strict=True))}" for c in corners]
    quads = ((1, 2, 4, 3), (5, 7, 8, 6), (1, 5, 6, 2), (3, 4, 8, 7), (1, 3, 7, 5), (2, 6, 8, 4))
    lines += [f"f {a} {b} {c}\nf {a} {c} {d}" for a, b, c, d in quads]
    text = "\n".join(lines) + "\n"
    for name in ("collision.obj", "textured.obj"):
        (folder / name).write_text(text)
    box = {"min": [-edge for edge in half], "max": list(half)}
    return {"bbox": box, "scales": [1.0], "density": 600}


def tasks_with_models() -> set[str]:
    """Every model of every task, to compare with what is made."""
    return {model for task in TASKS.values() for model in task.models}
