"""What does not fit between a policy and an environment is told with flags that mend it."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from pushcut.arguments.fields import fields_from
from pushcut.cli import main
from pushcut.config import EvalConfig
from pushcut.envs.base import EnvConfig
from pushcut.envs.libero.env import LiberoConfig
from pushcut.envs.maniskill.env import ManiSkillConfig
from pushcut.envs.metaworld.env import MetaWorldConfig
from pushcut.envs.mixed.config import Member, MixedConfig
from pushcut.envs.point_mass import PointMassConfig
from pushcut.errors import UserError
from pushcut.policies.base import Reading
from pushcut.policies.normalisation import NormStats
from pushcut.presets import PRESETS
from pushcut.rollout.fit import PlannedShape, check_fits, language_warnings
from tests.policies.released.folders import PI0, write_lerobot, write_openpi

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


PI_METAWORLD = [name for name in PRESETS if name.startswith(("metaworld-pi0", "metaworld-ml45"))]
LIBERO_PI0 = PlannedShape(("agentview", "wrist"), 256, chunk=5, action_size=7, state_size=8)
METAWORLD_PI0 = PlannedShape(("corner2",), 480, chunk=5, action_size=4, state_size=4)


@pytest.mark.parametrize("name", PI_METAWORLD)
def test_a_checkpoint_for_libero_is_refused_under_every_metaworld_preset(name):
    env = PRESETS[name].train.env
    check_fits(METAWORLD_PI0, env)
    check_fits(replace(METAWORLD_PI0, state_size=0), env)
    assert refusal(LIBERO_PI0, env) == (
        "the policy was made for state and action sizes 8 and 7, the environment has 4 and 4: name "
        "the preset that the policy was made with"
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"state_size": 8}, "sizes 8 and 4, the environment has 4 and 4: name the preset"),
        # pi0.5 may see no state: the action still tells.
        ({"state_size": 0, "action_size": 7}, "sizes 0 and 7, the environment has 4 and 4: name"),
        ({"state_size": 13}, "give --env.state objects"),
        ({"cameras": ("agentview",)}, "camera 'agentview', the environment renders corner2: name"),
        ({"cameras": ("corner2", "gripperPOV")}, "give --env.cameras corner2 gripperPOV"),
        # The policy's order stands in the flags, too.
        ({"cameras": ("gripperPOV", "corner2")}, "give --env.cameras gripperPOV corner2"),
        ({"image_size": 224}, "camera 'corner2' renders 480x480: give --env.image-size 224"),
        ({"chunk": 101}, "in chunks of 101 steps, an episode has 100: give --env.max-steps 101"),
    ],
)
def test_each_difference_from_a_metaworld_preset_is_named(change, said):
    env = PRESETS["metaworld-pi0-flow-sde"].train.env
    assert said in refusal(replace(METAWORLD_PI0, **change), env)


@dataclass(frozen=True)
class Trained(PlannedShape):
    """A checkpoint, with the statistics of what it was trained on."""

    statistics: Any = None


def vector(changing: int, size: int) -> NormStats:
    """Statistics of a vector that is padded with zeros."""
    spread = [0.5] * changing + [0.0] * (size - changing)
    low = [-x - 1e-10 for x in spread]
    return NormStats(mean=(0.0,) * size, std=tuple(spread), q01=tuple(low), q99=tuple(spread))


@pytest.mark.parametrize(
    ("state", "action", "said"),
    [
        # As read with the sizes of the preset: only the statistics tell.
        (vector(8, 8), vector(7, 7), "trained with 8 numbers of state (so its statistics say), "),
        (vector(8, 32), vector(7, 32), "trained with 8 numbers of state (so its statistics say), "),
        (vector(4, 32), vector(7, 32), "with 7 numbers of action (so its statistics say), the "),
    ],
)
def test_statistics_of_a_longer_robot_tell_that_the_checkpoint_is_another(state, action, said):
    env = PRESETS["metaworld-pi0-flow-sde"].train.env
    policy = Trained(("corner2",), 480, 5, 4, 4, {"state": state, "action": action})
    assert said in refusal(policy, env) and "the environment has 4: name" in refusal(policy, env)
    check_fits(replace(policy, statistics={"state": vector(4, 32), "action": vector(4, 4)}), env)
    # A state that it does not see is of no account.
    seen = {"state": vector(8, 8), "action": vector(4, 4)}
    check_fits(replace(policy, state_size=0, statistics=seen), env)


@pytest.mark.parametrize("write", [write_openpi, write_lerobot])
def test_a_libero_folder_under_a_metaworld_preset_leaves_nothing_behind(
    write, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    folder = write(tmp_path / "libero", PI0, state=8, action=7)
    typed = ["metaworld-pi0-flow-sde", "--policy.path", str(folder), "--device", "cpu"]
    assert main(["eval", *typed, "--out", "result.json"]) == 1
    assert main(["train", *typed, "--out", "run"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 2 and "8" in error and "4" in error
    assert [path.name for path in tmp_path.iterdir()] == ["libero"]


@pytest.mark.parametrize("size", [(4, 4), (8, 4), (4, 7)])
def test_a_checkpoint_for_metaworld_is_refused_for_libero(size):
    env = PRESETS["libero-spatial-pi0-flow-sde"].train.env
    policy = replace(METAWORLD_PI0, state_size=size[0], action_size=size[1])
    assert f"sizes {size[0]} and {size[1]}, the environment has 8 and 7: name" in refusal(
        policy, env
    )


class Listener:
    """A policy that knows some words, and reads at most five."""

    def __init__(self, *known: str) -> None:
        self.known = known

    def reading(self, instruction: str) -> Reading:
        words = tuple(instruction.split())
        unknown = tuple(word for word in words[:5] if word not in self.known)
        return Reading(words[:5], unknown, words[5:])


def warned(policy: Any, **tasks: str) -> list[str]:
    return language_warnings(policy, replace(PointMassConfig().spec, tasks=tasks))


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


def test_every_instruction_that_an_episode_may_have_is_read():
    spec = replace(
        PointMassConfig().spec, tasks={"a": "go left"}, wordings={"a": ("go left", "up")}
    )
    policy = Listener("go", "left")
    assert language_warnings(policy, spec, ["a"]) == [
        "the policy has never seen the words 'up', in the instructions of a: up: to it they are "
        "all the same"
    ]


class Reader:
    """A policy that reads any text, and was fine-tuned on some."""

    def __init__(self, **told: str) -> None:
        self.told = {task: (text,) for task, text in told.items()}

    def reading(self, instruction: str) -> None:
        return None


def test_sentences_that_a_policy_was_never_fine_tuned_on_are_named():
    policy = Reader(a="Go left", b="Go right")
    assert warned(policy, a="go left.", b="Go  right") == []
    assert warned(policy, a="Turn left", b="Go right") == [
        "the policy was never fine-tuned on the instructions of a ('Turn left'), but on such as "
        "'Go left', 'Go right': --env.instructions FILE gives it sentences that it knows"
    ]
    assert warned(Reader(), a="Turn left") == []  # nothing is known of it


def test_what_is_cut_off_is_told_too():
    words = "go to the left side"
    lines = warned(Listener(*words.split(), "now"), a=f"{words} now", b=f"{words} soon")
    assert lines == [
        "the policy does not read the instructions of a, b to their end",
        "the policy cannot tell a, b apart by their instructions",
    ]
