"""What the play table tells of its objects while experts play."""

import numpy as np
import pytest

from pushcut.analysis.phases import phases_of, strategy_of
from pushcut.envs.calvin.env import CalvinConfig
from pushcut.envs.calvin.scenes import CONTROL_HZ
from pushcut.envs.events import Events
from pushcut.envs.pool.expert import run_expert
from pushcut.envs.pool.recording import Record, Recording
from pushcut.types import InitState
from tests.envs.calvin.benchmark import NEEDS_CALVIN

pytestmark = [pytest.mark.sim, NEEDS_CALVIN]

RECORD = Record(events=True)


def env_of(*tasks: str):
    return CalvinConfig(tasks, cameras=(), scenes=2, subtask_steps=150).build()


def told(task: str, seed: int = 0) -> Events:
    """The events of an expert's episode, played again from its actions."""
    env = env_of(task)
    episode = run_expert(env, InitState(task, seed), noise=0.0, rng=np.random.default_rng(0))
    assert episode.success
    env.reset(InitState(task, seed))
    recording = Recording(env, RECORD, first=True)
    assert recording.step(episode.action).success
    found = recording.events()
    env.close()
    assert found is not None
    return found


def of(events: Events, name: str) -> int:
    return events.objects.index(name)


def test_a_block_is_held_by_both_fingers_and_leaves_the_table():
    events = told("lift_red_block_table")
    red = of(events, "red block")
    assert not events.touched[0].any() and not events.resting[0].any()  # unknown at the start
    assert events.resting[1, red] and not events.resting[-1, red]
    assert (events.fingers[1, red], events.fingers[-1, red]) == (0, 2)
    # Each finger presses with its motor's 200 N.
    assert events.touch[-1, red] == pytest.approx(400, rel=0.05)
    assert events.pose[-1, red, 2] - events.pose[0, red, 2] > 0.05
    # The fingers are 8 cm apart, and as far as the block's edge of 4 cm when they hold it.
    np.testing.assert_allclose(events.opening[[1, -1]], [0.08, 0.04], atol=2e-3)
    assert strategy_of(phases_of(events, CONTROL_HZ)) == (("carry", "red block"),)


def test_a_block_lies_with_its_weight_on_the_table():
    env = env_of("open_drawer")
    env.reset(InitState("open_drawer", 0))
    marks = [env.mark(start=True)]
    for _ in range(20):
        env.step_chunk(np.zeros((1, 7), np.float32))
        marks.append(env.mark(start=False))
    events = env.read_marks(marks)
    env.close()
    weights = {"red block", "blue block", "pink block"}
    lying = {name for name in weights if events.resting[-1, of(events, name)]}
    assert lying
    # The benchmark's blocks have 1 kg: 9.8 N.
    forces = [events.rest[-1, of(events, name)] for name in lying]
    np.testing.assert_allclose(forces, 9.8, rtol=0.05)
    assert not events.touched.any()


@pytest.mark.parametrize(
    ("task", "thing", "way"),
    [("push_blue_block_right", "blue block", 0.1), ("open_drawer", "drawer", 0.12)],
)
def test_what_is_pushed_and_pulled_is_told_by_name(task: str, thing: str, way: float):
    events = told(task)
    moved = np.linalg.norm(
        events.pose[-1, of(events, thing), :3] - events.pose[0, of(events, thing), :3]
    )
    assert moved > way
    assert strategy_of(phases_of(events, CONTROL_HZ)) == (("push", thing),)


def test_events_are_played_again_to_the_bit_and_watching_changes_nothing():
    task, seed = "move_slider_left", 1
    first = told(task, seed)
    env = env_of(task)
    env.reset(InitState(task, seed + 1))  # another episode in the same process
    env.step_chunk(np.zeros((3, 7), np.float32))
    env.reset(InitState(task, seed))
    plain = env.step_chunk(first.action[1:])
    state = env._now.numbers()
    env.reset(InitState(task, seed))
    recording = Recording(env, RECORD, first=True)
    watched = recording.step(first.action[1:])
    again = recording.events()
    assert again is not None and again.same_as(first)
    assert (watched.steps, watched.success) == (plain.steps, plain.success)
    np.testing.assert_array_equal(env._now.numbers(), state)
    env.close()


def test_an_episode_that_goes_on_in_another_world_tells_the_same():
    task, seed = "open_drawer", 0
    first = told(task, seed)
    env = CalvinConfig((task,), cameras=(), scenes=1, subtask_steps=150).build()
    env.reset(InitState(task, seed))
    recording = Recording(env, RECORD, first=True)
    recording.step(first.action[1:10])
    aside = env.snapshot()
    env.reset(InitState(task, seed + 1))  # takes the only world
    env.restore(aside)
    assert recording.step(first.action[10:]).success
    again = recording.events()
    env.close()
    assert again is not None and again.same_as(first)
