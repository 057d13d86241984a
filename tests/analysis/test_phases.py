"""Phases of hand-made events at 20 steps per second: 0.05 s is one step."""

import numpy as np

from pushcut.analysis.phases import phases_of, strategy_of
from tests.envs.events import events_of

NONE = np.nan
HZ = 20.0


def names(events, hz: float = HZ) -> list[str]:
    return [phase.name for phase in phases_of(events, hz)]


def test_a_hand_that_touches_nothing_reaches():
    assert names(events_of(height=[0.0] * 5)) == ["reach"]
    # Nor where no object is left in the events.
    assert names(events_of(height=[0.0] * 5).stirred()) == ["reach"]


def test_a_puck_that_slides_under_one_finger_is_pushed():
    events = events_of(
        height=[0.0] * 8,
        x=[0, 0, 0, 0, 0.01, 0.02, 0.03, 0.04],  # 0.2 m/s
        touch=[NONE, NONE, 5, 5, 5, 5, 5, 5],
        fingers=[0, 0, 1, 1, 1, 1, 1, 1],
    )
    assert names(events) == ["reach", "contact", "push"]
    assert strategy_of(phases_of(events, HZ)) == (("push", "puck"),)


def test_a_nudge_of_less_than_a_centimetre_is_a_contact():
    events = events_of(
        height=[0.0] * 6, x=[0, 0, 0.002, 0.004, 0.006, 0.006], touch=[NONE, 5, 5, 5, 5, 5]
    )
    assert names(events) == ["contact"]


def test_pick_and_place_has_all_its_phases():
    held = [2] * 7
    events = events_of(
        height=[0, 0, 0, 0, 0.02, 0.04, 0.06, 0.06, 0.06, 0, 0],
        x=[0, 0, 0, 0, 0, 0, 0, 0.03, 0.06, 0.06, 0.06],
        touch=[NONE, NONE, *[9] * 7, NONE, NONE],
        fingers=[0, 0, *held, 0, 0],
        rest=[True] * 4 + [False] * 5 + [True] * 2,
    )
    phases = phases_of(events, HZ)
    assert [p.name for p in phases] == ["reach", "grasp", "lift", "transport", "release"]
    # Rows 4 to 6 rise by 2 cm a step and go nowhere; 7 and 8 go sideways.
    assert strategy_of(phases) == (("carry", "puck"), ("release", "puck"))
    assert [(p.start, p.stop) for p in phases] == [(1, 2), (2, 4), (4, 7), (7, 9), (9, 11)]


def test_what_is_held_and_slides_on_the_table_is_dragged():
    events = events_of(
        height=[0.0] * 5,
        x=[0, 0, 0.02, 0.04, 0.06],
        touch=[NONE, 9, 9, 9, 9],
        fingers=[0, 2, 2, 2, 2],
    )
    assert names(events) == ["grasp", "drag"]


def test_the_first_centimetre_of_a_lift_is_part_of_it():
    events = events_of(
        height=[0, 0, 0.004, 0.008, 0.02, 0.03],
        touch=[NONE, 9, 9, 9, 9, 9],
        fingers=[0, 2, 2, 2, 2, 2],
        rest=[True, True, False, False, False, False],
    )
    # It leaves the table in row 2, 4 mm above where it began, and gets higher than 1 cm later.
    assert [(p.name, p.start, p.stop) for p in phases_of(events, HZ)] == [
        ("grasp", 1, 2),
        ("lift", 2, 6),
    ]


def test_what_begins_in_the_hand_and_is_set_down_was_carried():
    events = events_of(
        height=[0.3, 0.3, 0.2, 0.1, 0.0, 0.0],
        touch=[NONE, 9, 9, 9, 9, NONE],
        fingers=[0, 2, 2, 2, 2, 0],
        rest=[False] * 5 + [True],
    )
    strategy = strategy_of(phases_of(events, HZ))
    assert strategy == (("carry", "puck"), ("release", "puck"))


def test_what_never_gets_a_centimetre_high_is_not_lifted():
    events = events_of(
        height=[0, 0, 0.004, 0.004, 0.004, 0.004],
        x=[0, 0, 0.02, 0.04, 0.06, 0.08],
        touch=[NONE, 9, 9, 9, 9, 9],
        fingers=[0, 2, 2, 2, 2, 2],
        rest=[True, True, False, False, False, False],
    )
    assert names(events) == ["grasp", "drag"]


def test_a_thing_that_fingers_move_by_less_than_a_centimetre_is_grasped():
    events = events_of(
        height=[0.0] * 5,
        x=[0, 0, 0.004, 0.008, 0.008],  # drawn to the middle as they close
        touch=[NONE, 9, 9, 9, 9],
        fingers=[0, 2, 2, 2, 2],
    )
    assert names(events) == ["grasp"]


def test_a_contact_that_flickers_is_one():
    """At 80 steps per second four steps without contact are a flicker, five are none."""
    x = list(np.linspace(0, 0.2, 21))

    def with_gap(steps: int) -> list[str]:
        touch = [NONE] + [5.0] * 7 + [NONE] * steps + [5.0] * (13 - steps)
        return names(events_of(height=[0.0] * 21, x=x, touch=touch), hz=80.0)

    assert with_gap(4) == ["push"]
    assert with_gap(5) == ["push", "reach", "push"]


def test_what_comes_again_makes_no_other_strategy():
    once = [(2, [9.0, 9.0]), (0, [NONE, NONE])]
    pattern = [*once, *once]
    fingers = [0, *(f for f, row in pattern for _ in row)]
    touch = [NONE, *(x for _, row in pattern for x in row)]
    events = events_of(height=[0.0] * 9, touch=touch, fingers=fingers)
    # With 10 steps per second nothing is shorter than the shortest phase.
    assert names(events, hz=10.0) == ["grasp", "release", "grasp", "release"]
    assert strategy_of(phases_of(events, 10.0)) == (("release", "puck"),)


def test_a_knob_that_only_turns_is_pushed():
    events = events_of(height=[0.0] * 6, touch=[NONE, 5, 5, 5, 5, 5])
    angle = np.linspace(0, 0.5, 6)  # 2 rad/s
    events.pose[:, 0, 3:] = np.stack(
        [np.cos(angle / 2), 0 * angle, 0 * angle, np.sin(angle / 2)], -1
    )
    assert names(events) == ["push"]
