from __future__ import annotations

import numpy as np

from pushcut.demos.stats import ImageHistogram, vector_stats


def test_vector_statistics_of_five_rows_are_the_hand_computed_ones():
    values = np.array([[0, 5], [1, 5], [2, 5], [3, 5], [4, 5]], dtype=np.float32)
    got = vector_stats(values).to_json()
    assert got["min"] == [0, 5]
    assert got["max"] == [4, 5]
    assert got["mean"] == [2, 5]
    assert got["std"] == [np.sqrt(2), 0]  # ((4 + 1 + 0 + 1 + 4) / 5) ** 0.5
    assert got["count"] == [5]
    assert got["q50"] == [2, 5]
    np.testing.assert_allclose(got["q01"], [0.04, 5])  # 1 % of the way over four intervals
    np.testing.assert_allclose(got["q99"], [3.96, 5])
    assert list(got) == ["min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99"]


def test_image_statistics_are_per_channel_in_zero_to_one_with_shape_3_1_1():
    images = np.zeros((2, 1, 2, 3), np.uint8)
    images[..., 1] = [[[0, 255]], [[255, 255]]]  # green: 0, 255, 255, 255
    images[..., 2] = 51  # blue: 51 / 255 = 0.2
    got = ImageHistogram.of(images).stats()
    assert got.mean.shape == (3, 1, 1)
    np.testing.assert_allclose(got.mean.ravel(), [0, 0.75, 0.2])
    np.testing.assert_allclose(got.std.ravel(), [0, np.sqrt(0.1875), 0], atol=1e-8)
    np.testing.assert_allclose(got.minimum.ravel(), [0, 0, 0.2])
    np.testing.assert_allclose(got.maximum.ravel(), [0, 1, 0.2])
    np.testing.assert_allclose(got.quantiles["q10"].ravel(), [0, 0, 0.2])
    np.testing.assert_allclose(got.quantiles["q50"].ravel(), [0, 1, 0.2])
    assert got.count == 2


def test_added_histograms_give_the_statistics_of_all_images_together():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
    parts = ImageHistogram.of(images[:2]) + ImageHistogram.of(images[2:])
    pixels = images.reshape(-1, 3) / 255
    got = parts.stats()
    assert got.count == 6
    np.testing.assert_allclose(got.mean.ravel(), pixels.mean(axis=0))
    np.testing.assert_allclose(got.std.ravel(), pixels.std(axis=0))
    np.testing.assert_allclose(got.maximum.ravel(), pixels.max(axis=0))
