"""The 34 sub-tasks as rules on symbols: what each needs, what it changes, its category.

A condition is what a chain starts from and what its sub-tasks change: LED, bulb, door, drawer,
where each block is, and whether one is held (Mees et al. 2022; mees/calvin, multistep_sequences).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import permutations, product
from types import MappingProxyType

from pushcut.envs.calvin.scenes import COLOURS

SHELF = ("slider_right", "slider_left")


@dataclass(frozen=True)
class Condition:
    """What is known of a scene in symbols."""

    led: int
    lightbulb: int
    slider: str
    """Where the door is: ``left`` or ``right``."""
    drawer: str
    """``open`` or ``closed``."""
    red: str
    """Where the block is: table, slider_right, slider_left, drawer, grasped, stacked_top or
    stacked_bottom."""
    blue: str
    pink: str
    grasped: int = 0
    """Whether a block is held."""

    def block(self, colour: str) -> str:
        """Where a block is."""
        return str(getattr(self, colour))

    @property
    def values(self) -> tuple[int | str, ...]:
        """All of it, in the benchmark's order."""
        return (
            self.led, self.lightbulb, self.slider, self.drawer,
            self.red, self.blue, self.pink, self.grasped,
        )  # fmt: skip


@dataclass(frozen=True)
class Rule:
    """One way in which a sub-task can be done."""

    needs: Mapping[str, tuple[int | str, ...]]
    """Field of a condition -> values that allow it."""
    makes: Mapping[str, int | str]
    """Field -> value afterwards."""

    def allows(self, condition: Condition) -> bool:
        """Whether it can be done."""
        return all(getattr(condition, name) in values for name, values in self.needs.items())

    def after(self, condition: Condition) -> Condition:
        """The condition afterwards."""
        return replace(condition, **self.makes)


@dataclass(frozen=True)
class Task:
    """A sub-task in symbols."""

    category: int
    """No two sub-tasks of a chain are of one category."""
    rules: tuple[Rule, ...]

    def successors(self, condition: Condition) -> list[Condition]:
        """Every condition that it may end in; none where it cannot be done."""
        return [rule.after(condition) for rule in self.rules if rule.allows(condition)]


Value = int | str


def _rule(
    needs: Mapping[str, Value | tuple[Value, ...]], makes: Mapping[str, Value], *, held: int = 0
) -> Rule:
    wanted = {name: v if isinstance(v, tuple) else (v,) for name, v in needs.items()}
    return Rule(wanted | {"grasped": (held,)}, makes)


def _lift(colour: str, place: str) -> tuple[Rule, ...]:
    made: dict[str, Value] = {colour: "grasped", "grasped": 1}
    if place == "drawer":
        return (_rule({colour: "drawer", "drawer": "open"}, made),)
    if place == "slider":  # the door covers the other half of the shelf
        return (
            _rule({colour: "slider_left", "slider": "right"}, made),
            _rule({colour: "slider_right", "slider": "left"}, made),
        )
    return (_rule({colour: "table"}, made),)


def _place_in_slider() -> tuple[Rule, ...]:
    """As the benchmark has it: it lands where the door is, though the other half is open."""
    return tuple(
        _rule({c: "grasped", "slider": side}, {c: f"slider_{side}", "grasped": 0}, held=1)
        for c in COLOURS
        for side in ("right", "left")
    )


def _place_in_drawer() -> tuple[Rule, ...]:
    return tuple(
        _rule({c: "grasped", "drawer": "open"}, {c: "drawer", "grasped": 0}, held=1)
        for c in COLOURS
    )


def _stack() -> tuple[Rule, ...]:
    return tuple(
        _rule(
            {top: "grasped", bottom: "table"},
            {top: "stacked_top", bottom: "stacked_bottom", "grasped": 0},
            held=1,
        )
        for top, bottom in permutations(COLOURS, 2)
    )


def _unstack() -> tuple[Rule, ...]:
    return tuple(
        _rule({top: "stacked_top", bottom: "stacked_bottom"}, {top: "table", bottom: "table"})
        for top, bottom in permutations(COLOURS, 2)
    )


def _push_into_drawer() -> tuple[Rule, ...]:
    """Only where the two other blocks are on the shelf."""
    return tuple(
        _rule(
            {"drawer": "open"} | {other: "table" if other == c else SHELF for other in COLOURS},
            {c: "drawer", "grasped": 0},
        )
        for c in COLOURS
    )


def _switch(name: str, before: int | str, after: int | str) -> tuple[Rule, ...]:
    return (_rule({name: before}, {name: after}),)


def _tasks() -> dict[str, Task]:
    tasks = {}
    for verb in ("rotate", "push"):
        for colour, side in product(COLOURS, ("right", "left")):
            rules = (_rule({colour: "table"}, {colour: "table"}),)
            tasks[f"{verb}_{colour}_block_{side}"] = Task(1, rules)
    tasks["move_slider_left"] = Task(2, _switch("slider", "right", "left"))
    tasks["move_slider_right"] = Task(2, _switch("slider", "left", "right"))
    tasks["open_drawer"] = Task(3, _switch("drawer", "closed", "open"))
    tasks["close_drawer"] = Task(3, _switch("drawer", "open", "closed"))
    for colour in COLOURS:
        for category, place in ((4, "table"), (5, "slider"), (6, "drawer")):
            tasks[f"lift_{colour}_block_{place}"] = Task(category, _lift(colour, place))
    tasks["place_in_slider"] = Task(7, _place_in_slider())
    tasks["place_in_drawer"] = Task(7, _place_in_drawer())
    # The official rule draws by place in this order, which is that of its table of effects.
    tasks["stack_block"] = Task(10, _stack())
    tasks["unstack_block"] = Task(11, _unstack())
    tasks["turn_on_lightbulb"] = Task(8, _switch("lightbulb", 0, 1))
    tasks["turn_off_lightbulb"] = Task(8, _switch("lightbulb", 1, 0))
    tasks["turn_on_led"] = Task(8, _switch("led", 0, 1))
    tasks["turn_off_led"] = Task(8, _switch("led", 1, 0))
    tasks["push_into_drawer"] = Task(9, _push_into_drawer())
    return tasks


TASKS: Mapping[str, Task] = MappingProxyType(_tasks())
"""Name -> sub-task, in the benchmark's order, by which chains are drawn."""


def _conditions() -> tuple[Condition, ...]:
    places = ("table", *SHELF)
    every = product((0, 1), (0, 1), ("right", "left"), ("closed", "open"), *(places,) * 3)
    return tuple(
        Condition(*values)  # pyright: ignore[reportArgumentType]
        for values in every
        if 1 <= values[4:].count("table") <= 2
        and all(values[4:].count(place) < 2 for place in SHELF)
    )


CONDITIONS = _conditions()
"""The benchmark's 192 initial conditions, in its order."""
