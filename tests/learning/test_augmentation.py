"""Random changes of training images, on pictures whose right answers are known."""

import colorsys

import numpy as np
import pytest
import torch

from pushcut.learning import augmentation as aug
from pushcut.learning.augmentation import OpenPiChanges, OpenVLAChanges, augmented, frame_streams

CPU = torch.device("cpu")


def plain(*colour: float, size: int = 4) -> torch.Tensor:
    """A picture of one colour."""
    return (
        torch.tensor(colour, dtype=torch.float32).view(1, 3, 1, 1).expand(1, 3, size, size).clone()
    )


def one(*values: float) -> list[np.ndarray]:
    return [np.array([value], np.float32) for value in values]


def at(images: torch.Tensor, y: int = 0, x: int = 0) -> list[float]:
    return images[0, :, y, x].tolist()


def ramp(size: int) -> torch.Tensor:
    """Each pixel is the number of its column, in red, and of its row, in green."""
    number = torch.arange(size, dtype=torch.float32)
    across, down = number.expand(size, size), number.view(-1, 1).expand(size, size)
    return torch.stack([across, down, torch.zeros(size, size)])[None]


NOTHING = {"top": 0.5, "left": 0.5, "brightness": 0.0, "contrast": 1.0, "saturation": 1.0, "hue": 0}


def openvla(images: torch.Tensor, centre: float = 1.0, **changes: float) -> torch.Tensor:
    return aug.openvla(images, OpenVLAChanges(*one(*(NOTHING | changes).values())), centre)


def test_brightness_is_added_and_clipped():
    assert at(openvla(plain(0.25, 0.5, 0.9), brightness=0.2)) == pytest.approx([0.45, 0.7, 1.0])
    assert at(openvla(plain(0.25, 0.1, 0.9), brightness=-0.2)) == pytest.approx(
        [0.05, 0.0, 0.7], abs=1e-6
    )


def test_contrast_moves_away_from_the_mean_of_each_colour():
    image = torch.zeros(1, 3, 2, 2)
    image[0, 0] = torch.tensor([[0.2, 0.2], [0.6, 0.6]])
    image[0, 1] = 0.5
    # A crop from the top left: red of the lower row is 0.2 + 0.4 x 0.948683 = 0.579473, the mean
    # 0.389737; 1.2 times as far from it are 0.162053 and 0.617421.
    seen = openvla(image, top=0.0, left=0.0, contrast=1.2)
    assert seen[0, 0].tolist() == [
        pytest.approx([0.162053] * 2, abs=1e-5),
        pytest.approx([0.617421] * 2, abs=1e-5),
    ]
    assert seen[0, 1].tolist() == [pytest.approx([0.5] * 2)] * 2


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.2])
@pytest.mark.parametrize("colour", [(0.9, 0.3, 0.6), (0.1, 0.2, 0.15), (0.5, 0.5, 0.5), (1, 0, 0)])
def test_saturation_is_that_of_hue_saturation_and_value(colour, factor):
    hue, saturation, value = colorsys.rgb_to_hsv(*colour)
    want = colorsys.hsv_to_rgb(hue, min(1, saturation * factor), value)
    got = aug.saturate(plain(*colour), torch.tensor([factor]))
    assert at(got) == pytest.approx(want, abs=1e-6)


@pytest.mark.parametrize("turn", [-0.05, 0.0, 0.05, 1 / 3])
@pytest.mark.parametrize("colour", [(0.9, 0.3, 0.6), (0.1, 0.2, 0.15), (0.5, 0.5, 0.5), (0, 0, 1)])
def test_hue_turns_around_the_colours(colour, turn):
    hue, saturation, value = colorsys.rgb_to_hsv(*colour)
    want = colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value)
    assert at(aug.turn_hue(plain(*colour), torch.tensor([turn]))) == pytest.approx(want, abs=1e-6)


def test_a_third_of_a_turn_makes_red_green():
    assert at(aug.turn_hue(plain(1, 0, 0), torch.tensor([1 / 3]))) == pytest.approx([0, 1, 0])


def test_a_random_crop_keeps_nine_tenths_of_the_area():
    image, side = ramp(101), 0.9**0.5  # 0.948683
    first = aug.random_crop(image, torch.tensor([0.0]), torch.tensor([0.0]))
    assert at(first) == pytest.approx([0, 0, 0])
    assert at(first, 100, 100) == pytest.approx([100 * side, 100 * side, 0], abs=1e-3)
    last = aug.random_crop(image, torch.tensor([1.0]), torch.tensor([0.5]))
    assert at(last) == pytest.approx([50 * (1 - side), 100 * (1 - side), 0], abs=1e-3)
    assert at(last, 100, 0)[1] == pytest.approx(100, abs=1e-3)


def test_a_policy_that_crops_the_centre_sees_there_what_a_random_crop_shows():
    image, side = ramp(101), 0.9**0.5
    moved = aug.random_crop(image, *torch.tensor([[0.0], [1.0]]), centre=0.9)
    # The centre crop begins at 50 (1 - side) = 2.566 pixels: there it must find 0 and 5.13.
    begin = 50 * (1 - side)
    before, after = at(moved, 2, 2), at(moved, 3, 3)
    found = [a + (b - a) * (begin - 2) for a, b in zip(before, after, strict=True)]
    assert found[0] == pytest.approx(100 * (1 - side), abs=1e-3)
    assert before[1] == 0.0  # outside of the picture its border is repeated
    assert after[1] == pytest.approx(3 - begin, abs=1e-3)
    assert at(aug.random_crop(image, *torch.tensor([[0.5], [0.5]]), centre=0.9), 7, 9) == (
        pytest.approx([9, 7, 0], abs=1e-4)
    )


def openpi(images: torch.Tensor, *, moves: bool, **changes: float) -> torch.Tensor:
    nothing = {
        "top": 0.5, "left": 0.5, "degrees": 0, "brightness": 1, "contrast": 1, "saturation": 1
    }  # fmt: skip
    return aug.openpi(images, OpenPiChanges(*one(*(nothing | changes).values())), moves=moves)


def test_openpi_multiplies_brightness_and_moves_colours_from_their_means():
    assert at(openpi(plain(0.5, 0.2, 0.8), moves=False, brightness=1.3)) == pytest.approx(
        [0.65, 0.26, 1.0]
    )
    # The mean of all numbers is 0.5: 0.2 -> 0.5 - 0.3 x 1.4
    assert at(openpi(plain(0.5, 0.2, 0.8), moves=False, contrast=1.4)) == pytest.approx(
        [0.5, 0.08, 0.92]
    )
    # The mean of the pixel is 0.5: half of the distance
    assert at(openpi(plain(0.5, 0.2, 0.8), moves=False, saturation=0.5)) == pytest.approx(
        [0.5, 0.35, 0.65]
    )


def test_openpi_crops_whole_pixels_and_stretches_them():
    image = ramp(40)  # 38 pixels of 40 are kept, from pixel 0, 1 or 2 on
    for share, start in ((0.0, 0), (0.3, 0), (0.4, 1), (0.7, 2), (1.0, 2)):
        found = aug.pixel_crop(image, torch.tensor([share]), torch.tensor([0.0]))
        assert at(found)[1] == pytest.approx(start, abs=1e-4)
        assert at(found, 39, 39)[1] == pytest.approx(start + 37, abs=1e-3)
        # Between the middles: (20 + 0.5) x 38 / 40 - 0.5
        assert at(found, 20, 20)[1] == pytest.approx(start + 18.975, abs=1e-3)


def test_a_quarter_turn_moves_every_pixel_and_a_small_one_brings_black_corners():
    image = ramp(5)
    turned = aug.rotate(image, torch.tensor([90.0]))
    # What is seen at (row 0, column 0) was at (row 0, column 4)
    assert at(turned, 0, 0) == pytest.approx([4, 0, 0], abs=1e-4)
    assert at(turned, 0, 4) == pytest.approx([4, 4, 0], abs=1e-4)
    white = torch.ones(1, 3, 50, 50)
    small = aug.rotate(white, torch.tensor([5.0]))
    assert at(small, 25, 25) == pytest.approx([1, 1, 1])
    assert at(small, 0, 0) == at(small, 49, 49) == [0, 0, 0]
    assert torch.equal(aug.rotate(white, torch.tensor([0.0])), white)


def pictures(count: int = 3) -> dict[str, np.ndarray]:
    numbers = np.random.default_rng(0)
    shape = (count, 16, 16, 3)
    return {name: numbers.integers(0, 256, shape, np.uint8) for name in ("front", "wrist")}


@pytest.mark.parametrize("kind", ["openvla", "openpi"])
def test_a_frame_is_changed_in_the_same_way_whoever_computes_it(kind):
    images = pictures()
    whole = augmented(images, frame_streams(5, 7, range(3)), kind, device=CPU)
    alone = augmented(
        {name: values[1:2] for name, values in images.items()},
        frame_streams(5, 7, [1]),
        kind,
        device=CPU,
    )
    for name in images:
        assert whole[name].dtype == np.uint8 and whole[name].shape == images[name].shape
        assert np.array_equal(whole[name][1], alone[name][0])
        assert not np.array_equal(whole[name], images[name])
    for seed, step in ((5, 8), (6, 7)):
        other = augmented(images, frame_streams(seed, step, range(3)), kind, device=CPU)
        assert not np.array_equal(other["front"], whole["front"])


def test_openpi_does_not_move_the_picture_of_a_wrist_camera():
    image = np.zeros((1, 16, 16, 3), np.uint8)
    image[:, :8] = 200  # its two halves stay halves, whatever their colours are
    seen = augmented(
        {"front": image, "wrist": image}, frame_streams(0, 0, [0]), "openpi", device=CPU
    )
    assert all(len(np.unique(half)) == 1 for half in (seen["wrist"][0, :8], seen["wrist"][0, 8:]))
    assert len(np.unique(seen["front"])) > 2


def test_no_augmentation_leaves_images_as_they_are():
    images = pictures()
    assert augmented(images, [], "none", device=CPU) == images


def test_numbers_are_drawn_in_the_published_ranges():
    streams = frame_streams(0, 0, range(2000))
    found = aug.drawn("openvla", streams)
    assert isinstance(found, OpenVLAChanges)
    ranges = {"brightness": (-0.2, 0.2), "contrast": (0.8, 1.2), "saturation": (0.8, 1.2),
              "hue": (-0.05, 0.05), "top": (0, 1), "left": (0, 1)}  # fmt: skip
    for name, (low, high) in ranges.items():
        values = getattr(found, name)
        assert low <= values.min() < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < values.max() <= high
    pi = aug.drawn("openpi", streams)
    assert isinstance(pi, OpenPiChanges)
    ranges = {"degrees": (-5, 5), "brightness": (0.7, 1.3), "contrast": (0.6, 1.4),
              "saturation": (0.5, 1.5)}  # fmt: skip
    for name, (low, high) in ranges.items():
        values = getattr(pi, name)
        assert low <= values.min() < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < values.max() <= high
