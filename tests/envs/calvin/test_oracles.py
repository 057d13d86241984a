"""When sub-tasks are done, on states that are written out."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pushcut.envs.calvin.oracles import ORACLES, Block, Contact, Info, turned
from pushcut.envs.calvin.tasks import TASKS

BOARD: Contact = ("table", "base_link")
SHELF: Contact = ("table", "plank_link")
DRAWER: Contact = ("table", "drawer_link")
HAND: Contact = ("robot", "10")


def quaternion(degrees: float, axis: int = 2) -> np.ndarray:
    half = np.radians(degrees) / 2
    q = np.zeros(4)
    q[axis], q[3] = np.sin(half), np.cos(half)
    return q


def block(
    at: tuple[float, float, float] = (0, 0, 0.46), *contacts: Contact, **fields: Any
) -> Block:
    still = np.zeros(3)
    made = Block(np.array(at, float), quaternion(0), still, still, frozenset(contacts))
    return replace(made, **fields)


def info(red: Block, *, touched: tuple[str, ...] = (), **fields: Any) -> Info:
    others = {"blue": block((0.2, 0, 0.46), BOARD), "pink": block((0, 0.1, 0.46), SHELF)}
    made = Info(0.0, 0.0, 0, 0, {"red": red, **others}, frozenset(touched))
    return replace(made, **fields)


LYING = info(block((0, 0, 0.46), BOARD))


def test_every_sub_task_has_an_oracle_and_nothing_is_done_at_once():
    assert set(ORACLES) == set(TASKS)
    assert not [name for name, oracle in ORACLES.items() if oracle(LYING, LYING)]


def test_a_turn_is_measured_about_fixed_axes():
    a = block(orientation=quaternion(20))
    np.testing.assert_allclose(turned(a, block(orientation=quaternion(95))), [0, 0, 75], atol=1e-9)
    np.testing.assert_allclose(
        turned(block(), block(orientation=quaternion(40, axis=0))), [40, 0, 0], atol=1e-9
    )


@pytest.mark.parametrize(
    ("degrees", "x", "contacts", "right", "left"),
    [
        (-61, 0.0, (BOARD,), True, False),
        (-59, 0.0, (BOARD,), False, False),
        (61, 0.09, (BOARD, HAND), False, True),
        (61, 0.11, (BOARD,), False, False),  # moved by more than 10 cm
        (61, 0.0, (HAND,), False, False),  # in the air
    ],
)
def test_a_block_is_rotated_by_60_degrees_where_it_is(degrees, x, contacts, right, left):
    now = info(block((x, 0, 0.46), *contacts, orientation=quaternion(degrees)))
    assert ORACLES["rotate_red_block_right"](LYING, now) == right
    assert ORACLES["rotate_red_block_left"](LYING, now) == left


def test_a_tilted_block_is_not_rotated():
    # 31 degrees about x, then 70 about z: the product of the quaternions, the later one first.
    z, x = quaternion(70), quaternion(31, axis=0)
    product = np.array([z[3] * x[0], z[2] * x[0], z[2] * x[3], z[3] * x[3]])
    now = info(block((0, 0, 0.46), BOARD, orientation=product))
    assert not ORACLES["rotate_red_block_left"](LYING, now)


@pytest.mark.parametrize(
    ("x", "contacts", "done"),
    [
        (0.11, (BOARD,), True),
        (0.11, (BOARD, HAND, SHELF), True),  # more contacts than at the start
        (0.09, (BOARD,), False),
        (0.11, (HAND,), False),  # carried
        (0.11, (DRAWER,), False),
    ],
)
def test_a_block_is_pushed_by_10_cm_on_what_it_lies_on(x, contacts, done):
    now = info(block((x, 0, 0.46), *contacts))
    assert ORACLES["push_red_block_right"](LYING, now) == done
    mirrored = info(block((-x, 0, 0.46), *contacts))
    assert ORACLES["push_red_block_left"](LYING, mirrored) == done


@pytest.mark.parametrize(
    ("task", "before", "after"),
    [
        ("move_slider_left", {"slide": 0.1}, {"slide": 0.251}),
        ("move_slider_right", {"slide": 0.28}, {"slide": 0.129}),
        ("open_drawer", {"drawer": 0.0}, {"drawer": 0.121}),
        ("close_drawer", {"drawer": 0.2}, {"drawer": 0.079}),
        ("turn_on_led", {"led": 0}, {"led": 1}),
        ("turn_off_led", {"led": 1}, {"led": 0}),
        ("turn_on_lightbulb", {"lightbulb": 0}, {"lightbulb": 1}),
        ("turn_off_lightbulb", {"lightbulb": 1}, {"lightbulb": 0}),
    ],
)
def test_doors_move_and_lights_change(task, before, after):
    start, now = replace(LYING, **before), replace(LYING, **after)
    done = {name for name, oracle in ORACLES.items() if oracle(start, now)}
    assert done == {task}


@pytest.mark.parametrize(
    ("place", "link", "height"), [("table", BOARD, 5), ("slider", SHELF, 3), ("drawer", DRAWER, 5)]
)
def test_a_block_is_lifted_off_its_place_by_the_hand_alone(place, link, height):
    task = ORACLES[f"lift_red_block_{place}"]
    start = info(block((0, 0, 0.4), link))
    high, low = 0.4 + height / 100 + 0.001, 0.4 + height / 100 - 0.001
    assert task(start, info(block((0, 0, high), HAND)))
    assert not task(start, info(block((0, 0, low), HAND)))
    assert not task(start, info(block((0, 0, high), HAND, ("blue", "-1"))))
    assert not task(info(block((0, 0, 0.4), HAND)), info(block((0, 0, high), HAND)))


def test_a_held_block_is_placed_when_the_hand_lets_go():
    held = info(block((0, 0, 0.6), HAND), touched=("red",))
    assert ORACLES["place_in_slider"](held, info(block((0, 0, 0.46), SHELF)))
    assert ORACLES["place_in_drawer"](held, info(block((0, 0, 0.36), DRAWER)))
    still = info(block((0, 0, 0.46), SHELF, HAND), touched=("red",))
    assert not ORACLES["place_in_slider"](held, still)
    two = replace(held, touched=frozenset({"red", "table"}))
    assert not ORACLES["place_in_slider"](two, info(block((0, 0, 0.46), SHELF)))


def test_a_block_is_stacked_at_rest_and_unstacked():
    held = info(block((0, 0, 0.6), HAND))
    on_blue = block((0.2, 0, 0.5), ("blue", "-1"))
    assert ORACLES["stack_block"](held, info(on_blue))
    assert not ORACLES["stack_block"](held, info(replace(on_blue, velocity=np.array([0, 0, -1.1]))))
    assert not ORACLES["stack_block"](held, info(block((0.2, 0, 0.5), ("blue", "-1"), HAND)))
    assert ORACLES["unstack_block"](info(on_blue), held)
    assert not ORACLES["unstack_block"](held, info(on_blue))


def test_a_block_is_pushed_into_the_drawer_also_if_the_hand_still_touches_it():
    task = ORACLES["push_into_drawer"]
    fallen = info(block((0, 0, 0.36), DRAWER, HAND))
    assert task(LYING, fallen)
    assert not task(info(block((0, 0, 0.46), BOARD, HAND)), fallen)
