"""LIBERO's table of tasks and the checks of its config: no simulator needed."""

import pytest

from pushcut.envs.libero.env import LiberoConfig
from pushcut.envs.libero.tasks import SUITE_OF, SUITES, expand_tasks, instruction


def test_five_suites_have_130_different_tasks():
    counts = {suite: len(tasks) for suite, tasks in SUITES.items()}
    assert counts == {
        "libero_spatial": 10,
        "libero_object": 10,
        "libero_goal": 10,
        "libero_10": 10,
        "libero_90": 90,
    }
    assert len(SUITE_OF) == 130


def test_a_suite_an_index_and_a_name_choose_tasks():
    task = "put_the_bowl_on_the_stove"
    assert list(SUITES["libero_goal"]).index(task) == 1
    assert expand_tasks(("libero_goal/1",)) == expand_tasks((task,)) == (task,)
    assert expand_tasks((task, "libero_goal", "libero_goal/1"))[0] == task
    assert len(expand_tasks((task, "libero_goal", "libero_goal/1"))) == 10


def test_the_instruction_is_the_tasks_name_without_its_scene():
    assert instruction("put_the_bowl_on_the_stove") == "put the bowl on the stove"
    task = "KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet"
    assert instruction(task) == "close the top drawer of the cabinet"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("libero_objekt", r"did you mean libero_object.*libero_90"),
        ("libero_goal/10", r"no task '10' in libero_goal; it has 0 to 9, as in libero_goal/0"),
        ("libero_goal/-1", "no task '-1'"),
        ("libero_goal/", "no task ''"),
        ("put_the_bowl_on_the_stowe", "did you mean put_the_bowl_on_the_stove"),
    ],
)
def test_an_unknown_task_is_an_error_that_says_what_exists(name: str, says: str):
    with pytest.raises(ValueError, match=says):
        LiberoConfig(tasks=(name,))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"tasks": ()}, "at least one task"),
        ({"cameras": ("frontview",)}, r"unknown cameras \['frontview'\]; have \['agentview'"),
        ({"cameras": ("wrist", "wrist")}, "different"),
        ({"image_size": 8}, "16..2048"),
        ({"texture_size": 4}, "texture_size must be >= 16"),
        ({"max_steps": 0}, "max_steps must be >= 1"),
        ({"settle_steps": -1}, "settle_steps must be >= 0"),
        ({"action_repeat": 0}, "action_repeat must be >= 1"),
    ],
)
def test_a_config_refuses_nonsense(fields: dict, says: str):
    with pytest.raises(ValueError, match=says):
        LiberoConfig(**fields)


def test_the_spec_needs_no_simulator():
    spec = LiberoConfig(
        tasks=("libero_10", "libero_spatial/0"), cameras=("agentview", "wrist")
    ).spec
    assert len(spec.tasks) == 11
    assert spec.cameras == {"agentview": (128, 128), "wrist": (128, 128)}
    assert spec.fixed_inits == 50
    assert (spec.control_hz, spec.max_steps) == (20.0, 240)
    assert spec.groups["Long"] == tuple(SUITES["libero_10"])
