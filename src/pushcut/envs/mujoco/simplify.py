"""Meshes with fewer faces that look the same: clusters of vertices become one vertex each.

The vertices in a cell of a grid meet where their faces' planes do (Lindstrom 2000, "Out-of-core
simplification of large polygonal models"), so that edges and corners keep their place. Faces that
are left with fewer than three corners go. Long and flat ones stay as they are, and so does the
shading, which OpenGL computes at vertices. Corners take normals and texture coordinates from the
old corners that are nearest: no new ones are made up. The same mesh gives the same result in every
process.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int32, Integer
from scipy.spatial import KDTree

FEW_FACES = 100
"""Meshes with so few faces cost next to nothing to draw."""

STIFFNESS = 0.01
"""How firmly a vertex is held at its cluster's mean where planes leave it free, beside them."""


@dataclass(frozen=True)
class Surface:
    """Triangles, each corner with its vertex, its normal and its texture coordinates."""

    vertices: Float[np.ndarray, "v 3"]
    """Metres."""
    faces: Integer[np.ndarray, "f 3"]
    corners: Integer[np.ndarray, "f 3 2"]
    """Indices of each corner's normal and texture coordinates among those of the mesh."""


def simplified(surface: Surface, detail: float) -> Surface:
    """The surface without details smaller than ``detail`` metres; itself where none is saved."""
    points, faces = _welded(surface)
    if min(len(surface.faces), len(faces)) <= FEW_FACES:
        return surface
    moved, fewer = _clustered(points, faces, detail)
    if not 0 < len(fewer) < len(surface.faces) or len(moved) > len(surface.vertices):
        return surface
    return Surface(moved.astype(np.float32), fewer, _corners(moved, fewer, surface, detail))


def _welded(surface: Surface) -> tuple[Float[np.ndarray, "p 3"], Int32[np.ndarray, "f 3"]]:
    """Points and faces in which corners at one place share a vertex, so that no gap opens."""
    points, index = np.unique(surface.vertices, axis=0, return_inverse=True)
    return points.astype(np.float64), _proper(index.reshape(-1)[surface.faces])


def _proper(faces: Integer[np.ndarray, "f 3"]) -> Int32[np.ndarray, "g 3"]:
    """Without faces of which two corners are one."""
    a, b, c = faces.T
    return faces[(a != b) & (b != c) & (a != c)].astype(np.int32)


def _clustered(
    points: Float[np.ndarray, "p 3"], faces: Int32[np.ndarray, "f 3"], cell: float
) -> tuple[Float[np.ndarray, "q 3"], Int32[np.ndarray, "g 3"]]:
    """One vertex for all in a cell, and each face that is left once, in its old order."""
    cells = np.floor((points - points.min(axis=0)) / cell + 0.5).astype(np.int64)
    _, cluster = np.unique(cells, axis=0, return_inverse=True)
    cluster = cluster.reshape(-1)
    left = _proper(cluster[faces])
    # The same three corners in the same sense of rotation: the two sides of a sheet both stay.
    first = left.argmin(axis=1)[:, None]
    turned = np.take_along_axis(left, (first + np.arange(3)) % 3, axis=1)
    _, once = np.unique(turned, axis=0, return_index=True)
    left = turned[np.sort(once)]
    used, index = np.unique(left, return_inverse=True)
    merged = _merged(points, faces, cluster, cell)
    return merged[used], index.reshape(-1, 3).astype(np.int32)


def _merged(
    points: np.ndarray, faces: np.ndarray, cluster: np.ndarray, cell: float
) -> Float[np.ndarray, "clusters 3"]:
    """Where each cluster's vertex goes: to where the planes of its faces meet, within its cell."""
    count = int(cluster.max()) + 1
    members = np.bincount(cluster, minlength=count)
    mean = _sums(points, cluster, count) / members[:, None]
    areas = _areas(points, faces)
    size = np.linalg.norm(areas, axis=1)
    normals = areas / np.maximum(size, 1e-18)[:, None]
    planes, pulls, weight = np.zeros((count, 9)), np.zeros((count, 3)), np.zeros(count)
    outer = (normals[:, :, None] * normals[:, None, :]).reshape(-1, 9) * size[:, None]
    for corner in range(3):
        at = cluster[faces[:, corner]]
        away = ((points[faces[:, 0]] - mean[at]) * normals).sum(axis=1) * size
        planes += _sums(outer, at, count)
        pulls += _sums(normals * away[:, None], at, count)
        weight += np.bincount(at, size, minlength=count)
    held = np.maximum(weight, 1e-18)[:, None]
    matrix = (planes / held).reshape(-1, 3, 3) + STIFFNESS * np.eye(3)
    shift = _solved(matrix, pulls / held)
    far = np.abs(shift).max(axis=1, keepdims=True)
    shift *= np.minimum(1.0, cell / 2 / np.maximum(far, 1e-18))
    return np.where(members[:, None] > 1, mean + shift, mean)


def _sums(values: np.ndarray, index: np.ndarray, count: int) -> Float[np.ndarray, "count n"]:
    """Sums of the rows that have the same index, in their order."""
    columns = [np.bincount(index, column, minlength=count) for column in values.T]
    return np.stack(columns, axis=1)


def _solved(matrix: np.ndarray, right: np.ndarray) -> Float[np.ndarray, "n 3"]:
    """Solves symmetric equations [n, 3, 3] by Cramer's rule: to the bit alike on any machine."""
    a, b, c = matrix[:, 0], matrix[:, 1], matrix[:, 2]
    cofactors = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], axis=1)
    determinant = (a * cofactors[:, 0]).sum(axis=1)
    return (cofactors * right[:, :, None]).sum(axis=1) / determinant[:, None]


def _corners(
    moved: np.ndarray, fewer: np.ndarray, surface: Surface, detail: float
) -> Integer[np.ndarray, "f 3 2"]:
    """What the nearest old corners have, for each new one.

    Near in place and in where their faces look to: the two sides of an edge keep their own.
    """
    scale = 2.0 / detail
    old = surface.vertices.astype(np.float64)
    places = old[surface.faces].reshape(-1, 3)
    tree = KDTree(np.hstack([places * scale, _facing(old, surface.faces)]))
    wanted = moved[fewer].reshape(-1, 3)
    _, nearest = tree.query(np.hstack([wanted * scale, _facing(moved, fewer)]))
    return surface.corners.reshape(-1, 2)[nearest].reshape(-1, 3, 2)


def _facing(points: np.ndarray, faces: np.ndarray) -> Float[np.ndarray, "corners 3"]:
    """The unit normal of each corner's face."""
    areas = _areas(points, faces)
    unit = areas / np.maximum(np.linalg.norm(areas, axis=1, keepdims=True), 1e-18)
    return np.repeat(unit, 3, axis=0)


def _areas(points: np.ndarray, faces: np.ndarray) -> Float[np.ndarray, "f 3"]:
    """Normals of faces, as long as twice their areas."""
    a, b, c = (points[faces[:, corner]] for corner in range(3))
    return np.cross(b - a, c - a)
