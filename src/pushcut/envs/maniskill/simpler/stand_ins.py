"""Stand-ins for files that SIMPLER's tasks lack, made by trimesh, which comes with ManiSkill."""

# These packages are in ManiSkill's own environment only.
# pyright: reportMissingImports=false

from __future__ import annotations

from pathlib import Path

import numpy as np

from pushcut.envs.maniskill.simpler.assets import BRIDGE, TABLE_TOP

TABLE_CENTRE = (-2.2234, 2.8313)
"""Under the robot, metres; in the stages' files y points up, and they are put aside by as much."""
TABLE_SIZE = (1.6, 0.1, 1.6)
"""Metres."""
PURPLE = (72, 31, 86, 255)


def make(file: Path, folder: Path) -> None:
    """Writes the table, or the eggplant by its collision mesh; ``folder`` is the user's."""
    import trimesh

    if "bridge_table" in file.name:
        x, z = TABLE_CENTRE
        place = np.eye(4)
        place[:3, 3] = x, TABLE_TOP - TABLE_SIZE[1] / 2, z
        trimesh.creation.box(TABLE_SIZE, place).export(file)
        return
    mesh = trimesh.load(folder / BRIDGE / "custom/models/eggplant/collision.obj", force="mesh")
    trimesh.Trimesh(mesh.vertices, mesh.faces, vertex_colors=PURPLE).export(file)
