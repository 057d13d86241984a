"""The published variants: what each draws its episodes from, numbered by mixed radix."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float64

from pushcut.envs.maniskill.put_on_plate.layouts import OTHER_YAWS, RIM, Layout
from pushcut.envs.maniskill.put_on_plate.names import RECEPTACLES, TEMPLATES, sentence

IN_DISTRIBUTION = "In distribution"
Extra = Literal["", "object", "receptacle", "template", "texture", "whole", "joints"]
"""What one more digit of an episode's number chooses: a distractor, the wording, a texture that is
blended over robot and objects or over the whole picture, or other joints at the start."""

MOVED_AFTER = 5
"""Control steps after which PositionChangeTo puts the object elsewhere."""


@dataclass(frozen=True)
class Span:
    """Consecutive members of a list."""

    first: int
    count: int

    def at_most(self, count: int) -> Span:
        """The first ones, where fewer are asked for than training has; what is for tests stays."""
        whole = self.first > 0 or count >= SEEN.count
        return self if whole else replace(self, count=min(self.count, count))


SEEN, UNSEEN = Span(0, 16), Span(16, 9)


@dataclass(frozen=True)
class Episode:
    """What the digits of an episode's number choose."""

    obj: int
    """Place in ``OBJECTS``."""
    receptacle: int
    """Place in ``RECEPTACLES``."""
    table: int
    """The photograph."""
    position: int
    """Place among the layout's positions."""
    yaw: int
    """Place among the layout's yaws."""
    extra: int = 0
    """By the variant: a distractor, a template, a texture or an arm's start."""


@dataclass(frozen=True)
class Variant:
    """One row of the table."""

    column: str = IN_DISTRIBUTION
    """Column in which rows are averaged (pi_RL, table 4)."""
    objects: Span = SEEN
    tables: Span = SEEN
    receptacles: Span | None = None
    """None: as many as are asked for."""
    extra: Extra = ""
    extras: Span = Span(0, 1)
    mix: float = 0.0
    """Share of the texture where it is blended."""
    layout: Layout = Layout()

    def sized(self, objects: int, receptacles: int, tables: int) -> Variant:
        """With so many of the training objects, receptacles and tables at most."""
        own = self.receptacles or Span(0, receptacles)
        extras = self.extras
        if self.extra == "object" and self.objects.first == 0:
            extras = Span(0, min(self.objects.count, objects) - 1)
        return replace(
            self,
            objects=self.objects.at_most(objects),
            tables=self.tables.at_most(tables),
            receptacles=own,
            extras=extras,
        )

    @property
    def _targets(self) -> Span:
        return self.receptacles or Span(0, len(RECEPTACLES))

    @cached_property
    def size(self) -> int:
        """Number of episodes."""
        models = self.objects.count * self._targets.count * self.extras.count
        return models * self.tables.count * self.layout.size

    def of_seed(self, seed: int) -> Episode:
        """An episode drawn from a seed alone, all of them equally often."""
        return self.episode(int(np.random.default_rng(seed).integers(self.size)))

    def episode(self, number: int) -> Episode:
        """The episode of a number in [0, size).

        Its digits, from the last to the first, are yaw, position, table, receptacle, extra and
        object; with two receptacles the extra comes before the receptacle.
        """
        if not 0 <= number < self.size:
            raise ValueError(f"episodes are numbered from 0 to {self.size - 1}, got {number}")
        yaws = len(self.layout.yaws)
        rest, yaw = divmod(number, yaws)
        rest, position = divmod(rest, self.layout.size // yaws)
        rest, table = divmod(rest, self.tables.count)
        if self.extra == "receptacle":
            rest, extra = divmod(rest, self.extras.count)
            obj, target = divmod(rest, self._targets.count)
        else:
            rest, target = divmod(rest, self._targets.count)
            obj, extra = divmod(rest, self.extras.count)
        return Episode(
            obj=obj + self.objects.first,
            receptacle=target + self._targets.first,
            table=table + self.tables.first,
            position=position,
            yaw=yaw,
            extra=self._extra(extra, obj, target),
        )

    def _extra(self, digit: int, obj: int, target: int) -> int:
        if self.extra == "object":
            # With the nine unseen objects the published rule counts from 16 on, so that one digit
            # of eight names the object itself: there is no distractor then (see the simulator).
            first, count = self.objects.first, self.objects.count
            return (obj + first + digit + 1) % count + first
        if self.extra == "receptacle":
            # The one receptacle of training has 16 others; the 16 of the test have 15.
            first, among = self._targets.first, self.extras.count + 1
            return (target + digit + 1) % among + first
        return digit + self.extras.first

    def instruction(self, episode: Episode) -> str:
        """What the policy is told."""
        template = episode.extra if self.extra == "template" else 0
        return sentence(episode.obj, episode.receptacle, template)

    def instructions(self) -> tuple[str, ...]:
        """Every instruction of its episodes."""
        extras = self.extras if self.extra == "template" else Span(0, 1)
        return tuple(
            sentence(obj, target, template)
            for template in _members(extras)
            for obj in _members(self.objects)
            for target in _members(self._targets)
        )

    def used(self) -> tuple[set[int], set[int], set[int]]:
        """Places of the objects, receptacles and tables that its episodes may have."""
        objects, targets = set(_members(self.objects)), set(_members(self._targets))
        tables = set(_members(self.tables))
        if self.extra == "receptacle":
            first = self._targets.first
            targets |= set(range(first, first + self.extras.count + 1))
        if self.extra in ("texture", "whole"):
            tables |= set(_members(self.extras))
        return objects, targets, tables

    def positions(self, *, settle: bool) -> Float64[np.ndarray, "n things 3"]:
        """Where things start, by the episode's ``position``."""
        return self.layout.positions(settle=settle)


def _members(span: Span) -> range:
    return range(span.first, span.first + span.count)


VISION, SEMANTIC, EXECUTION = "Vision", "Semantic", "Execution"
OTHERS = Span(1, len(TEMPLATES) - 1)
TWO_OBJECTS = Layout(third="object", heights=(0.95, 0.92, 1.0))
TWO_RECEPTACLES = Layout(third="receptacle", heights=(1.0, 0.92, 0.96))
MOVED = Layout(third="moved", heights=(0.95, 0.92, 1.0))
AROUND = Layout(RIM, OTHER_YAWS, heights=(0.95, 0.95))
ALL_TABLES = Span(0, 21)

VARIANTS = {
    "Main-v3-train": Variant(),
    "Instruct-v1-test": Variant(VISION, extra="template", extras=OTHERS),
    "VisionImage-v1-test": Variant(VISION, tables=Span(16, 5)),
    "VisionTexture03-v1-test": Variant(VISION, extra="texture", extras=OTHERS, mix=0.3),
    "VisionTexture05-v1-test": Variant(VISION, extra="texture", extras=OTHERS, mix=0.5),
    "VisionWhole03-v1-test": Variant(VISION, extra="whole", extras=OTHERS, mix=0.3),
    "VisionWhole05-v1-test": Variant(VISION, extra="whole", extras=OTHERS, mix=0.5),
    "MultiCarrot-v1-test": Variant(
        SEMANTIC, UNSEEN, extra="object", extras=Span(0, 8), layout=TWO_OBJECTS
    ),
    "MultiCarrot-v1-train": Variant(
        SEMANTIC, extra="object", extras=Span(0, 15), layout=TWO_OBJECTS
    ),
    "MultiPlate-v1-test": Variant(
        SEMANTIC, SEEN, ALL_TABLES, Span(1, 16), "receptacle", Span(0, 15), layout=TWO_RECEPTACLES
    ),
    "MultiPlate-v1-train": Variant(
        SEMANTIC, SEEN, ALL_TABLES, Span(0, 1), "receptacle", Span(0, 16), layout=TWO_RECEPTACLES
    ),
    "PositionChangeTo-v1-test": Variant(EXECUTION, layout=MOVED),
    "Position-v1-test": Variant(EXECUTION, layout=AROUND),
}
"""pi_RL's table 7, in its order."""

FURTHER = {
    "Carrot-v1-test": Variant(SEMANTIC, UNSEEN),
    "Plate-v1-test": Variant(SEMANTIC, receptacles=Span(1, 16)),
}
"""RL4VLA's, which pi_RL leaves out."""
