"""What a server counts, as text that Prometheus reads."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Literal, get_args

Outcome = Literal["answered", "refused", "busy", "failed", "gone"]
"""Actions were sent; the observation did not fit; too many waited; the policy failed; the client
hung up before its turn."""

BOUNDS_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Upper bounds of the histograms' bins, seconds."""


class Histogram:
    """Times in bins, and their sum."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self._sum_s = 0.0

    def add(self, seconds: float) -> None:
        """Counts a time."""
        self._counts[bisect_left(BOUNDS_S, seconds)] += 1
        self._sum_s += seconds

    def lines(self, name: str, what: str) -> Iterator[str]:
        """In Prometheus' text format: each bin counts all that are not longer."""
        yield from _head(name, what, "histogram")
        total = 0
        for bound, count in zip((*BOUNDS_S, "+Inf"), self._counts, strict=True):
            total += count
            yield f'{name}_bucket{{le="{bound}"}} {total}'
        yield f"{name}_sum {self._sum_s:.6f}"
        yield f"{name}_count {total}"


class Metrics:
    """Counts since the server's start."""

    def __init__(self) -> None:
        self._outcomes: Counter[Outcome] = Counter()
        self._request, self._infer = Histogram(), Histogram()
        self._reloads: Counter[str] = Counter()

    def note(self, outcome: Outcome) -> None:
        """Counts a question."""
        self._outcomes[outcome] += 1

    def time(self, *, request_s: float, infer_s: float) -> None:
        """Counts how long an answered question took in all, and in the policy."""
        self._request.add(request_s)
        self._infer.add(infer_s)

    def reloaded(self, *, taken: bool) -> None:
        """Counts a checkpoint that replaced another, or could not."""
        self._reloads["taken" if taken else "refused"] += 1

    def text(self, now: Mapping[str, float]) -> str:
        """All of it, and ``now``: what can go up and down, by name."""
        lines = list(
            _head("pushcut_questions_total", "Questions by what became of them", "counter")
        )
        lines += [
            f'pushcut_questions_total{{outcome="{outcome}"}} {self._outcomes[outcome]}'
            for outcome in get_args(Outcome)
        ]
        lines += _head("pushcut_reloads_total", "Replaced checkpoints", "counter")
        lines += [
            f'pushcut_reloads_total{{outcome="{outcome}"}} {self._reloads[outcome]}'
            for outcome in ("taken", "refused")
        ]
        lines += self._request.lines("pushcut_request_seconds", "From question to answer")
        lines += self._infer.lines("pushcut_infer_seconds", "Batch of a question in the policy")
        for name, value in now.items():
            lines += [*_head(f"pushcut_{name}", name.replace("_", " "), "gauge")]
            lines.append(f"pushcut_{name} {value:g}")
        return "\n".join(lines) + "\n"


def _head(name: str, what: str, kind: str) -> Iterator[str]:
    yield f"# HELP {name} {what}"
    yield f"# TYPE {name} {kind}"
