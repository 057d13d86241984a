"""How released vision-language-action policies see images.

OpenVLA's pipeline was written in TensorFlow and its policies notice small differences: float32
and the order of the operations below are those of ``tf.image.resize`` (Lanczos3) and
``tf.image.crop_and_resize`` (bilinear), written out in numpy. They never meet a matrix product, so
neither the threads nor the size of the batch change a pixel.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from jaxtyping import Float32, UInt8
from PIL import Image
from torch import Tensor

from pushcut.errors import UserError
from pushcut.transfers import to_device

Source = Literal["libero", "robotwin"]
"""Benchmark whose images an OpenVLA was trained on: its training data decide the pipeline."""
Padding = Literal["pil", "torch"]
"""Library that resizes: ``pil`` as in openpi's client, ``torch`` as in LeRobot."""

OPENVLA_SIZE = 224
"""Side of the image that OpenVLA's vision towers take, in pixels."""
CROP_AREA = 0.9
"""Part of the image that the centre crop keeps: training cropped at random to this area."""
JPEG_QUALITY = 95
"""TensorFlow's default, with which the training data of LIBERO were stored."""
LANCZOS_RADIUS = 3
"""Zero crossings of the Lanczos3 kernel on each side, in pixels of the coarser image."""

Channels = tuple[float, float, float]
# ImageNet's statistics rounded to bfloat16: so they stand in the released configurations.
DINO_MEAN: Channels = (0.484375, 0.455078125, 0.40625)
DINO_STD: Channels = (0.228515625, 0.2236328125, 0.224609375)
SIGLIP_MEAN: Channels = (0.5, 0.5, 0.5)
SIGLIP_STD: Channels = (0.5, 0.5, 0.5)


def preprocess_image(
    image: UInt8[np.ndarray, "_ _ 3"], *, source: Source
) -> UInt8[np.ndarray, "224 224 3"]:
    """Turns an image of the benchmark's simulator into one like those OpenVLA was trained on.

    ``libero``: rotated by 180 degrees, stored as JPEG and read again, resized to 224 with an
    antialiased Lanczos3, centre crop of area 0.9 back to 224. ``robotwin``: the centre crop alone.
    """
    _check_images(image, dimensions=3)
    return openvla_pixels(image[None], source=source, rotated=False)[0]


def openvla_pixels(
    images: UInt8[np.ndarray, "b _ _ 3"], *, source: Source, rotated: bool
) -> UInt8[np.ndarray, "b 224 224 3"]:
    """``preprocess_image`` for a batch; each image is what it would be alone.

    Args:
        images: Images of any size; the resize stretches them to a square.
        source: Benchmark of the checkpoint's training data.
        rotated: Whether LIBERO's images are rotated already, as pushcut's environment gives
            them by default, rather than upside down as robosuite renders them.
    """
    _check_choice("source", source, get_args(Source))
    _check_images(images, dimensions=4)
    seen = np.empty((len(images), OPENVLA_SIZE, OPENVLA_SIZE, 3), dtype=np.uint8)
    # One by one: an image fits the processor's cache, and a batch would need as much memory again.
    for row, image in enumerate(images):
        seen[row] = centre_crop(_stored_libero(image, rotated) if source == "libero" else image)
    return seen


def through_jpeg(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """An image after JPEG compression and decompression.

    Decoded with the fast integer cosine transform, as TensorFlow does: Pillow's decoder is up to
    11 levels away.
    """
    stored = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(image))
    picture.save(stored, "JPEG", quality=JPEG_QUALITY, subsampling="4:2:0")
    return _simplejpeg().decode_jpeg(stored.getvalue(), fastdct=True, fastupsample=False)


def lanczos(image: UInt8[np.ndarray, "_ _ 3"]) -> UInt8[np.ndarray, "224 224 3"]:
    """An antialiased Lanczos3 resize to 224 pixels a side; half levels round to even."""
    high, wide = (_lanczos_taps(size) for size in image.shape[:2])
    columns = _weighted(image.astype(np.float32), high).swapaxes(0, 1)
    levels = _weighted(np.ascontiguousarray(columns), wide).swapaxes(0, 1)
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


def centre_crop(image: UInt8[np.ndarray, "_ _ 3"]) -> UInt8[np.ndarray, "224 224 3"]:
    """The middle ``CROP_AREA`` of an image at 224 pixels; levels are truncated."""
    high, wide = (_crop_taps(size) for size in image.shape[:2])
    values = image.astype(np.float32) * np.float32(1 / 255)
    columns = _between(np.ascontiguousarray(values.swapaxes(0, 1)), wide).swapaxes(0, 1)
    cropped = _between(np.ascontiguousarray(columns), high)
    # 255.5 levels, truncated: TensorFlow's way from [0, 1] to uint8.
    return (np.clip(cropped, 0, 1) * np.float32(255.5)).astype(np.uint8)


def normalised(
    pixels: UInt8[Tensor, "b s s 3"], mean: Channels, std: Channels
) -> Float32[Tensor, "b 3 s s"]:
    """``(pixels / 255 - mean) / std`` per channel, channels first."""
    _check_pixels(pixels)
    values = pixels.to(torch.float32) / 255
    centre, spread = (to_device(torch.tensor(x), pixels.device) for x in (mean, std))
    values = (values - centre) / spread
    return values.permute(0, 3, 1, 2).contiguous()


def openvla_pixel_values(pixels: UInt8[Tensor, "b s s 3"]) -> Float32[Tensor, "b 6 s s"]:
    """What OpenVLA's two vision towers take: DINOv2's three channels, then SigLIP's."""
    dino = normalised(pixels, DINO_MEAN, DINO_STD)
    return torch.cat([dino, normalised(pixels, SIGLIP_MEAN, SIGLIP_STD)], dim=1)


def resize_with_pad(
    images: UInt8[np.ndarray, "b _ _ 3"], size: int = 224, *, method: Padding
) -> Float32[Tensor, "b 3 {size} {size}"]:
    """Fits images into a black square without distortion, in [-1, 1] as SigLIP was trained.

    The image lies in the middle; an odd pixel of padding goes to the bottom or to the right.
    ``pil`` rounds to whole levels and filters over the pixels that shrink into one; ``torch``
    interpolates between the four nearest.
    """
    _check_choice("method", method, get_args(Padding))
    _check_images(images, dimensions=4)
    if size < 1:
        raise ValueError(f"size must be >= 1, got {size}")
    if method == "pil":
        return siglip_pixel_values(torch.from_numpy(fitted_pixels(images, size)))
    return fitted_values(torch.from_numpy(np.ascontiguousarray(images)), size)


def fitted_pixels(images: UInt8[np.ndarray, "b _ _ 3"], size: int) -> UInt8[np.ndarray, "b s s 3"]:
    """``resize_with_pad`` by ``pil`` in whole levels, before they are scaled."""
    height, width = _fitted(images.shape[1], images.shape[2], size)
    (up, _), (left, _) = _margins(size - height), _margins(size - width)
    fitted = np.zeros((len(images), size, size, 3), dtype=np.uint8)
    for row, image in enumerate(images):
        picture = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
        fitted[row, up : up + height, left : left + width] = np.asarray(picture)
    return fitted


def fitted_values(
    pixels: UInt8[Tensor, "b _ _ 3"], size: int, *, corner: bool = False
) -> Float32[Tensor, "b 3 s s"]:
    """``resize_with_pad`` by ``torch``, on the device of the images: its levels are not whole.

    ``corner``: the image lies at the bottom and at the right, rather than in the middle.
    """
    shape = _fitted(pixels.shape[1], pixels.shape[2], size)
    resized = F.interpolate(_unit(pixels), shape, mode="bilinear", align_corners=False)
    down, right = ((size - side, 0) if corner else _margins(size - side) for side in shape)
    return F.pad(resized.clamp(0, 1), (*right, *down)) * 2 - 1


def cropped_pixels(
    images: UInt8[np.ndarray, "b _ _ 3"], size: int, share: float
) -> UInt8[np.ndarray, "b s s 3"]:
    """The middle of images, ``share`` of each side, at another size (GR00T N1.5).

    Bilinear with antialiasing in float32; levels are truncated.
    """
    _check_images(images, dimensions=4)
    sides = [int(share * side) for side in images.shape[1:3]]
    # Python's round: half a pixel goes to the even number, as torchvision has it.
    up, left = (round((old - new) / 2) for old, new in zip(images.shape[1:3], sides, strict=True))
    middle = np.ascontiguousarray(images[:, up : up + sides[0], left : left + sides[1]])
    values = _unit(torch.from_numpy(middle))
    resized = F.interpolate(values, (size, size), mode="bilinear", antialias=True)
    levels = (resized * 255).clamp(0, 255).to(torch.uint8)
    return levels.permute(0, 2, 3, 1).contiguous().numpy()


def bicubic_pixels(images: UInt8[np.ndarray, "b _ _ 3"], size: int) -> UInt8[np.ndarray, "b s s 3"]:
    """Images stretched to a square by a bicubic with antialiasing (LeRobot's GR00T N1.5)."""
    _check_images(images, dimensions=4)
    if images.shape[1:3] == (size, size):
        return images
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
    resized = F.interpolate(pixels, (size, size), mode="bicubic", antialias=True)
    return resized.permute(0, 2, 3, 1).contiguous().numpy()


def siglip_pixel_values(pixels: UInt8[Tensor, "b s s 3"]) -> Float32[Tensor, "b 3 s s"]:
    """Levels in [-1, 1], as SigLIP was trained, on the device of the images."""
    return _unit(pixels) * 2 - 1


class _Taps(NamedTuple):
    """A resize along one axis: new pixel i is the sum over k of weight[k, i] * old[pixel[k, i]]."""

    pixel: np.ndarray
    weight: np.ndarray


def _stored_libero(image: np.ndarray, rotated: bool) -> np.ndarray:
    """An image as the training data of LIBERO hold it: rotated, through JPEG, 224 pixels."""
    return lanczos(through_jpeg(image if rotated else image[::-1, ::-1]))


def _simplejpeg() -> Any:
    try:
        import simplejpeg  # late: only OpenVLA on LIBERO needs it
    except ImportError:
        raise UserError(
            "OpenVLA's images need the library simplejpeg: pip install 'pushcut[vla]'"
        ) from None
    return simplejpeg


def _weighted(values: np.ndarray, taps: _Taps) -> np.ndarray:
    """Resizes the first axis, adding one tap after the other."""
    total = np.zeros((taps.pixel.shape[1], *values.shape[1:]), dtype=np.float32)
    for pixel, weight in zip(*taps, strict=True):
        total += values[pixel] * weight[:, None, None]
    return total


@lru_cache(maxsize=16)
def _lanczos_taps(size: int) -> _Taps:
    """Weights of an antialiased Lanczos3 from ``size`` pixels to 224, in float32 throughout.

    The kernel is 3 sin(pi x) sin(pi x / 3) / (pi x)^2 for |x| <= 3, its x in pixels of the
    coarser image, and the weights of each new pixel sum to one.
    """
    one, half, radius = np.float32(1), np.float32(0.5), np.float32(LANCZOS_RADIUS)
    step = one / (np.float32(OPENVLA_SIZE) / np.float32(size))
    stretch = max(step, one)
    centre = (np.arange(OPENVLA_SIZE, dtype=np.float32) + half) * step
    first = np.ceil(centre - radius * stretch - half).clip(0).astype(np.int64)
    last = np.floor(centre + radius * stretch - half).clip(max=size - 1).astype(np.int64)
    pixel = first + np.arange((last - first).max() + 1)[:, None]
    distance = np.abs((pixel.astype(np.float32) + half - centre) * (one / stretch))
    weight = np.where(pixel <= last, _lanczos_kernel(distance), np.float32(0))
    # numpy adds along the first axis one after the other, as the loop of the original does.
    return _frozen(pixel.clip(max=size - 1), weight * (one / weight.sum(axis=0)))


def _lanczos_kernel(distance: np.ndarray) -> np.ndarray:
    pi, radius = np.float32(np.pi), np.float32(LANCZOS_RADIUS)
    apart = np.maximum(distance, np.float32(1e-3))
    waves = radius * _sine(pi * apart) * _sine(pi * apart / radius)
    inside = np.where(distance < 1e-3, np.float32(1), waves / (pi * pi * apart * apart))
    return np.where(distance <= radius, inside, np.float32(0))


def _sine(angle: np.ndarray) -> np.ndarray:
    """Correctly rounded, where numpy's float32 sine depends on the processor."""
    return np.sin(angle.astype(np.float64)).astype(np.float32)


def _between(values: np.ndarray, taps: _Taps) -> np.ndarray:
    """Interpolates the first axis, as an offset from the lower neighbour."""
    low = values[taps.pixel[0]]
    return low + (values[taps.pixel[1]] - low) * taps.weight[1][:, None, None]


@lru_cache(maxsize=16)
def _crop_taps(size: int) -> _Taps:
    """Neighbours of 224 points from the first to the last pixel of the crop, in float32."""
    side = np.sqrt(np.float32(CROP_AREA))
    start = (np.float32(1) - side) / np.float32(2)
    pixels = np.float32(size - 1)
    step = ((start + side) - start) * pixels / np.float32(OPENVLA_SIZE - 1)
    position = start * pixels + np.arange(OPENVLA_SIZE, dtype=np.float32) * step
    low, high = np.floor(position), np.ceil(position)
    upper = position - low
    return _frozen(np.stack([low, high]).astype(np.int64), np.stack([np.float32(1) - upper, upper]))


def _frozen(pixel: np.ndarray, weight: np.ndarray) -> _Taps:
    """Taps as read-only arrays, for the cache."""
    pixel.setflags(write=False)
    weight.setflags(write=False)
    return _Taps(pixel, weight)


def _fitted(height: int, width: int, size: int) -> tuple[int, int]:
    """Height and width at which the longer side is ``size``; fractions of a pixel are dropped."""
    ratio = max(height / size, width / size)
    return max(int(height / ratio), 1), max(int(width / ratio), 1)


def _margins(padding: int) -> tuple[int, int]:
    """Pixels before and after the image; an odd one comes after."""
    return padding // 2, padding - padding // 2


def _unit(pixels: Tensor) -> Tensor:
    """Levels as floats in [0, 1], channels first."""
    return pixels.permute(0, 3, 1, 2).to(torch.float32).contiguous() / 255


def _check_choice(name: str, given: str, choices: Sequence[str]) -> None:
    if given not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; got {given!r}")


def _check_images(images: np.ndarray, dimensions: int) -> None:
    if images.dtype != np.uint8:
        raise ValueError(f"images must be uint8 levels 0..255, got {images.dtype}")
    if images.ndim != dimensions or images.shape[-1] != 3 or 0 in images.shape[-3:]:
        wanted = "[batch, height, width, 3]" if dimensions == 4 else "[height, width, 3]"
        raise ValueError(f"images must have the shape {wanted}, got {list(images.shape)}")


def _check_pixels(pixels: Tensor) -> None:
    if pixels.dtype != torch.uint8:
        raise ValueError(f"pixels must be uint8 levels 0..255, got {pixels.dtype}")
    if pixels.ndim != 4 or pixels.shape[3] != 3 or pixels.shape[1] != pixels.shape[2]:
        raise ValueError(
            f"pixels must have the shape [batch, side, side, 3], got {list(pixels.shape)}"
        )
