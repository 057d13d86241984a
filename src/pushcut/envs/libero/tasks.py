"""The 130 tasks of LIBERO (Liu et al. 2023): suites, names and instructions; data only."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

LIBERO_SPATIAL = (
    "pick up the black bowl between the plate and the ramekin and place it on the plate",
    "pick up the black bowl next to the ramekin and place it on the plate",
    "pick up the black bowl from table center and place it on the plate",
    "pick up the black bowl on the cookie box and place it on the plate",
    "pick up the black bowl in the top drawer of the wooden cabinet and place it on the plate",
    "pick up the black bowl on the ramekin and place it on the plate",
    "pick up the black bowl next to the cookie box and place it on the plate",
    "pick up the black bowl on the stove and place it on the plate",
    "pick up the black bowl next to the plate and place it on the plate",
    "pick up the black bowl on the wooden cabinet and place it on the plate",
)

LIBERO_OBJECT = (
    "pick up the alphabet soup and place it in the basket",
    "pick up the cream cheese and place it in the basket",
    "pick up the salad dressing and place it in the basket",
    "pick up the bbq sauce and place it in the basket",
    "pick up the ketchup and place it in the basket",
    "pick up the tomato sauce and place it in the basket",
    "pick up the butter and place it in the basket",
    "pick up the milk and place it in the basket",
    "pick up the chocolate pudding and place it in the basket",
    "pick up the orange juice and place it in the basket",
)

LIBERO_GOAL = (
    "open the middle drawer of the cabinet",
    "put the bowl on the stove",
    "put the wine bottle on top of the cabinet",
    "open the top drawer and put the bowl inside",
    "put the bowl on top of the cabinet",
    "push the plate to the front of the stove",
    "put the cream cheese in the bowl",
    "turn on the stove",
    "put the bowl on the plate",
    "put the wine bottle on the rack",
)

LIBERO_10 = (
    ("LIVING_ROOM_SCENE2", "put both the alphabet soup and the tomato sauce in the basket"),
    ("LIVING_ROOM_SCENE2", "put both the cream cheese box and the butter in the basket"),
    ("KITCHEN_SCENE3", "turn on the stove and put the moka pot on it"),
    ("KITCHEN_SCENE4", "put the black bowl in the bottom drawer of the cabinet and close it"),
    (
        "LIVING_ROOM_SCENE5",
        "put the white mug on the left plate and put the yellow and white mug on the right plate",
    ),
    ("STUDY_SCENE1", "pick up the book and place it in the back compartment of the caddy"),
    (
        "LIVING_ROOM_SCENE6",
        "put the white mug on the plate and put the chocolate pudding to the right of the plate",
    ),
    ("LIVING_ROOM_SCENE1", "put both the alphabet soup and the cream cheese box in the basket"),
    ("KITCHEN_SCENE8", "put both moka pots on the stove"),
    ("KITCHEN_SCENE6", "put the yellow and white mug in the microwave and close it"),
)

LIBERO_90 = {
    "KITCHEN_SCENE10": (
        "close the top drawer of the cabinet",
        "close the top drawer of the cabinet and put the black bowl on top of it",
        "put the black bowl in the top drawer of the cabinet",
        "put the butter at the back in the top drawer of the cabinet and close it",
        "put the butter at the front in the top drawer of the cabinet and close it",
        "put the chocolate pudding in the top drawer of the cabinet and close it",
    ),
    "KITCHEN_SCENE1": (
        "open the bottom drawer of the cabinet",
        "open the top drawer of the cabinet",
        "open the top drawer of the cabinet and put the bowl in it",
        "put the black bowl on the plate",
        "put the black bowl on top of the cabinet",
    ),
    "KITCHEN_SCENE2": (
        "open the top drawer of the cabinet",
        "put the black bowl at the back on the plate",
        "put the black bowl at the front on the plate",
        "put the middle black bowl on the plate",
        "put the middle black bowl on top of the cabinet",
        "stack the black bowl at the front on the black bowl in the middle",
        "stack the middle black bowl on the back black bowl",
    ),
    "KITCHEN_SCENE3": (
        "put the frying pan on the stove",
        "put the moka pot on the stove",
        "turn on the stove",
        "turn on the stove and put the frying pan on it",
    ),
    "KITCHEN_SCENE4": (
        "close the bottom drawer of the cabinet",
        "close the bottom drawer of the cabinet and open the top drawer",
        "put the black bowl in the bottom drawer of the cabinet",
        "put the black bowl on top of the cabinet",
        "put the wine bottle in the bottom drawer of the cabinet",
        "put the wine bottle on the wine rack",
    ),
    "KITCHEN_SCENE5": (
        "close the top drawer of the cabinet",
        "put the black bowl in the top drawer of the cabinet",
        "put the black bowl on the plate",
        "put the black bowl on top of the cabinet",
        "put the ketchup in the top drawer of the cabinet",
    ),
    "KITCHEN_SCENE6": (
        "close the microwave",
        "put the yellow and white mug to the front of the white mug",
    ),
    "KITCHEN_SCENE7": (
        "open the microwave",
        "put the white bowl on the plate",
        "put the white bowl to the right of the plate",
    ),
    "KITCHEN_SCENE8": (
        "put the right moka pot on the stove",
        "turn off the stove",
    ),
    "KITCHEN_SCENE9": (
        "put the frying pan on the cabinet shelf",
        "put the frying pan on top of the cabinet",
        "put the frying pan under the cabinet shelf",
        "put the white bowl on top of the cabinet",
        "turn on the stove",
        "turn on the stove and put the frying pan on it",
    ),
    "LIVING_ROOM_SCENE1": (
        "pick up the alphabet soup and put it in the basket",
        "pick up the cream cheese box and put it in the basket",
        "pick up the ketchup and put it in the basket",
        "pick up the tomato sauce and put it in the basket",
    ),
    "LIVING_ROOM_SCENE2": (
        "pick up the alphabet soup and put it in the basket",
        "pick up the butter and put it in the basket",
        "pick up the milk and put it in the basket",
        "pick up the orange juice and put it in the basket",
        "pick up the tomato sauce and put it in the basket",
    ),
    "LIVING_ROOM_SCENE3": (
        "pick up the alphabet soup and put it in the tray",
        "pick up the butter and put it in the tray",
        "pick up the cream cheese and put it in the tray",
        "pick up the ketchup and put it in the tray",
        "pick up the tomato sauce and put it in the tray",
    ),
    "LIVING_ROOM_SCENE4": (
        "pick up the black bowl on the left and put it in the tray",
        "pick up the chocolate pudding and put it in the tray",
        "pick up the salad dressing and put it in the tray",
        "stack the left bowl on the right bowl and place them in the tray",
        "stack the right bowl on the left bowl and place them in the tray",
    ),
    "LIVING_ROOM_SCENE5": (
        "put the red mug on the left plate",
        "put the red mug on the right plate",
        "put the white mug on the left plate",
        "put the yellow and white mug on the right plate",
    ),
    "LIVING_ROOM_SCENE6": (
        "put the chocolate pudding to the left of the plate",
        "put the chocolate pudding to the right of the plate",
        "put the red mug on the plate",
        "put the white mug on the plate",
    ),
    "STUDY_SCENE1": (
        "pick up the book and place it in the front compartment of the caddy",
        "pick up the book and place it in the left compartment of the caddy",
        "pick up the book and place it in the right compartment of the caddy",
        "pick up the yellow and white mug and place it to the right of the caddy",
    ),
    "STUDY_SCENE2": (
        "pick up the book and place it in the back compartment of the caddy",
        "pick up the book and place it in the front compartment of the caddy",
        "pick up the book and place it in the left compartment of the caddy",
        "pick up the book and place it in the right compartment of the caddy",
    ),
    "STUDY_SCENE3": (
        "pick up the book and place it in the front compartment of the caddy",
        "pick up the book and place it in the left compartment of the caddy",
        "pick up the book and place it in the right compartment of the caddy",
        "pick up the red mug and place it to the right of the caddy",
        "pick up the white mug and place it to the right of the caddy",
    ),
    "STUDY_SCENE4": (
        "pick up the book in the middle and place it on the cabinet shelf",
        "pick up the book on the left and place it on top of the shelf",
        "pick up the book on the right and place it on the cabinet shelf",
        "pick up the book on the right and place it under the cabinet shelf",
    ),
}


def _named(scene: str, instruction: str) -> tuple[str, str]:
    return "_".join(f"{scene} {instruction}".split()), instruction


SUITES: dict[str, dict[str, str]] = {
    "libero_spatial": dict(_named("", text) for text in LIBERO_SPATIAL),
    "libero_object": dict(_named("", text) for text in LIBERO_OBJECT),
    "libero_goal": dict(_named("", text) for text in LIBERO_GOAL),
    "libero_10": dict(_named(scene, text) for scene, text in LIBERO_10),
    "libero_90": dict(_named(scene, text) for scene, texts in LIBERO_90.items() for text in texts),
}
"""Suite -> task -> what the robot is told to do, in the benchmark's order.

The instruction is the one in the task's name, which demonstrations and checkpoints have; the
problem files word some differently ("pick the akita black bowl …").
"""

SUITE_OF: dict[str, str] = {task: suite for suite, tasks in SUITES.items() for task in tasks}
"""Task -> its suite; no two suites share a task."""

EXPERTS = (
    "libero_spatial",
    "libero_object",
    *(f"libero_goal/{index}" for index in (1, 2, 4, 6, 8)),
)
"""Suites and tasks that have a scripted expert: those that put one thing somewhere."""

COLUMNS: dict[str, tuple[str, ...]] = {
    "Spatial": tuple(SUITES["libero_spatial"]),
    "Object": tuple(SUITES["libero_object"]),
    "Goal": tuple(SUITES["libero_goal"]),
    "Long": tuple(SUITES["libero_10"]),
    "LIBERO-90": tuple(SUITES["libero_90"]),
}
"""Columns of the papers' tables."""

FIXED_INITS = 50
"""Initial states that the benchmark fixes per task."""


def instruction(task: str) -> str:
    """What the robot is told to do."""
    return SUITES[SUITE_OF[task]][task]


def expand_tasks(names: Sequence[str]) -> tuple[str, ...]:
    """Replaces suites and ``suite/index`` by tasks; each once, in the order of first mention.

    Raises ValueError for a name that is no suite, task or index of one.
    """
    tasks: dict[str, None] = {}
    for name in names:
        suite, slash, index = name.partition("/")
        if name in SUITE_OF:
            tasks[name] = None
        elif suite not in SUITES:
            raise ValueError(_unknown(name))
        elif not slash:
            tasks.update(dict.fromkeys(SUITES[suite]))
        elif index.isdecimal() and int(index) < len(SUITES[suite]):
            tasks[list(SUITES[suite])[int(index)]] = None
        else:
            raise ValueError(
                f"no task {index!r} in {suite}; it has 0 to {len(SUITES[suite]) - 1}, "
                f"as in {suite}/0"
            )
    return tuple(tasks)


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, [*SUITES, *SUITE_OF], n=3)
    guess = f"did you mean {' or '.join(close)}? " if close else ""
    return (
        f"unknown LIBERO suite or task {name!r}; {guess}suites: {', '.join(SUITES)}; "
        f"a single task is suite/index, such as libero_goal/3, or its name"
    )
