"""Statistics of datasets, in the form of LeRobot's ``stats.json``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64, Shaped, UInt8

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
"""The quantiles that LeRobot stores since 0.4, by their names."""


@dataclass(frozen=True)
class FeatureStats:
    """Statistics of one feature over frames, one number per dimension (or per channel)."""

    minimum: np.ndarray
    maximum: np.ndarray
    mean: Float64[np.ndarray, "*d"]
    std: Float64[np.ndarray, "*d"]
    """Population standard deviation, as LeRobot's."""
    count: int
    """Number of frames that were looked at."""
    quantiles: dict[str, Float64[np.ndarray, "*d"]]
    """Quantile name, as in ``QUANTILES`` -> value."""

    def to_json(self) -> dict[str, list[Any]]:
        """Plain lists under LeRobot's names."""
        arrays = {
            "min": self.minimum,
            "max": self.maximum,
            "mean": self.mean,
            "std": self.std,
            "count": np.array([self.count]),
            **self.quantiles,
        }
        return {name: array.tolist() for name, array in arrays.items()}

    def reshaped(self, *shape: int) -> FeatureStats:
        """The statistics in arrays of another shape."""
        return FeatureStats(
            minimum=self.minimum.reshape(shape),
            maximum=self.maximum.reshape(shape),
            mean=self.mean.reshape(shape),
            std=self.std.reshape(shape),
            count=self.count,
            quantiles={name: value.reshape(shape) for name, value in self.quantiles.items()},
        )


def vector_stats(values: Shaped[np.ndarray, "n d"]) -> FeatureStats:
    """Exact statistics over the rows; quantiles interpolate linearly between rows.

    LeRobot averages the quantiles of episodes, weighted by length; these are the
    quantiles of all rows together, which is what normalisation is meant to use.
    """
    wide = values.astype(np.float64)
    return FeatureStats(
        minimum=values.min(axis=0),
        maximum=values.max(axis=0),
        mean=wide.mean(axis=0),
        std=wide.std(axis=0),
        count=len(values),
        quantiles={name: np.quantile(wide, q, axis=0) for name, q in QUANTILES.items()},
    )


@dataclass
class ImageHistogram:
    """How often each of the 256 levels occurs per channel: exact and cheap to add up."""

    counts: Int64[np.ndarray, "3 256"]
    frames: int

    @staticmethod
    def of(images: UInt8[np.ndarray, "n _ _ 3"]) -> ImageHistogram:
        """Counts the levels of a batch of images."""
        channels = [np.bincount(images[..., c].ravel(), minlength=256) for c in range(3)]
        return ImageHistogram(np.stack(channels).astype(np.int64), len(images))

    def __add__(self, other: ImageHistogram) -> ImageHistogram:
        return ImageHistogram(self.counts + other.counts, self.frames + other.frames)

    def stats(self) -> FeatureStats:
        """Statistics per channel, scaled to [0, 1], in LeRobot's shape (3, 1, 1)."""
        level = np.arange(256) / 255
        pixels = self.counts.sum(axis=1)
        mean = self.counts @ level / pixels
        variance = self.counts @ level**2 / pixels - mean**2
        return FeatureStats(
            minimum=self._level_where(lambda cumulated: cumulated > 0),
            maximum=self._level_where(lambda cumulated: cumulated >= pixels[:, None]),
            mean=mean,
            std=np.sqrt(np.maximum(variance, 0)),
            count=self.frames,
            quantiles={
                name: self._level_where(lambda cumulated, q=q: cumulated >= q * pixels[:, None])
                for name, q in QUANTILES.items()
            },
        ).reshaped(3, 1, 1)

    def _level_where(
        self, reached: Callable[[np.ndarray], np.ndarray]
    ) -> Float64[np.ndarray, " 3"]:
        """The first level of each channel at which the cumulated counts satisfy a condition."""
        return reached(self.counts.cumsum(axis=1)).argmax(axis=1) / 255
