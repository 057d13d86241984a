"""Datasets that one program writes and the other one reads: equal numbers, equal pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pushcut.commands.collect import run_collect
from pushcut.demos.dataset import DemoDataset


@pytest.mark.parametrize("storage", ["image", "video"])
def test_lerobot_reads_what_collect_writes(storage, smoke, lerobot, tmp_path):
    collect = replace(smoke.collect, episodes_per_task=2, storage=storage, out=tmp_path / "set")
    ours = DemoDataset.open(run_collect(collect))
    lerobot("read_dataset", root=tmp_path / "set", out=tmp_path / "theirs.npz")
    theirs = np.load(tmp_path / "theirs.npz")
    assert theirs["fps"] == ours.info.fps
    np.testing.assert_array_equal(theirs["observation.state"], ours.frames.state)
    np.testing.assert_array_equal(theirs["action"], ours.frames.action)
    episodes = np.repeat([e.index for e in ours.episodes], [e.length for e in ours.episodes])
    np.testing.assert_array_equal(theirs["episode_index"], episodes)
    tasks = np.repeat([e.instruction for e in ours.episodes], [e.length for e in ours.episodes])
    assert theirs["task"].tolist() == tasks.tolist()
    assert ours.frames.images
    for camera, pictures in ours.frames.images.items():
        np.testing.assert_array_equal(theirs[f"observation.images.{camera}"], pictures)


@pytest.mark.parametrize("videos", [False, True], ids=["image", "video"])
def test_pushcut_reads_what_lerobot_writes(videos, lerobot, tmp_path):
    generator = np.random.default_rng(0)
    # Smooth pictures: AV1, which LeRobot takes for videos, keeps noise badly.
    ramp = np.linspace(0, 200, 64).astype(np.uint8)
    picture = np.stack([np.tile(ramp, (64, 1)), np.tile(ramp, (64, 1)).T, np.full((64, 64), 90)], 2)
    given = {
        "observation.state": generator.normal(size=(9, 3)).astype(np.float32),
        "action": generator.uniform(-1, 1, (9, 2)).astype(np.float32),
        "observation.images.front": np.stack([picture + 5 * t for t in range(9)]).astype(np.uint8),
        "task": np.array(["push the cube"] * 4 + ["open the drawer"] * 5),
        "episode_index": np.array([0] * 4 + [1] * 5),
    }
    np.savez(tmp_path / "given.npz", **given)
    lerobot("write_dataset", root=tmp_path / "set", given=tmp_path / "given.npz", videos=videos)
    ours = DemoDataset.open(tmp_path / "set")
    np.testing.assert_array_equal(ours.frames.state, given["observation.state"])
    np.testing.assert_array_equal(ours.frames.action, given["action"])
    assert [(e.length, e.instruction) for e in ours.episodes] == [
        (4, "push the cube"),
        (5, "open the drawer"),
    ]
    wanted = given["observation.images.front"]
    if videos:
        lerobot("read_dataset", root=tmp_path / "set", out=tmp_path / "theirs.npz")
        decoded = np.load(tmp_path / "theirs.npz")["observation.images.front"]
        assert abs(decoded.astype(int) - wanted).mean() < 3  # compression
        wanted = decoded
    np.testing.assert_array_equal(ours.frames.images["front"], wanted)
