"""How sure one can be of a success rate."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


def wilson(successes: int, episodes: int, confidence: float = 0.95) -> tuple[float, float]:
    """The Wilson score interval of a success rate (Wilson 1927), as fractions.

    With p = successes / n and z the normal quantile (1.96 for 95 %)::

        (p + z²/2n ± z √(p (1 - p) / n + z² / 4n²)) / (1 + z²/n)

    It stays inside [0, 1] and is honest at 0 % and 100 %. Nothing is known after no
    episodes: (0, 1).

    Raises:
        ValueError: If the counts or the confidence are impossible.
    """
    if not 0 <= successes <= episodes:
        raise ValueError(f"need 0 <= successes <= episodes, got {successes} of {episodes}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    if episodes == 0:
        return 0.0, 1.0
    # SciPy's statistics take a second to import.
    from scipy.stats import binomtest

    interval = binomtest(successes, episodes).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


@dataclass(frozen=True)
class Rate:
    """A success rate with its counts and 95 % Wilson interval."""

    successes: int
    episodes: int

    @property
    def value(self) -> float:
        """Successes per episode; 0 where there are none."""
        return self.successes / self.episodes if self.episodes else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson score interval."""
        return wilson(self.successes, self.episodes)

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
