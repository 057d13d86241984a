"""What OpenGL gets of a model's meshes: fewer faces, while the model itself stays as it is.

This module imports MuJoCo, so it is itself imported late.
"""

# mujoco has no type stubs for its compiled part.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import mujoco
import numpy as np

from pushcut.envs.mujoco.mesh_files import kept_simplified
from pushcut.envs.mujoco.simplify import Surface

CHANGED = ("mesh_vert", "mesh_face", "mesh_facenormal", "mesh_facetexcoord", "mesh_facenum")
"""Fields of a model that hold what is drawn of a mesh, and nothing that is uploaded later."""

ROUND = (12, 6)
"""Slices and stacks of spheres, cylinders and capsules, which MuJoCo draws with 28 and 16: within
2 mm of a circle of 5 cm."""


@contextmanager
def drawn_meshes(model: mujoco.MjModel, detail: float) -> Iterator[None]:
    """Inside, the model's meshes lack details smaller than ``detail`` metres; 0 changes nothing.

    For the moment in which they are uploaded. Afterwards the model is what it was, to the bit:
    collisions, inertia and everything else that is computed from it never see the difference.
    """
    if detail == 0:
        yield
        return
    before = {name: getattr(model, name).copy() for name in CHANGED}
    quality = model.vis.quality
    rounded = quality.numslices, quality.numstacks
    try:
        quality.numslices, quality.numstacks = np.minimum(rounded, ROUND).tolist()
        for mesh in range(model.nmesh):
            _simplify(model, mesh, detail)
        yield
    finally:
        for name, values in before.items():
            getattr(model, name)[:] = values
        quality.numslices, quality.numstacks = rounded


def _simplify(model: mujoco.MjModel, mesh: int, detail: float) -> None:
    """Writes the simplified mesh to where the mesh was: it takes less room."""
    vertex, face = int(model.mesh_vertadr[mesh]), int(model.mesh_faceadr[mesh])
    vertices = slice(vertex, vertex + int(model.mesh_vertnum[mesh]))
    faces = slice(face, face + int(model.mesh_facenum[mesh]))
    attributes = [model.mesh_facenormal[faces], model.mesh_facetexcoord[faces]]
    surface = Surface(
        model.mesh_vert[vertices].copy(),
        model.mesh_face[faces].copy(),
        np.stack(attributes, axis=-1),
    )
    fewer = kept_simplified(surface, detail)
    model.mesh_vert[vertex : vertex + len(fewer.vertices)] = fewer.vertices
    kept = slice(face, face + len(fewer.faces))
    model.mesh_face[kept] = fewer.faces
    model.mesh_facenormal[kept] = fewer.corners[..., 0]
    model.mesh_facetexcoord[kept] = fewer.corners[..., 1]
    model.mesh_facenum[mesh] = len(fewer.faces)
