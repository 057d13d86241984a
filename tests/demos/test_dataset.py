from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pushcut.demos.dataset import DemoDataset
from pushcut.demos.lerobot.writer import DatasetWriter
from pushcut.errors import UserError
from tests.demos.examples import SPEC, demonstration, write_example


@pytest.fixture
def dataset(tmp_path):
    return DemoDataset.open(write_example(tmp_path / "set"))


def test_what_was_written_is_read_back_bit_for_bit(dataset):
    observation, action, _ = dataset.batch(np.arange(7, 12), horizon=1)  # the third episode
    wanted = demonstration("push", 2, 5)
    np.testing.assert_array_equal(action[:, 0], wanted.action)
    np.testing.assert_array_equal(observation.state, wanted.observation.state)
    assert observation.instruction == wanted.observation.instruction
    for camera, images in wanted.observation.images.items():
        np.testing.assert_array_equal(observation.images[camera], images)


def test_video_images_are_nearly_what_was_written(tmp_path):
    dataset = DemoDataset.open(write_example(tmp_path / "set", "video"))
    observation, _, _ = dataset.batch(np.arange(7, 12), horizon=1)
    for camera, images in demonstration("push", 2, 5).observation.images.items():
        error = np.abs(observation.images[camera].astype(int) - images)
        assert error.max() <= 4  # neighbouring frames differ by 1, episodes by 10


def test_info_tells_sizes_rate_and_tasks(dataset):
    info = dataset.info
    cameras = {name: (camera.height, camera.width) for name, camera in info.cameras.items()}
    assert cameras == {"front": (16, 24), "wrist": (8, 8)}
    assert (info.state_size, info.action_size, info.fps) == (3, 2, 10)
    assert info.action_names == ("dx", "dy")
    assert info.tasks == {0: "push the cube", 1: "open the drawer"}
    assert [(e.length, e.task_name, e.seed) for e in dataset.episodes] == [
        (3, "push", 0),
        (4, "open", 1),
        (5, "push", 2),
        (2, "open", 3),
    ]


def test_a_chunk_past_the_end_repeats_the_last_action_and_is_masked(dataset):
    # frame 1 is t = 1 of 3: actions t = 1, 2, then 2 again; frame 3 begins the next episode
    _, action, valid = dataset.batch([1, 3], horizon=4)
    np.testing.assert_array_equal(action[0, :, 0], [1, 2, 2, 2])
    np.testing.assert_array_equal(valid[0], [True, True, False, False])
    np.testing.assert_array_equal(action[1], [[0, -1], [1, -1], [2, -1], [3, -1]])
    assert valid[1].all()


def test_a_chunk_ends_where_the_instruction_changes(tmp_path):
    # An episode of 5 frames: after three of them another thing is to be done.
    chain = demonstration("push", 0, 5)
    told = ["push the cube"] * 3 + ["open the drawer"] * 2
    chain = replace(chain, observation=replace(chain.observation, instruction=told))
    with DatasetWriter(tmp_path / "set", SPEC) as writer:
        writer.add(chain)
        writer.add(demonstration("open", 1, 2))
    dataset = DemoDataset.open(tmp_path / "set")
    observation, action, valid = dataset.batch([1, 2, 3, 5], horizon=3)
    assert observation.instruction == ["push the cube"] * 2 + ["open the drawer"] * 2
    np.testing.assert_array_equal(action[:, :, 0], [[1, 2, 2], [2, 2, 2], [3, 4, 4], [0, 1, 1]])
    np.testing.assert_array_equal(valid.sum(1), [2, 1, 2, 2])


def test_only_the_chosen_cameras_are_loaded(tmp_path):
    dataset = DemoDataset.open(write_example(tmp_path / "set"), cameras=["wrist"])
    assert list(dataset.batch([0], 1)[0].images) == ["wrist"]


def test_a_camera_that_is_missing_is_an_error_that_lists_what_there_is(tmp_path):
    with pytest.raises(UserError, match="no camera 'top'; it has front, wrist"):
        DemoDataset.open(write_example(tmp_path / "set"), cameras=["front", "top"])


def test_take_keeps_the_first_episodes_of_each_task(dataset):
    one = dataset.take(1)
    assert [episode.index for episode in one.episodes] == [0, 1]
    assert len(one) == 3 + 4
    assert one.tasks == ("push the cube", "open the drawer")
    np.testing.assert_array_equal(one.batch([3], 1)[1], [[[0, -1]]])


def test_tasks_that_share_an_instruction_are_taken_apart(dataset):
    # As scenes of libero_90 do: push 0, open 1, push 2, open 3.
    alike = tuple(replace(episode, instruction="do it") for episode in dataset.episodes)
    assert [e.index for e in replace(dataset, episodes=alike).take(1).episodes] == [0, 1]


def test_take_of_more_episodes_than_there_are_is_an_error(dataset):
    with pytest.raises(UserError, match="has 2 episodes of 'push', 3 were asked for"):
        dataset.take(3)


def test_frames_of_a_part_are_numbered_from_zero(dataset):
    part = dataset.take(1).split(0.5, seed=0)
    lengths = sorted(len(half) for half in part)
    assert lengths == [3, 4]
    for half in part:
        observation, _, valid = half.batch(np.arange(len(half)), horizon=2)
        assert observation.state[:, 1].tolist() == list(range(len(half)))
        assert valid[:, 1].tolist() == [True] * (len(half) - 1) + [False]


def test_split_is_by_episodes_disjoint_and_repeatable(dataset):
    training, validation = dataset.split(0.25, seed=3)
    chosen = [{episode.index for episode in part.episodes} for part in (training, validation)]
    assert len(chosen[1]) == 1
    assert chosen[0] | chosen[1] == {0, 1, 2, 3}
    assert not chosen[0] & chosen[1]
    assert dataset.split(0.25, seed=3)[1].episodes == validation.episodes


def test_split_of_nothing_leaves_validation_empty(dataset):
    training, validation = dataset.split(0.0, seed=0)
    assert len(training) == 14
    assert len(validation) == 0


def test_split_of_a_single_episode_says_what_would_work(dataset):
    single = dataset.take(1).split(0.5, seed=0)[0]
    with pytest.raises(UserError, match="set the validation fraction to 0"):
        single.split(0.1, seed=0)


def test_statistics_are_of_the_kept_episodes_only(dataset):
    action = dataset.take(1).statistics()["action"]  # t = 0 1 2 0 1 2 3
    assert action.count == 7
    assert action.maximum.tolist() == [3, 0]
    np.testing.assert_allclose(action.mean, [9 / 7, -4 / 7])
