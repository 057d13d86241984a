"""Images as released policies see them: the reference's pixels, and arithmetic written out."""

import sys
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from pushcut.errors import UserError
from pushcut.policies.released import images
from pushcut.policies.released.images import (
    centre_crop,
    lanczos,
    openvla_pixel_values,
    openvla_pixels,
    preprocess_image,
    resize_with_pad,
    through_jpeg,
)

PARITY = Path(__file__).parents[2] / "parity" / "openvla_image_tiny.safetensors"
METHODS = ("pil", "torch")


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray]:
    return load_file(PARITY)


@pytest.fixture
def unchecked(monkeypatch):
    """Types unchecked, as in production: there the module's own messages must speak."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def pictures(batch: int, height: int, width: int) -> np.ndarray:
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (batch, height, width, 3), dtype=np.uint8)


def assert_same_image(got: np.ndarray, wanted: np.ndarray) -> None:
    difference = np.abs(got.astype(int) - wanted.astype(int)).max(axis=-1)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


def test_jpeg_round_trip_is_the_references_to_the_bit(reference):
    for image, wanted in zip(
        reference["io.image"], reference["io.rotated_jpeg_decoded"], strict=True
    ):
        np.testing.assert_array_equal(through_jpeg(image[::-1, ::-1]), wanted)


@pytest.mark.parametrize(
    ("stage", "given", "wanted"),
    [
        (lanczos, "io.rotated_jpeg_decoded", "io.resized_224"),
        (centre_crop, "io.resized_224", "io.center_cropped_224"),
        (centre_crop, "io.image", "io.direct_center_cropped"),
    ],
)
def test_each_stage_gives_the_references_pixels(reference, stage, given, wanted):
    for image, expected in zip(reference[given], reference[wanted], strict=True):
        assert_same_image(stage(image), expected)


def test_both_pipelines_give_the_references_pixels(reference):
    libero = openvla_pixels(reference["io.image"], source="libero", rotated=False)
    robotwin = openvla_pixels(reference["io.image"], source="robotwin", rotated=False)
    for row in range(4):
        assert_same_image(libero[row], reference["io.center_cropped_224"][row])
        assert_same_image(robotwin[row], reference["io.direct_center_cropped"][row])
    wide = preprocess_image(reference["io.wide_image"], source="robotwin")
    assert_same_image(wide, reference["io.wide_center_cropped"])


def test_pixel_values_are_the_references(reference):
    rows = reference["io.pixel_values_index"]
    pixels = torch.from_numpy(reference["io.center_cropped_224"][rows])
    wanted = torch.from_numpy(reference["io.pixel_values"])
    torch.testing.assert_close(openvla_pixel_values(pixels), wanted, rtol=0, atol=1e-4)


def test_the_centre_crop_interpolates_from_edge_to_edge_of_the_kept_part():
    image = np.zeros((1, 2, 3), dtype=np.uint8)
    image[0, 1] = 255
    cropped = centre_crop(image)
    # The crop starts at (1 - sqrt 0.9)/2 = 0.02566 of the way from pixel 0 to pixel 1 and ends at
    # 0.97434. Truncated: 255.5 * 0.02566 = 6.56 -> 6; 255.5 * 0.97434 = 248.94 -> 248.
    assert cropped[0, 0, 0] == 6
    assert cropped[-1, -1, 0] == 248
    assert (cropped == cropped[:1]).all()


def test_lanczos_leaves_a_image_of_224_pixels_alone():
    (image,) = pictures(1, 224, 224)
    np.testing.assert_array_equal(lanczos(image), image)


@pytest.mark.parametrize("size", [1, 64, 128, 224, 255, 256, 512])
def test_libero_takes_any_square_and_a_grey_one_stays_grey(size):
    grey = np.full((size, size, 3), 128, dtype=np.uint8)
    assert (preprocess_image(grey, source="libero") == 128).all()


def test_a_image_that_is_rotated_already_is_not_rotated_again():
    raw = pictures(2, 256, 256)
    turned = raw[:, ::-1, ::-1]
    np.testing.assert_array_equal(
        openvla_pixels(turned, source="libero", rotated=True),
        openvla_pixels(raw, source="libero", rotated=False),
    )


def test_robotwin_never_rotates():
    image = np.zeros((64, 96, 3), dtype=np.uint8)
    image[:32] = 200
    seen = preprocess_image(image, source="robotwin")
    assert (seen[:100] == 200).all()
    assert (seen[124:] == 0).all()


@pytest.mark.parametrize("source", ["libero", "robotwin"])
def test_a_image_looks_the_same_in_every_batch(source):
    batch = pictures(5, 128, 128)
    together = openvla_pixels(batch, source=source, rotated=False)
    for row, image in enumerate(batch):
        np.testing.assert_array_equal(together[row], preprocess_image(image, source=source))
    pair = openvla_pixels(batch[1:3], source=source, rotated=False)
    np.testing.assert_array_equal(together[1:3], pair)


def test_an_empty_batch_stays_empty():
    none = np.zeros((0, 64, 64, 3), dtype=np.uint8)
    assert openvla_pixels(none, source="libero", rotated=True).shape == (0, 224, 224, 3)


def test_pixel_values_are_dino_channels_then_siglip_channels():
    pixels = torch.tensor([255, 0, 51], dtype=torch.uint8).expand(1, 2, 2, 3)
    values = openvla_pixel_values(pixels)
    assert values.shape == (1, 6, 2, 2)
    # DINOv2: (1 - 0.484375)/0.228515625, (0 - 0.455078125)/0.2236328125,
    # (0.2 - 0.40625)/0.224609375; SigLIP: (x - 0.5)/0.5.
    wanted = torch.tensor([2.256410, -2.034934, -0.918261, 1.0, -1.0, -0.6])
    torch.testing.assert_close(values[0, :, 1, 0], wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("method", "left", "right"),
    [
        # Triangle two old pixels to each side of the new centres 1 and 3, weights .75 .75 .25:
        # (0*.75 + 70*.75 + 140*.25)/1.75 = 50 and (210*.75 + 140*.75 + 70*.25)/1.75 = 160.
        ("pil", 50, 160),
        # The two nearest pixels alone: (0 + 70)/2 and (140 + 210)/2.
        ("torch", 35, 175),
    ],
)
def test_resize_with_pad_fits_a_wide_image_into_a_black_square(method, left, right):
    image = np.zeros((1, 2, 4, 3), dtype=np.uint8)
    image[...] = np.array([0, 70, 140, 210])[:, None]
    # 2 x 4 fits as 1 x 2 into the square of 2; the one row of padding goes to the bottom.
    wanted = torch.tensor([[left / 255 * 2 - 1, right / 255 * 2 - 1], [-1.0, -1.0]])
    got = resize_with_pad(image, 2, method=method)
    assert got.dtype == torch.float32
    for channel in range(3):
        torch.testing.assert_close(got[0, channel], wanted)
    upright = resize_with_pad(image.swapaxes(1, 2).copy(), 2, method=method)
    torch.testing.assert_close(upright[0, 0], wanted.T)


@pytest.mark.parametrize("method", METHODS)
def test_resize_with_pad_centres_and_drops_fractions_of_a_pixel(method):
    white = np.full((1, 10, 18, 3), 255, dtype=np.uint8)
    got = resize_with_pad(white, 9, method=method)[0]
    # 18 -> 9 halves the image: 5 of 9 rows, two rows of padding above and below.
    assert got[:, :, 4].tolist() == [[-1, -1, 1, 1, 1, 1, 1, -1, -1]] * 3
    got = resize_with_pad(white, 8, method=method)[0]
    # 10 / (18/8) = 4.44 -> 4 rows of 8.
    assert got[0, :, 0].tolist() == [-1, -1, 1, 1, 1, 1, -1, -1]


@pytest.mark.parametrize("method", METHODS)
def test_resize_with_pad_changes_nothing_where_nothing_is_to_resize(method):
    batch = pictures(2, 16, 16)
    wanted = torch.from_numpy(batch).permute(0, 3, 1, 2) / 255 * 2 - 1
    torch.testing.assert_close(resize_with_pad(batch, 16, method=method), wanted)


@pytest.mark.parametrize("method", METHODS)
def test_resize_with_pad_does_not_depend_on_the_batch(method):
    batch = pictures(5, 48, 64)
    together = resize_with_pad(batch, 32, method=method)
    for row in range(5):
        alone = resize_with_pad(batch[row : row + 1], 32, method=method)
        assert torch.equal(together[row : row + 1], alone)


def test_a_source_or_method_nobody_knows_is_told_the_choices(unchecked):
    with pytest.raises(ValueError, match="source must be one of libero, robotwin; got 'bridge'"):
        preprocess_image(pictures(1, 8, 8)[0], source="bridge")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="method must be one of pil, torch; got 'cv2'"):
        resize_with_pad(pictures(1, 8, 8), method="cv2")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.zeros((1, 8, 8, 3), dtype=np.float32), "uint8 levels 0..255, got float32"),
        (np.zeros((8, 8, 3), dtype=np.uint8), r"got \[8, 8, 3\]"),
        (
            np.zeros((1, 3, 8, 8), dtype=np.uint8),
            r"\[batch, height, width, 3\], got \[1, 3, 8, 8\]",
        ),
        (np.zeros((1, 0, 8, 3), dtype=np.uint8), r"got \[1, 0, 8, 3\]"),
    ],
)
def test_images_of_another_kind_are_refused(unchecked, images, said):
    with pytest.raises(ValueError, match=said):
        openvla_pixels(images, source="libero", rotated=True)
    with pytest.raises(ValueError, match=said):
        resize_with_pad(images, method="torch")


def test_one_image_of_another_kind_is_refused(unchecked):
    with pytest.raises(ValueError, match=r"shape \[height, width, 3\], got \[1, 8, 8, 3\]"):
        preprocess_image(pictures(1, 8, 8), source="libero")


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (torch.zeros(1, 8, 8, 3), "uint8 levels 0..255, got torch.float32"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), r"got \[1, 3, 8, 8\]"),
        (torch.zeros(1, 4, 8, 3, dtype=torch.uint8), r"side, side, 3\], got \[1, 4, 8, 3\]"),
    ],
)
def test_pixels_of_another_kind_are_refused(unchecked, pixels, said):
    with pytest.raises(ValueError, match=said):
        openvla_pixel_values(pixels)


def test_a_square_without_pixels_is_refused():
    with pytest.raises(ValueError, match="size must be >= 1, got 0"):
        resize_with_pad(pictures(1, 8, 8), 0, method="pil")


def test_without_simplejpeg_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    with pytest.raises(UserError, match=r"pip install 'pushcut\[vla\]'"):
        preprocess_image(pictures(1, 8, 8)[0], source="libero")
    # RoboTwin's images never were in a JPEG file.
    preprocess_image(pictures(1, 8, 8)[0], source="robotwin")


def test_cached_weights_cannot_be_changed():
    for taps in (images._lanczos_taps(256), images._crop_taps(256)):
        assert not taps.pixel.flags.writeable
        assert not taps.weight.flags.writeable
