"""Images of a dataset that are decoded when they are asked for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8

Decode = Callable[[Int64[np.ndarray, " n"]], Iterator[tuple[int, UInt8[np.ndarray, "_ _ 3"]]]]
"""Ascending rows -> each with its image, once, in any order."""


class Pictures:
    """Images uint8 [n, height, width, 3] in files; those drawn last stay in memory.

    It is indexed by rows as an array is. ``held_bytes`` never exceeds ``cache_bytes``.
    """

    dtype = np.dtype(np.uint8)

    def __init__(
        self, decode: Decode, count: int, size: tuple[int, int], *, cache_bytes: int
    ) -> None:
        self.shape = (count, *size, 3)
        self._decode = decode
        self._limit = cache_bytes
        self._each = size[0] * size[1] * 3
        self._held: OrderedDict[int, np.ndarray] = OrderedDict()

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def held_bytes(self) -> int:
        """Bytes of the images that are in memory."""
        return len(self._held) * self._each

    def __getitem__(self, index: Any) -> UInt8[np.ndarray, "..."]:
        rows, rest = (index[0], index[1:]) if isinstance(index, tuple) else (index, ())
        wanted = np.arange(len(self))[rows]
        distinct, places = np.unique(wanted, return_inverse=True)
        images = np.empty((len(distinct), *self.shape[1:]), np.uint8)
        self._fill(distinct, images)
        # A part of many images needs no second copy of all of them.
        picked = images if np.array_equal(distinct, np.ravel(wanted)) else images[places.ravel()]
        picked = picked.reshape(*wanted.shape, *self.shape[1:])
        return picked[(slice(None),) * wanted.ndim + rest] if rest else picked

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)

    def _fill(self, rows: np.ndarray, images: np.ndarray) -> None:
        """Writes the images of distinct ascending rows."""
        missing = []
        for place, row in enumerate(rows.tolist()):
            if row in self._held:
                self._held.move_to_end(row)
                images[place] = self._held[row]
            else:
                missing.append(row)
        if not missing:
            return
        for row, image in self._decode(np.array(missing, np.int64)):
            images[np.searchsorted(rows, row)] = image
            self._keep(row, image)

    def _keep(self, row: int, image: np.ndarray) -> None:
        if self._each > self._limit:
            return
        while self.held_bytes + self._each > self._limit:
            self._held.popitem(last=False)
        self._held[row] = image.copy()  # an image may be a view of its whole video frame
