"""Sizes of parts of networks, from the shapes of their tensors."""

from __future__ import annotations

import math

from pushcut.policies.networks.siglip import SiglipSizes
from pushcut.policies.released.tensors import Shapes, count_blocks


def siglip_sizes(shapes: Shapes, start: str, *, heads: int) -> SiglipSizes:
    """Sizes of a tower whose names begin so; KeyError or ValueError where there is none."""
    patches = shapes[f"{start}embeddings.position_embedding.weight"][0]
    width, _, patch, _ = shapes[f"{start}embeddings.patch_embedding.weight"]
    return SiglipSizes(
        width=width,
        depth=count_blocks(shapes, f"{start}encoder.layers."),
        mlp=shapes[f"{start}encoder.layers.0.mlp.fc1.weight"][0],
        heads=heads,
        image_size=math.isqrt(patches) * patch,
        patch_size=patch,
    )
