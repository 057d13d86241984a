"""What does not fit between a policy and an environment is told with flags that mend it."""

from dataclasses import replace
from typing import Any

import pytest

from pushcut.arguments.fields import fields_from
from pushcut.config import EvalConfig
from pushcut.envs.base import EnvConfig
from pushcut.envs.libero.env import LiberoConfig
from pushcut.envs.maniskill.env import ManiSkillConfig
from pushcut.envs.metaworld.env import MetaWorldConfig
from pushcut.envs.mixed.config import Member, MixedConfig
from pushcut.envs.point_mass import PointMassConfig
from pushcut.errors import UserError
from pushcut.policies.base import Reading
from pushcut.rollout.fit import PlannedShape, check_fits, language_warnings

POINT = PointMassConfig()
TOP = PlannedShape(("top",), 32, chunk=4, action_size=2, state_size=2)


def refusal(policy: PlannedShape, env: EnvConfig, group: str = "env") -> str:
    with pytest.raises(UserError) as caught:
        check_fits(policy, env, group)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image_size": 64}, "32x32: give --env.image-size 64"),
        ({"chunk": 99}, "an episode has 20: give --env.max-steps 99"),
        ({"image_size": 64, "chunk": 99}, "give --env.image-size 64 --env.max-steps 99"),
        ({"cameras": ("wrist",)}, "camera 'wrist', the environment renders top: name the preset"),
        ({"action_size": 7}, "state and action sizes 2 and 7, the environment has 2 and 2: name"),
        ({"state_size": 9}, "state and action sizes 9 and 2, the environment has 2 and 2: name"),
    ],
)
def test_each_difference_has_its_line(change, said):
    check_fits(TOP, POINT)
    assert said in refusal(replace(TOP, **change), POINT)


@pytest.mark.parametrize(
    ("policy", "env", "flags"),
    [
        (replace(TOP, image_size=16, chunk=30), POINT, 4),
        (PlannedShape(("corner",), 64, 5, 4, 4), MetaWorldConfig(), 2),
        (PlannedShape(("corner",), 32, 5, 4, 13), MetaWorldConfig(), 6),
        # 4 simulator steps to a control step.
        (PlannedShape(("corner2",), 64, 60, 4, 4), MetaWorldConfig(action_repeat=4), 2),
        (PlannedShape(("agentview", "wrist"), 64, 8, 7, 8), LiberoConfig(), 5),
        (PlannedShape(("base_camera",), 64, 4, 7, 29), ManiSkillConfig(), 2),
    ],
)
def test_the_flags_that_are_named_exist_and_make_it_fit(policy, env, flags):
    typed = refusal(policy, env).split(": give ")[1].split()
    assert len(typed) == flags
    given = fields_from("eval", EvalConfig(env), typed)
    check_fits(policy, given.env)


def test_each_member_of_a_mix_has_its_flag():
    mix = MixedConfig((Member("a", POINT), Member("b", PointMassConfig(("green",)))))
    told = refusal(replace(TOP, image_size=16), mix)
    size = "--env.members.a.env.image-size 16 --env.members.b.env.image-size 16"
    assert told.endswith(f"give {size}")


def test_a_command_that_cannot_set_the_environment_names_no_flag():
    assert "--" not in refusal(replace(TOP, image_size=64), POINT, group="")


class Listener:
    """A policy that knows some words, and reads at most five."""

    def __init__(self, *known: str) -> None:
        self.known = known

    def reading(self, instruction: str) -> Reading:
        words = tuple(instruction.split())
        unknown = tuple(word for word in words[:5] if word not in self.known)
        return Reading(words[:5], unknown, words[5:])


def warned(policy: Any, **tasks: str) -> list[str]:
    return language_warnings(policy, tasks)


def test_a_policy_that_knows_all_words_is_no_news():
    assert warned(Listener("go", "left", "right"), a="go left", b="go right") == []


def test_a_policy_that_knows_no_word_is_told_loudly():
    (line,) = warned(Listener("push"), a="go left", b="go right")
    assert line.startswith("THE POLICY KNOWS NO WORD of the 2 instructions here ('go left', ")


def test_unknown_words_are_named_and_what_they_confuse():
    lines = warned(Listener("go", "up"), a="go left", b="go right", c="go up")
    assert lines == [
        "the policy has never seen the words 'left', 'right', in the instructions of a, b: to it "
        "they are all the same",
        "the policy cannot tell a, b apart by their instructions",
    ]


def test_what_is_cut_off_is_told_too():
    words = "go to the left side"
    lines = warned(Listener(*words.split(), "now"), a=f"{words} now", b=f"{words} soon")
    assert lines == [
        "the policy does not read the instructions of a, b to their end",
        "the policy cannot tell a, b apart by their instructions",
    ]
