"""Simplified meshes: fewer faces, the same shape, alike in every process, kept in files."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pushcut.envs.mujoco import mesh_files
from pushcut.envs.mujoco.mesh_files import kept_simplified
from pushcut.envs.mujoco.simplify import Surface, simplified


def sheet(height: float, sign: int, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """A square of 1 m at a height, of 2 cells² faces that look up (1) or down (-1)."""
    ticks = np.linspace(0, 1, cells + 1)
    x, y = np.meshgrid(ticks, ticks, indexing="ij")
    points = np.stack([x.ravel(), y.ravel(), np.full(x.size, height)], axis=1)
    at = np.arange(x.size).reshape(x.shape)
    a, b, c, d = at[:-1, :-1], at[1:, :-1], at[1:, 1:], at[:-1, 1:]
    halves = [np.stack([one.ravel() for one in half], 1) for half in ((a, b, c), (a, c, d))]
    faces = np.concatenate(halves)
    return points, faces[:, ::sign]


def surface(points: np.ndarray, faces: np.ndarray) -> Surface:
    """With a normal and texture coordinates of its own at each vertex."""
    corners = np.repeat(faces[..., None], 2, axis=-1).astype(np.int32)
    return Surface(points.astype(np.float32), faces.astype(np.int32), corners)


def box(cells: int = 20) -> Surface:
    """A cube of 1 m: vertices are shared within a side, but not between sides."""
    sides: list[tuple[np.ndarray, np.ndarray]] = []
    for axis in range(3):
        for height, sign in ((0.0, -1), (1.0, 1)):
            points, faces = sheet(height, sign, cells)
            sides.append((np.roll(points, axis + 1, axis=1), faces))
    count = len(sides[0][0])
    faces = np.concatenate([faces + count * side for side, (_, faces) in enumerate(sides)])
    return surface(np.concatenate([points for points, _ in sides]), faces)


def ball() -> Surface:
    """A sphere of 0.1 m, in 64 slices and 64 stacks."""
    points, faces = sheet(0.0, -1, 64)
    angle, height = 2 * np.pi * points[:, 0], np.pi * points[:, 1]
    places = [np.sin(height) * np.cos(angle), np.sin(height) * np.sin(angle), np.cos(height)]
    return surface(0.1 * np.stack(places, axis=1), faces)


def facing(mesh: Surface) -> np.ndarray:
    a, b, c = (mesh.vertices[mesh.faces[:, corner]] for corner in range(3))
    return np.cross(b - a, c - a)


def test_a_box_loses_the_vertices_of_its_sides_and_keeps_its_corners_and_edges():
    full, found = box(), simplified(box(), 0.2)
    assert len(full.faces) == 4800
    assert len(found.faces) == 300  # 5 × 5 × 2 of each side
    np.testing.assert_allclose(found.vertices.min(axis=0), 0, atol=2e-3)
    np.testing.assert_allclose(found.vertices.max(axis=0), 1, atol=2e-3)
    areas = np.linalg.norm(facing(found), axis=1) / 2
    np.testing.assert_allclose(areas.sum(), 6, rtol=5e-3)


def test_corners_take_the_normals_of_their_own_side():
    full = box()
    found = simplified(full, 0.2)
    a = full.vertices[full.faces]
    sides = np.cross(a[:, 1] - a[:, 0], a[:, 2] - a[:, 0])
    side_of = np.zeros((len(full.vertices), 3))
    side_of[full.faces.ravel()] = np.repeat(sides, 3, axis=0)
    side_of /= np.linalg.norm(side_of, axis=1, keepdims=True)
    looks = facing(found) / np.linalg.norm(facing(found), axis=1, keepdims=True)
    agree = (side_of[found.corners[..., 0]] * looks[:, None]).sum(axis=-1)
    assert agree.min() > 0.99
    np.testing.assert_array_equal(found.corners[..., 0], found.corners[..., 1])


def test_both_sides_of_a_thin_sheet_stay():
    (up, faces), (down, other) = sheet(0.0, 1, 20), sheet(-0.001, -1, 20)
    found = simplified(
        surface(np.concatenate([up, down]), np.concatenate([faces, other + 441])), 0.1
    )
    heights = np.sign(facing(found)[:, 2])
    assert ((heights > 0).sum(), (heights < 0).sum()) == (200, 200)


@pytest.mark.parametrize(("detail", "most"), [(0.01, 4800), (0.02, 1500), (0.04, 400)])
def test_a_ball_stays_a_ball(detail: float, most: int):
    found = simplified(ball(), detail)
    assert 100 < len(found.faces) <= most
    distance = np.linalg.norm(found.vertices, axis=1)
    assert np.abs(distance - 0.1).max() < detail / 4
    assert ((facing(found) * found.vertices[found.faces].mean(axis=1)).sum(axis=1) > 0).all()


def test_what_has_few_faces_or_no_small_details_stays_as_it_is():
    few, coarse = box(4), box()
    assert len(surface(*sheet(0.0, 1, 7)).faces) == 98
    small = surface(*sheet(0.0, 1, 7))
    assert simplified(small, 0.5) is small
    assert len(simplified(few, 0.001).faces) == len(few.faces)
    assert len(simplified(coarse, 0.04).faces) == 4800


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "pushcut" / "meshes"


def the_same(one: Surface, other: Surface) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in vars(one)
    ) and all(getattr(one, name).dtype == getattr(other, name).dtype for name in vars(one))


def test_a_mesh_is_simplified_once_and_then_read(cache: Path, monkeypatch: pytest.MonkeyPatch):
    first = kept_simplified(ball(), 0.02)
    assert the_same(first, simplified(ball(), 0.02))
    (file,) = cache.iterdir()
    assert file.suffix == ".mesh"

    def unexpected(*_: object) -> Surface:
        raise AssertionError("made again")

    monkeypatch.setattr(mesh_files, "simplified", unexpected)
    assert the_same(kept_simplified(ball(), 0.02), first)
    for other in ((ball(), 0.04), (box(), 0.02)):
        with pytest.raises(AssertionError, match="made again"):
            kept_simplified(*other)


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "foreign"])
def test_a_damaged_file_is_made_again(cache: Path, damage: str):
    first = kept_simplified(ball(), 0.02)
    (file,) = cache.iterdir()
    sound = file.read_bytes()
    content = bytearray(sound)
    content[len(content) // 2] ^= 1
    written = {"empty": b"", "cut": sound[:-7], "flipped": bytes(content), "foreign": b"x" * 900}
    file.write_bytes(written[damage])
    assert the_same(kept_simplified(ball(), 0.02), first)
    assert file.read_bytes() == sound
    assert list(cache.iterdir()) == [file]


def test_a_place_that_cannot_be_written_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert the_same(kept_simplified(ball(), 0.02), simplified(ball(), 0.02))


def digest(mesh: Surface) -> str:
    return hashlib.sha256(b"".join(value.tobytes() for value in vars(mesh).values())).hexdigest()


def test_another_process_makes_the_same_mesh():
    code = "from tests.envs.mujoco.test_simplify import *; print(digest(simplified(ball(), 0.013)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == digest(simplified(ball(), 0.013))
