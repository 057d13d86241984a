"""How sure one can be of a success rate."""

from __future__ import annotations


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
