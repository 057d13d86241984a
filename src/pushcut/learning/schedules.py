"""Learning rates over time, for reinforcement learning and supervised fine-tuning."""

from __future__ import annotations

import math


def warmup_cosine(
    step: int, *, peak: float = 1.0, warmup: int, ramp: int, decay: int, floor: float = 0.1
) -> float:
    """Linear warm-up to ``peak``, then a cosine to a share of it.

    Args:
        step: Steps before this one.
        peak: The largest rate.
        warmup: Steps of the warm-up.
        ramp: The warm-up rises by peak / ramp a step: with ``warmup`` its last step is at the
            peak already, with one more the step after it is the first.
        decay: Steps of the cosine, after which the rate stays; 0: it stays at the peak.
        floor: The share of the peak that the cosine ends at.
    """
    if step < warmup:
        return peak * (step + 1) / ramp
    if decay == 0:
        return peak
    progress = min(1.0, (step - warmup) / decay)
    return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress)))
