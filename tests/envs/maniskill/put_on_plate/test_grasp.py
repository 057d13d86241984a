"""Where things are grasped: a narrow place near the middle."""

import numpy as np
import pytest

from pushcut.envs.maniskill.put_on_plate.grasp import grasp_of


def box(x: float, y: float, z: float, at=(0.0, 0.0, 0.0), count: int = 400) -> np.ndarray:
    """Points in a box of these half edges, metres."""
    return np.random.default_rng(0).uniform(-1, 1, (count, 3)) * (x, y, z) + np.array(at)


def test_a_bar_is_grasped_in_its_middle_across_its_length():
    turned = box(0.06, 0.01, 0.01)
    angle = np.pi / 6
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned[:, :2] = turned[:, :2] @ turn.T
    grasp = grasp_of(turned + np.array([0.1, 0.2, 0.9]))
    np.testing.assert_allclose(grasp.point, [0.1, 0.2, 0.9], atol=0.012)
    assert abs(grasp.along[:2] @ turn[:, 0]) == pytest.approx(1, abs=0.02)


def test_a_shovel_is_grasped_at_its_handle_where_its_blade_is_too_wide():
    blade, handle = box(0.03, 0.04, 0.01, (-0.05, 0, 0)), box(0.06, 0.008, 0.008, (0.04, 0, 0))
    grasp = grasp_of(np.concatenate([blade, handle]))
    assert grasp.point[0] > -0.02
    assert abs(grasp.point[1]) < 0.01


def test_a_bent_thing_is_grasped_on_its_body_and_not_beside_it():
    angle = np.linspace(0.25 * np.pi, 0.75 * np.pi, 300)
    bent = np.stack([0.08 * np.cos(angle), 0.08 * np.sin(angle), 0 * angle], 1)
    grasp = grasp_of(bent)
    # The arc's middle is 8 cm from its centre; the mean of its points is 7.2 cm from it.
    assert np.hypot(*grasp.point[:2]) == pytest.approx(0.08, abs=0.004)
    assert abs(grasp.along[0]) == pytest.approx(1, abs=0.05)


def test_what_is_too_wide_everywhere_is_grasped_where_it_is_narrowest():
    grasp = grasp_of(box(0.1, 0.05, 0.01))
    assert np.isfinite(grasp.point).all()
