"""Copies from the host to a GPU for which the host does not wait."""

from __future__ import annotations

import torch
from torch import Tensor

HOST = ("cpu", "meta")


def to_device(x: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device; from the host to a GPU through pinned memory, without waiting.

    The copy is in the GPU's queue before whatever uses it. On the CPU it is the tensor itself.
    """
    if device.type in HOST or x.device.type != "cpu":
        return x.to(device)
    return x.pin_memory().to(device, non_blocking=True)
