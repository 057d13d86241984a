"""Which action is due, out of chunks that were predicted at different times."""

from __future__ import annotations

from collections import deque

import numpy as np

KEPT = 32
"""Chunks that are remembered at most; older ones say nothing about now."""


class Chunks:
    """Action chunks that a policy sent, each with the time of the observation behind it.

    Step ``k`` of a chunk is meant for ``observed_s + k / rate_hz``: at any time the step is taken
    that is due then, so that the time a policy took is skipped, not lagged behind (latency
    compensation). Where chunks overlap, their actions are averaged with weights
    ``exp(-decay * i)``, ``i = 0`` for the oldest (temporal ensembling, Zhao et al. 2023, alg. 2).
    """

    def __init__(self, rate_hz: float, *, decay: float | None = None, steps: int = 0) -> None:
        """Holds no chunk yet.

        Args:
            rate_hz: Actions per second, as the contract says.
            decay: Of the weights, per chunk; 0 weighs all alike. None takes the newest chunk alone.
            steps: Steps of a chunk that may be used; 0: all of them.
        """
        if not rate_hz > 0:
            raise ValueError(f"rate_hz must be > 0, got {rate_hz}")
        if decay is not None and not decay >= 0:
            raise ValueError(f"decay must be >= 0, got {decay}")
        if steps < 0:
            raise ValueError(f"steps must be >= 0, got {steps}")
        self._rate_hz, self._decay, self._steps = rate_hz, decay, steps
        self._held: deque[tuple[float, np.ndarray]] = deque(maxlen=KEPT)

    def add(self, observed_s: float, actions: np.ndarray) -> None:
        """Takes a chunk, float [chunk, action size], for an observation of this time.

        Raises:
            ValueError: Where it is no chunk of finite numbers of the size of the others.
        """
        actions = np.asarray(actions, np.float32)
        if actions.ndim != 2 or not actions.size or not np.isfinite(actions).all():
            raise ValueError("the policy sent no chunk of finite numbers [chunk, action size]")
        if self._held and self._held[-1][1].shape[1] != actions.shape[1]:
            raise ValueError(
                f"the policy sent actions of {actions.shape[1]} numbers, before that of "
                f"{self._held[-1][1].shape[1]}"
            )
        self._held.append((observed_s, actions[: self._steps or None]))

    def clear(self) -> None:
        """Forgets all chunks: another episode begins."""
        self._held.clear()

    def left(self, now_s: float) -> int:
        """Steps that the newest chunk gives from the one on that is due; 0 without a chunk."""
        if not self._held:
            return 0
        observed_s, actions = self._held[-1]
        return max(0, len(actions) - round((now_s - observed_s) * self._rate_hz))

    def at(self, now_s: float) -> np.ndarray | None:
        """The action float32 [action size] that is due; None where no chunk reaches so far."""
        due = [
            actions[step]
            for observed_s, actions in self._held
            if 0 <= (step := round((now_s - observed_s) * self._rate_hz)) < len(actions)
        ]
        if not due:
            return None
        if self._decay is None:
            return due[-1]
        weights = np.exp(-self._decay * np.arange(len(due)))
        mean = np.average(np.stack(due), axis=0, weights=weights)
        return mean.astype(np.float32)
