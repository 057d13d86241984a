"""Random streams that belong to episodes, so that results never depend on scheduling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32


@dataclass(frozen=True)
class DecisionKey:
    """Names one decision of one episode; equal keys draw equal noise, whatever else runs."""

    seed: int
    iteration: int
    group: int
    member: int
    decision: int

    def generator(self) -> np.random.Generator:
        """A fresh counter-based generator (Philox) for this decision."""
        return _philox(self.seed, self.iteration, self.group, self.member, self.decision)

    def shared_generator(self) -> np.random.Generator:
        """A generator that all episodes share at this decision of this iteration."""
        return _philox(self.seed, self.iteration, self.decision)


def _philox(*entropy: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))


class DecisionNoise:
    """The noise of a batch of decisions: row ``i`` is drawn from the stream of ``keys[i]``."""

    def __init__(self, keys: Sequence[DecisionKey]) -> None:
        self._keys = tuple(keys)
        self._generators = [key.generator() for key in keys]

    def __len__(self) -> int:
        return len(self._generators)

    def uniform(self, *shape: int) -> Float32[np.ndarray, " b *shape"]:
        """Uniform noise in [0, 1), one block of ``shape`` per row."""
        return np.stack([g.random(shape, dtype=np.float32) for g in self._generators])

    def shared_uniform(self) -> Float32[np.ndarray, " b"]:
        """Uniform noise in [0, 1) that episodes share at the same decision of an iteration."""
        return np.stack([k.shared_generator().random((), dtype=np.float32) for k in self._keys])

    def normal(self, *shape: int) -> Float32[np.ndarray, " b *shape"]:
        """Standard normal noise, one block of ``shape`` per row."""
        return np.stack([g.standard_normal(shape, dtype=np.float32) for g in self._generators])
