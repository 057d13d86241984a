"""What a kind of policy is, what its folder must hold, and what has been shown of it, by whom."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shown:
    """A finding, and where anyone can look it up."""

    what: str
    """In one phrase."""
    where: tuple[str, ...] = ()
    """Test files and records, by their paths in the repository; none where nothing was shown."""


FULL_SIZE_RECORD = "benchmarks/records/2026-11-27-full-size.json"
"""Released sizes with random weights, on a CPU."""
H200_RECORD = "benchmarks/records/2026-11-27-gpu-h200.json"
"""Released sizes with random weights, on one H200."""

NOT_YET = Shown("no")
"""Nobody has tried it."""
SMALL = Shown("as it is: the policy is small")


@dataclass(frozen=True)
class PolicyFacts:
    """What to know of a kind of policy before it is trusted."""

    title: str
    acts: str
    """How it decides, in one phrase."""
    folder: str
    """What its folder must hold."""
    parity: Shown
    """How far it is from the published program."""
    full_size: Shown
    """Whether it ran at its released size."""
    gpu: Shown
    """Whether it ran on a GPU."""
    checkpoint: Shown = NOT_YET
    """Whether a released checkpoint was tried."""

    @property
    def findings(self) -> dict[str, Shown]:
        """What was verified, by what to call it."""
        return {
            "parity": self.parity,
            "full size": self.full_size,
            "GPU": self.gpu,
            "real checkpoint": self.checkpoint,
        }
