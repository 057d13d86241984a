"""Photographs and textures: which pixels are whose, by hand."""

import numpy as np

from pushcut.envs.maniskill.put_on_plate.pictures import Backdrop, box_around
from pushcut.envs.resized import resized

RGB = np.full((4, 6, 3), 100, np.uint8)
PHOTOGRAPH = np.full((4, 6, 3), 20, np.uint8)
OWN = np.zeros((4, 6, 1), bool)
OWN[1:3, 2:5] = True
WHITE = np.full((5, 5, 3), 255, np.uint8)


def test_what_is_not_own_is_the_photograph():
    picture = Backdrop(PHOTOGRAPH).behind(RGB, OWN)
    assert (picture[OWN[..., 0]] == 100).all()
    assert (picture[~OWN[..., 0]] == 20).all()


def test_a_texture_is_blended_over_robot_and_objects_alone():
    picture = Backdrop(PHOTOGRAPH, WHITE, "texture", 0.3).behind(RGB, OWN)
    assert (picture[OWN[..., 0]] == 146).all()  # 0.7 * 100 + 0.3 * 255 = 146.5, cut off
    assert (picture[~OWN[..., 0]] == 20).all()


def test_a_texture_over_everything_is_blended_over_the_photograph_too():
    picture = Backdrop(PHOTOGRAPH, WHITE, "whole", 0.5).behind(RGB, OWN)
    assert (picture[OWN[..., 0]] == 177).all()  # 0.5 * 100 + 127.5
    assert (picture[~OWN[..., 0]] == 137).all()  # 0.5 * 20 + 127.5


def test_the_window_of_the_whole_moves_with_what_is_seen():
    texture = np.zeros((8, 12, 3), np.uint8)
    texture[..., 0] = np.arange(12) * 20  # twice the size of the picture: it stays as it is
    black = np.zeros_like(RGB)
    left = Backdrop(black, texture, "whole", 1.0).behind(black, OWN)
    # The box around what is own is columns 2 to 4: from column (2 + 4) // 2 = 3 on.
    np.testing.assert_array_equal(left[0, :, 0], np.arange(3, 9) * 20)
    nothing = Backdrop(black, texture, "whole", 1.0).behind(black, np.zeros_like(OWN))
    np.testing.assert_array_equal(nothing[0, :, 0], np.arange(1, 7) * 20)  # not from 0


def test_a_table_without_a_share_has_no_texture():
    plain = Backdrop(PHOTOGRAPH).behind(RGB, OWN)
    np.testing.assert_array_equal(
        Backdrop(PHOTOGRAPH, WHITE, "texture", 0.0).behind(RGB, OWN), plain
    )


def test_pixels_between_pixels():
    row = np.array([[[0], [100], [200]]], np.uint8).repeat(3, 2)
    # Six from three: centres at -0.25, 0.25, 0.75, 1.25, 1.75, 2.25 of the old pixels.
    np.testing.assert_allclose(resized(row, 1, 6)[0, :, 0], [0, 25, 75, 125, 175, 200])
    np.testing.assert_allclose(resized(row, 1, 3), row)
    assert box_around(OWN) == (1, 2, 2, 4)
