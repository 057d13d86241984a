"""Turning and resizing images while a dataset is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from pushcut.errors import UserError

Flip = Literal["none", "rows", "columns", "both"]
"""Which axes of an image are reversed; both is a rotation by 180 degrees."""

_STEPS: dict[Flip, tuple[int, int]] = {
    "none": (1, 1),
    "rows": (-1, 1),
    "columns": (1, -1),
    "both": (-1, -1),
}


@dataclass(frozen=True)
class ImageEdit:
    """How the stored images of one camera are turned and resized."""

    stored: tuple[int, int]
    """Height and width in the files."""
    flip: Flip = "none"
    size: int | None = None
    """Side of the square images that are wanted; None keeps the stored size."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width after reading."""
        return self.stored if self.size is None else (self.size, self.size)

    @property
    def resizes(self) -> bool:
        """Whether the size changes."""
        return self.shape != self.stored

    def check(self, path: Path, camera: str) -> None:
        """Refuses to enlarge images, which an environment would never show, or squeeze them."""
        height, width = self.stored
        has = f"{path}: camera {camera!r} has {height}x{width} pixels, the policy takes {self.size}"
        if self.size is not None and min(height, width) < self.size:
            raise UserError(
                f"{has}: collect again at that size (--env.image-size) or set "
                "--policy.new.image-size"
            )
        if self.resizes and height != width:
            raise UserError(f"{has}x{self.size}: crop them to squares first")

    def __call__(self, image: UInt8[np.ndarray, "_ _ 3"]) -> UInt8[np.ndarray, "_ _ 3"]:
        """The image as the policy gets it."""
        rows, columns = _STEPS[self.flip]
        turned = image[::rows, ::columns]
        if not self.resizes:
            return turned
        side, wanted = self.stored[0], self.shape[0]
        # Whole blocks of pixels are averaged, as a renderer with more samples would; other
        # sizes need a filter with wider support.
        filter_ = Image.Resampling.BOX if side % wanted == 0 else Image.Resampling.LANCZOS
        picture = Image.fromarray(np.ascontiguousarray(turned))
        return np.asarray(picture.resize((wanted, wanted), filter_))
