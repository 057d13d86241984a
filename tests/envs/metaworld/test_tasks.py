"""The names of MetaWorld's tasks, and what its config says without a simulator."""

import subprocess
import sys
from typing import Any

import pytest

from pushcut.envs.metaworld.env import MetaWorldConfig
from pushcut.envs.metaworld.tasks import GROUPS, INSTRUCTIONS, expand_tasks


def test_difficulty_groups_share_out_the_50_tasks():
    sizes = {name: len(GROUPS[name]) for name in ("easy", "medium", "hard", "very_hard")}
    assert sizes == {"easy": 28, "medium": 11, "hard": 6, "very_hard": 5}
    tasks = [task for name in sizes for task in GROUPS[name]]
    assert sorted(tasks) == sorted(INSTRUCTIONS)


def test_ml45_holds_out_five_tasks():
    assert len(GROUPS["ml45-train"]) == 45
    assert set(GROUPS["ml45-train"]) | set(GROUPS["ml45-test"]) == set(INSTRUCTIONS)
    assert not set(GROUPS["ml45-train"]) & set(GROUPS["ml45-test"])


def test_every_task_has_its_own_instruction():
    assert len(set(INSTRUCTIONS.values())) == 50


@pytest.mark.sim
def test_names_are_those_of_the_simulator():
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS, ML45_V3, MT10_V3

    assert set(INSTRUCTIONS) == set(ALL_V3_ENVIRONMENTS)
    assert set(GROUPS["ml45-test"]) == set(ML45_V3["test"])
    assert set(GROUPS["mt10"]) == set(MT10_V3)


def test_groups_become_tasks_each_once_in_order():
    assert expand_tasks(["sweep-v3", "hard", "sweep-v3"]) == ("sweep-v3", *GROUPS["hard"])
    assert len(expand_tasks(["mt50", "easy"])) == 50


def test_unknown_names_say_what_exists():
    with pytest.raises(ValueError, match="did you mean .*button-press-v3"):
        MetaWorldConfig(tasks=("buton-press-v3",))
    with pytest.raises(ValueError, match="tasks: assembly-v3, .*groups: easy, medium") as error:
        MetaWorldConfig(tasks=("xyz",))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tasks": ()}, "at least one task"),
        ({"cameras": ("front",)}, "unknown cameras.*corner2"),
        ({"cameras": ("corner2", "corner2")}, "different"),
        ({"image_size": 8}, "image_size"),
        ({"max_steps": 0}, "max_steps"),
        ({"action_repeat": 0}, "action_repeat"),
    ],
)
def test_nonsense_is_rejected(fields: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        MetaWorldConfig(**fields)


def test_spec_counts_control_steps():
    spec = MetaWorldConfig(tasks=("hard",), max_steps=151, action_repeat=2, image_size=96).spec
    assert list(spec.tasks) == list(GROUPS["hard"])
    assert spec.max_steps == 76  # the last action is held for one step only
    assert spec.sim_steps_per_control == 2
    assert spec.control_hz == 40
    assert spec.cameras == {"corner2": (96, 96)}


def test_the_spec_needs_no_simulator_and_no_torch():
    code = (
        "import sys\n"
        "from pushcut.envs.metaworld.env import MetaWorldConfig\n"
        "MetaWorldConfig(tasks=('mt50',)).spec\n"
        "print([name for name in ('metaworld', 'mujoco', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
