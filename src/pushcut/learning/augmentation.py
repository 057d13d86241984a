"""Random changes of training images, as the released models were fine-tuned with them.

Each image has a stream of its own; all of a batch are changed at once, on any device.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from jaxtyping import Float, UInt8
from torch import Tensor

Augment = Literal["none", "openvla", "openpi"]

CROP_AREA = 0.9
"""OpenVLA-OFT: share of the area that a random crop keeps."""

CROP_SIDE = 0.95
"""openpi: share of each side that a random crop keeps."""

WRIST = "wrist"
"""openpi moves no picture of a camera whose name has this in it."""

Images = Float[Tensor, "b 3 h w"]
Values = Float[Tensor, " b"]


@dataclass(frozen=True)
class OpenVLAChanges:
    """What OpenVLA-OFT's training changes, one number for each image."""

    top: np.ndarray
    """Where the crop begins: share of the room that it has, from the top."""
    left: np.ndarray
    brightness: np.ndarray
    """Added; a picture's numbers are 0 to 1."""
    contrast: np.ndarray
    """Factor on the distance from the mean of each colour."""
    saturation: np.ndarray
    """Factor on the saturation."""
    hue: np.ndarray
    """Added to the hue; 1 is once around."""

    @staticmethod
    def draw(stream: np.random.Generator) -> tuple[float, ...]:
        """The numbers of one image."""
        low = (0.0, 0.0, -0.2, 0.8, 0.8, -0.05)
        high = (1.0, 1.0, 0.2, 1.2, 1.2, 0.05)
        return tuple(stream.uniform(low, high))


@dataclass(frozen=True)
class OpenPiChanges:
    """What openpi's training changes, one number for each image."""

    top: np.ndarray
    """Where the crop begins: share of the whole pixels that it has, from the top."""
    left: np.ndarray
    degrees: np.ndarray
    """Rotation about the middle; what comes in from outside is black."""
    brightness: np.ndarray
    """Factor."""
    contrast: np.ndarray
    """Factor on the distance from the mean of the picture."""
    saturation: np.ndarray
    """Factor on the distance from the mean of a pixel's colours."""

    @staticmethod
    def draw(stream: np.random.Generator) -> tuple[float, ...]:
        """The numbers of one image."""
        low = (0.0, 0.0, -5.0, 0.7, 0.6, 0.5)
        high = (1.0, 1.0, 5.0, 1.3, 1.4, 1.5)
        return tuple(stream.uniform(low, high))


Changes = OpenVLAChanges | OpenPiChanges
KINDS: dict[str, type[OpenVLAChanges] | type[OpenPiChanges]] = {
    "openvla": OpenVLAChanges,
    "openpi": OpenPiChanges,
}


def frame_streams(seed: int, step: int, rows: Iterable[int]) -> list[np.random.Generator]:
    """A random stream for each row of a step's batch, whoever computes it."""
    return [np.random.default_rng((seed, step, int(row))) for row in rows]


def augmented(
    images: Mapping[str, UInt8[np.ndarray, "b h w 3"]],
    streams: Sequence[np.random.Generator],
    kind: Augment,
    *,
    device: torch.device,
    centre: float = 1.0,
) -> dict[str, UInt8[np.ndarray, "b h w 3"]]:
    """The images of each camera, changed at random.

    ``centre``: share of the area in the middle that the policy looks at. One that crops the
    centre itself must see there what a random crop would show it.
    """
    if kind == "none":
        return dict(images)
    found = {}
    for camera, pictures in images.items():
        changes = drawn(kind, streams)
        seen = torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2).float() / 255
        if isinstance(changes, OpenVLAChanges):
            seen = openvla(seen, changes, centre)
        else:
            seen = openpi(seen, changes, moves=WRIST not in camera)
        levels = (seen * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
        found[camera] = levels.contiguous().cpu().numpy()
    return found


def drawn(kind: Augment, streams: Sequence[np.random.Generator]) -> Changes:
    """Draws each image's changes from its stream."""
    changes = KINDS[kind]
    numbers = np.array([changes.draw(stream) for stream in streams], np.float32)
    names = [field.name for field in fields(changes)]
    return changes(**dict(zip(names, numbers.T, strict=True)))


def openvla(images: Images, changes: OpenVLAChanges, centre: float = 1.0) -> Images:
    """OpenVLA-OFT's changes, clipped to 0 … 1 after each of them."""
    top, left, brightness, contrast, saturation, hue = _on(images, changes)
    images = random_crop(images, top, left, centre)
    images = (images + brightness.view(-1, 1, 1, 1)).clamp(0, 1)
    mean = _middle(images, centre).mean((2, 3), keepdim=True)
    images = (mean + (images - mean) * contrast.view(-1, 1, 1, 1)).clamp(0, 1)
    return turn_hue(saturate(images, saturation), hue)


def openpi(images: Images, changes: OpenPiChanges, *, moves: bool) -> Images:
    """Openpi's changes, clipped to 0 … 1 at the end; ``moves``: crops and rotates too."""
    top, left, degrees, brightness, contrast, saturation = _on(images, changes)
    if moves:
        images = rotate(pixel_crop(images, top, left), degrees)
    images = images * brightness.view(-1, 1, 1, 1)
    mean = images.mean((1, 2, 3), keepdim=True)
    images = mean + (images - mean) * contrast.view(-1, 1, 1, 1)
    grey = images.mean(1, keepdim=True)
    return (grey + (images - grey) * saturation.view(-1, 1, 1, 1)).clamp(0, 1)


def random_crop(images: Images, top: Values, left: Values, centre: float = 1.0) -> Images:
    """A crop of area ``CROP_AREA`` back to full size, its corner pixels on the crop's corners.

    Where the policy will crop the centre to that area itself, pictures are moved instead, so that
    it finds the random crop there; what lies outside repeats the border.
    """
    side = math.sqrt(CROP_AREA)
    height, width = images.shape[2:]
    crops_itself = centre < 1
    scale, start = (1.0, -(1 - side) / 2) if crops_itself else (side, 0.0)
    down = torch.arange(height, device=images.device) * scale
    across = torch.arange(width, device=images.device) * scale
    y = down + ((top * (1 - side) + start) * (height - 1)).view(-1, 1)
    x = across + ((left * (1 - side) + start) * (width - 1)).view(-1, 1)
    return sampled(images, y.unsqueeze(2), x.unsqueeze(1), "border")


def pixel_crop(images: Images, top: Values, left: Values) -> Images:
    """A crop of ``CROP_SIDE`` of each side in whole pixels, stretched to full size."""
    coordinates = []
    for size, share in zip(images.shape[2:], (top, left), strict=True):
        kept = int(size * CROP_SIDE)
        # Each of the places is as likely as the others.
        start = (share * (size - kept + 1)).floor().clamp(max=size - kept)
        inside = (torch.arange(size, device=images.device) + 0.5) * (kept / size) - 0.5
        coordinates.append(inside.clamp(0, kept - 1) + start.view(-1, 1))
    y, x = coordinates
    return sampled(images, y.unsqueeze(2), x.unsqueeze(1), "border")


def rotate(images: Images, degrees: Values) -> Images:
    """Rotates about the middle; black comes in at the corners."""
    height, width = images.shape[2:]
    angle = torch.deg2rad(degrees).view(-1, 1, 1)
    y = torch.arange(height, device=images.device).view(1, -1, 1) - (height - 1) / 2
    x = torch.arange(width, device=images.device).view(1, 1, -1) - (width - 1) / 2
    from_y = x * angle.sin() + y * angle.cos() + (height - 1) / 2
    from_x = x * angle.cos() - y * angle.sin() + (width - 1) / 2
    return sampled(images, from_y, from_x, "zeros")


def sampled(images: Images, y: Tensor, x: Tensor, outside: Literal["border", "zeros"]) -> Images:
    """Bilinear values at pixel coordinates [b h 1] and [b 1 w], or both [b h w]."""
    height, width = images.shape[2:]
    y, x = torch.broadcast_tensors(y, x)
    grid = torch.stack([2 * x / max(1, width - 1) - 1, 2 * y / max(1, height - 1) - 1], dim=3)
    return F.grid_sample(images, grid, "bilinear", outside, align_corners=True)


def saturate(images: Images, factor: Values) -> Images:
    """Multiplies the saturation, at most to 1; hue and largest colour stay."""
    largest, smallest = images.amax(1, keepdim=True), images.amin(1, keepdim=True)
    limit = largest / (largest - smallest).clamp(min=1e-12)
    return largest - (largest - images) * torch.minimum(factor.view(-1, 1, 1, 1), limit)


def turn_hue(images: Images, turn: Values) -> Images:
    """Adds to the hue; 1 is once around the colours."""
    red, green, blue = images.unbind(1)
    largest, smallest = images.amax(1), images.amin(1)
    range_ = largest - smallest
    unit = range_.clamp(min=1e-12)
    hue = torch.where(
        largest == red,
        (green - blue) / unit,
        torch.where(largest == green, 2 + (blue - red) / unit, 4 + (red - green) / unit),
    )
    hue = hue / 6 + turn.view(-1, 1, 1)
    colours = []
    for place in (5, 3, 1):
        k = (place + 6 * hue) % 6
        colours.append(largest - range_ * torch.minimum(k, 4 - k).clamp(0, 1))
    return torch.stack(colours, 1)


def _middle(images: Images, centre: float) -> Images:
    """The part that the policy looks at."""
    height, width = images.shape[2:]
    rows, columns = (round(size * (1 - math.sqrt(centre)) / 2) for size in (height, width))
    return images[:, :, rows : height - rows, columns : width - columns]


def _on(images: Images, changes: Changes) -> list[Values]:
    values = [getattr(changes, field.name) for field in fields(changes)]
    return [torch.from_numpy(value).to(images.device) for value in values]
