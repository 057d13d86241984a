"""How sure one can be of a success rate, and of the difference between two."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean
from typing import Any

Interval = tuple[float, float]

Count = int | float
"""A count, or what of it remains where repeats are worth less than an episode."""

Outcomes = Sequence[Sequence[bool]]
"""For each initial state, the successes of its repeats (equally many of each)."""


def wilson(successes: Count, episodes: Count, confidence: float = 0.95) -> Interval:
    """The Wilson score interval of a success rate (Wilson 1927), as fractions.

    With p = successes / n and z the normal quantile (1.96 for 95 %)::

        (p + z²/2n ± z √(p (1 - p) / n + z² / 4n²)) / (1 + z²/n)

    It stays inside [0, 1] and is honest at 0 % and 100 %. Nothing is known after no
    episodes: (0, 1). Counts may be fractions, see `design_effect`; scipy's takes integers alone.

    Raises:
        ValueError: If the counts or the confidence are impossible.
    """
    if not 0 <= successes <= episodes:
        raise ValueError(f"need 0 <= successes <= episodes, got {successes} of {episodes}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    if episodes == 0:
        return 0.0, 1.0
    n, p = episodes, successes / episodes
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return (0.0 if p == 0 else centre - half), (1.0 if p == 1 else centre + half)


def newcombe(
    both: Count, only_first: Count, only_second: Count, neither: Count, confidence: float = 0.95
) -> Interval:
    """Interval of the difference p1 - p2 of paired rates (Newcombe 1998, method 10).

    Statistics in Medicine 17, 2635-2650. From the Wilson intervals (l, u) of both rates and
    their correlation φ, whose numerator is pulled towards 0 by n/2 where it is positive::

        p1 - p2 - √((p1 - l1)² - 2φ (p1 - l1)(u2 - p2) + (u2 - p2)²)
        p1 - p2 + √((u1 - p1)² - 2φ (u1 - p1)(p2 - l2) + (p2 - l2)²)
    """
    n = both + only_first + only_second + neither
    if n == 0:
        return -1.0, 1.0
    first, second = both + only_first, both + only_second
    p1, p2 = first / n, second / n
    (l1, u1), (l2, u2) = wilson(first, n, confidence), wilson(second, n, confidence)
    product = both * neither - only_first * only_second
    numerator = max(product - n / 2, 0.0) if product > 0 else product
    scale = math.sqrt(first * (n - first) * second * (n - second))
    phi = numerator / scale if scale else 0.0
    below = math.sqrt((p1 - l1) ** 2 - 2 * phi * (p1 - l1) * (u2 - p2) + (u2 - p2) ** 2)
    above = math.sqrt((u1 - p1) ** 2 - 2 * phi * (u1 - p1) * (p2 - l2) + (p2 - l2) ** 2)
    return p1 - p2 - below, p1 - p2 + above


def mean_interval(values: Sequence[float], intervals: Sequence[Interval]) -> Interval:
    """Interval of the mean of independent estimates, from their own intervals.

    Distances to the limits add as squares (Zou & Donner 2008, Statistics in Medicine 27).
    """
    mean, count = fmean(values), len(values)
    below = math.hypot(*(x - low for x, (low, _) in zip(values, intervals, strict=True)))
    above = math.hypot(*(high - x for x, (_, high) in zip(values, intervals, strict=True)))
    return mean - below / count, mean + above / count


def design_effect(values: Sequence[Sequence[Count]]) -> float:
    """How many repeated episodes are worth one independent episode (Rao & Scott 1992).

    Repeats of an initial state tend to end alike: three copies of an episode say no more
    than one. The variance of the mean of ``values`` (one row per state, one column per
    repeat) as the states differ, over what it were if all episodes were independent; from 1
    (independent) to the number of repeats (copies, or nothing is known). Counts divided by it
    give honest intervals.
    """
    flat = [x for row in values for x in row]
    if len(flat) == len(values):
        return 1.0
    states, repeats, mean = len(values), len(flat) / len(values), fmean(flat)
    spread = sum((x - mean) ** 2 for x in flat)
    if states == 1 or spread == 0:
        return repeats
    between = sum((fmean(row) - mean) ** 2 for row in values)
    ratio = between / (states * (states - 1)) / (spread / len(flat) ** 2)
    return min(max(ratio, 1.0), repeats)


@dataclass(frozen=True)
class Rate:
    """A success rate with its counts and 95 % Wilson interval."""

    successes: int
    episodes: int
    design_effect: float = 1.0
    """Above 1 where initial states were played more than once; divides the counts."""

    @staticmethod
    def of(outcomes: Outcomes) -> Rate:
        """The rate of repeated episodes."""
        episodes = sum(len(row) for row in outcomes)
        return Rate(sum(map(sum, outcomes)), episodes, design_effect(outcomes))

    @property
    def value(self) -> float:
        """Successes per episode; 0 where there are none."""
        return self.successes / self.episodes if self.episodes else 0.0

    @property
    def interval(self) -> Interval:
        """95 % Wilson score interval."""
        return wilson(self.successes / self.design_effect, self.episodes / self.design_effect)

    def __str__(self) -> str:
        low, high = self.interval
        counts = f"{self.successes}/{self.episodes}"
        return f"{self.value:6.1%} ({counts}, 95 % interval {low:.1%} to {high:.1%})"

    def to_json(self) -> dict[str, Any]:
        """Counts and interval."""
        return {
            "successes": self.successes,
            "episodes": self.episodes,
            "interval": list(self.interval),
        }


def pooled(rates: Iterable[Rate]) -> Rate:
    """Counts of several rates added up."""
    rates = list(rates)
    return Rate(sum(rate.successes for rate in rates), sum(rate.episodes for rate in rates))


@dataclass(frozen=True)
class Paired:
    """Counts of episodes that two policies played from equal starts."""

    both: int
    """Episodes that both solved."""
    gained: int
    """Episodes that only the new policy solved."""
    lost: int
    """Episodes that only the baseline solved."""
    neither: int
    """Episodes that neither solved."""
    states_gained: int
    """Initial states of which the new policy solved more repeats."""
    states_lost: int
    """Initial states of which the baseline solved more repeats."""
    design_effect: float

    @staticmethod
    def of(new: Outcomes, baseline: Outcomes) -> Paired:
        """Pairs of the same initial state and repeat."""
        pairs = [
            list(zip(ours, theirs, strict=True)) for ours, theirs in zip(new, baseline, strict=True)
        ]
        flat = [pair for own in pairs for pair in own]
        differences = [[int(ours) - int(theirs) for ours, theirs in own] for own in pairs]
        return Paired(
            both=flat.count((True, True)),
            gained=flat.count((True, False)),
            lost=flat.count((False, True)),
            neither=flat.count((False, False)),
            states_gained=sum(sum(own) > 0 for own in differences),
            states_lost=sum(sum(own) < 0 for own in differences),
            design_effect=design_effect(differences),
        )

    @property
    def difference(self) -> float:
        """Success of the new policy less that of the baseline."""
        pairs = self.both + self.gained + self.lost + self.neither
        return (self.gained - self.lost) / pairs if pairs else 0.0

    @property
    def interval(self) -> Interval:
        """95 % interval of the difference (Newcombe's method 10)."""
        counts = (self.both, self.gained, self.lost, self.neither)
        return newcombe(*(count / self.design_effect for count in counts))

    @property
    def p_value(self) -> float:
        """McNemar's exact test, two-sided (McNemar 1947).

        Were both equal, each state that differs would be gained or lost like a tossed coin.
        """
        differing = self.states_gained + self.states_lost
        if differing == 0:
            return 1.0
        # SciPy's statistics take a second to import.
        from scipy.stats import binomtest

        return float(binomtest(self.states_gained, differing).pvalue)

    def __str__(self) -> str:
        low, high = (100 * limit for limit in self.interval)
        return (
            f"{100 * self.difference:+.1f} points (95 % interval {low:+.1f} to {high:+.1f}), "
            f"{self.states_gained} initial states gained, {self.states_lost} lost, "
            f"McNemar's exact test p = {self.p_value:.2g}"
        )

    def to_json(self) -> dict[str, Any]:
        """Counts, difference, interval and test."""
        names = ("both", "gained", "lost", "neither", "states_gained", "states_lost")
        return {
            **{name: getattr(self, name) for name in names},
            "difference": self.difference,
            "interval": list(self.interval),
            "p_value": self.p_value,
        }
