"""Where autocast would cost digits that matter."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor


def full_precision(x: Tensor) -> contextlib.AbstractContextManager[object]:
    """No autocast: what becomes log-probabilities and values wants float32."""
    if x.device.type == "meta":  # has no autocast
        return contextlib.nullcontext()
    return torch.autocast(x.device.type, enabled=False)
