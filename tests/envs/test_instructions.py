"""Instructions from elsewhere: which sentence belongs to which task, and what is refused."""

import pickle
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pytest

from pushcut.envs.base import EnvConfig
from pushcut.envs.instructions import match, matched
from pushcut.envs.libero.env import LiberoConfig
from pushcut.envs.metaworld.env import MetaWorldConfig
from pushcut.envs.metaworld.tasks import LEROBOT_INSTRUCTIONS
from pushcut.envs.mixed.config import Member, MixedConfig
from pushcut.envs.point_mass import PointMassConfig
from pushcut.errors import UserError
from pushcut.types import EnvSpec, InitState
from tests.envs.worded import FIRST, WordedConfig

POINT = PointMassConfig(("red", "green"))
DRAWER = MetaWorldConfig(tasks=("drawer-open-v3", "push-v3", "push-back-v3"))
MIX = MixedConfig(
    (Member("a", PointMassConfig(("red",))), Member("b", PointMassConfig(("green",))))
)


def test_the_fifty_sentences_are_those_of_the_public_data():
    assert len(LEROBOT_INSTRUCTIONS) == 50
    assert len(set(LEROBOT_INSTRUCTIONS.values())) == 49
    told = MetaWorldConfig(tasks=("mt50",), instructions="lerobot").spec.tasks
    assert told == LEROBOT_INSTRUCTIONS
    assert told["assembly-v3"] == "Pick up a nut and place it onto a peg"
    assert told["door-unlock-v3"] == "Unlock the door by rotating the lock counter-clockwise"
    assert told["push-v3"] == told["push-back-v3"] == "Push the puck to a goal"
    assert told["window-close-v3"] == "Push and close a window"


def test_sentences_replace_the_environments_own_and_reach_its_observations():
    env = replace(POINT, sentences=(("reach-red", "Go to RED."),))
    assert env.spec.tasks == {
        "reach-red": "Go to RED.",
        "reach-green": "move the point to the green goal",
    }
    assert env.own_spec.tasks["reach-red"] == "move the point to the red goal"
    made = pickle.loads(pickle.dumps(env)).build()
    made.reset(InitState("reach-red", 0))
    assert made.observe().instruction == ["Go to RED."]


def test_sentences_of_a_mix_reach_its_members_in_their_processes():
    mix = replace(MIX, sentences=(("b/reach-green", "green, please"),))
    assert mix.spec.tasks == {
        "a/reach-red": "move the point to the red goal",
        "b/reach-green": "green, please",
    }
    texts = []
    for part in mix.parts:
        made = pickle.loads(pickle.dumps(part)).build()
        (task,) = part.spec.tasks
        made.reset(InitState(task, 0))
        texts += made.observe().instruction
    assert texts == ["move the point to the red goal", "green, please"]


def test_an_environment_of_somebody_else_gives_them_without_knowing():
    @dataclass(frozen=True)
    class Theirs(EnvConfig):
        size: int = 2

        @cached_property
        def spec(self) -> EnvSpec:  # pyright: ignore
            return replace(POINT.spec, tasks={"one": "do one"}, state_size=self.size)

        def build(self) -> Any: ...

    assert Theirs(3).spec.tasks == {"one": "do one"}
    told = Theirs(3, sentences=(("one", "Do 1"),))
    assert told.spec.tasks == {"one": "Do 1"} and told.spec.state_size == 3
    assert told.own_spec.tasks == {"one": "do one"}


def test_a_config_that_has_other_use_for_the_name_is_told():
    with pytest.raises(TypeError, match="Theirs.instructions: EnvConfig has a field of that name"):

        class Theirs(EnvConfig):
            @property
            def instructions(self) -> dict[str, str]:  # pyright: ignore
                return {}


@pytest.mark.parametrize(
    ("told", "found"),
    [
        # By the task's name.
        ({"push-v3": ["Shove it"]}, {"push-v3": "Shove it"}),
        # By the environment's own sentence, however it is written.
        (
            {"x": ["Pull the drawer  open by its handle."]},
            {"drawer-open-v3": "Pull the drawer  open by its handle."},
        ),
        # By the public one, which two tasks share.
        (
            {"Push the puck to a goal": ["Push the puck to a goal"]},
            {"push-v3": "Push the puck to a goal", "push-back-v3": "Push the puck to a goal"},
        ),
        # The name counts more than the words.
        (
            {"push-v3": ["Open a drawer"], "z": ["open a drawer"]},
            {"push-v3": "Open a drawer", "drawer-open-v3": "open a drawer"},
        ),
    ],
)
def test_a_sentence_finds_its_task(told, found):
    assert match(told, DRAWER).sentences == found


def test_tasks_of_a_mix_are_found_with_and_without_their_members_name():
    told = {"reach-red": ["r"], "b/reach-green": ["g"]}
    assert match(told, MIX).sentences == {"a/reach-red": "r", "b/reach-green": "g"}


def test_libero_sentences_match_as_data_sets_write_them():
    env = LiberoConfig(tasks=("libero_object/0",))
    ((task, text),) = env.spec.tasks.items()
    assert match({"0": [text.upper() + "."]}, env).sentences == {task: text.upper() + "."}


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"drawr-open-v3": ["x"]}, "FILE: unknown task 'drawr-open-v3'; did you mean drawer-open-"),
        ({}, "FILE holds no instructions"),
        # A task of the benchmark that was not chosen is no mistake, but of no use here.
        (
            {"reach-v3": ["Go"]},
            "FILE has no instruction for any task here (drawer-open-v3, push-v3",
        ),
    ],
)
def test_what_matches_nothing_is_refused_in_one_line(told, said):
    with pytest.raises(UserError) as caught:
        matched(told, DRAWER, "FILE", named=True)
    assert str(caught.value).startswith(said) and "\n" not in str(caught.value)


def test_what_is_left_over_is_known():
    told = {"Open a drawer": ["Open a drawer"], "Fold a shirt": ["Fold a shirt"]}
    found = matched(told, DRAWER, "FILE", named=False)
    assert found.without == ("push-v3", "push-back-v3")
    assert found.unknown == ("Fold a shirt",)


def test_a_task_with_several_instructions_keeps_them():
    """A dataset or a policy that was told some of them has nothing else to say."""
    env = WordedConfig()
    assert match({"reach-red": FIRST}, env).sentences == {}
    assert match({"reach-red": FIRST[1:]}, env).sentences == {}
    assert match({FIRST[0]: FIRST[:1], FIRST[1]: FIRST[1:]}, env).unknown == ()
    assert match({"reach-red": ("go",)}, env).sentences == {"reach-red": "go"}
