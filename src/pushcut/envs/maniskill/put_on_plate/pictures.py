"""How a picture is put together: robot and objects, a photograph behind them, a texture on top."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from pushcut.envs.maniskill.put_on_plate.variants import Extra
from pushcut.envs.resized import resized

Image = UInt8[np.ndarray, "h w 3"]


@dataclass(frozen=True)
class Backdrop:
    """What is behind robot and objects, and what is blended over."""

    photograph: Image
    texture: UInt8[np.ndarray, "_ _ 3"] | None = None
    over: Extra = ""
    """Where the texture is: over robot and objects ("texture") or over everything ("whole")."""
    mix: float = 0.0

    def behind(self, rgb: Image, own: Bool[np.ndarray, "h w 1"]) -> Image:
        """The picture of what is drawn; ``own`` tells where that is kept."""
        if self.texture is None or not self.mix:
            return np.where(own, rgb, self.photograph)
        if self.over == "texture":
            return _whole_numbers(np.where(own, self._on_things(rgb, own), self.photograph))
        behind = np.where(own, rgb, self.photograph)
        return _whole_numbers(self._mixed(behind, self._window(own)))

    def _on_things(
        self, rgb: Image, own: Bool[np.ndarray, "h w 1"]
    ) -> Float32[np.ndarray, "h w 3"]:
        """The texture, as large as the box around robot and objects, mixed into what is there."""
        assert self.texture is not None
        top, bottom, left, right = box_around(own)
        texture = resized(self.texture, bottom - top + 1, right - left + 1)
        mixed = rgb.astype(np.float32)
        there = np.s_[top : bottom + 1, left : right + 1]
        mixed[there] = self._mixed(mixed[there], texture)
        return mixed

    def _window(self, own: Bool[np.ndarray, "h w 1"]) -> Float32[np.ndarray, "h w 3"]:
        """A part of the texture at twice the picture's size; it moves with robot and objects."""
        assert self.texture is not None
        height, width = own.shape[:2]
        top, bottom, left, right = box_around(own)
        y = min(max((top + bottom) // 2, 1), height - 1)
        x = min(max((left + right) // 2, 1), width - 1)
        twice = resized(self.texture, 2 * height, 2 * width)
        return twice[y : y + height, x : x + width]

    def _mixed(self, image: np.ndarray, texture: np.ndarray) -> Float32[np.ndarray, "_ _ 3"]:
        mix = np.float32(self.mix)
        return image.astype(np.float32) * (1 - mix) + texture * mix


def box_around(own: Bool[np.ndarray, "h w 1"]) -> tuple[int, int, int, int]:
    """First and last row, first and last column of what is kept; zeros where nothing is."""
    rows, columns = np.nonzero(own[:, :, 0])
    if not len(rows):
        return 0, 0, 0, 0
    return int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())


def _whole_numbers(image: np.ndarray) -> Image:
    return image.clip(0, 255).astype(np.uint8)
