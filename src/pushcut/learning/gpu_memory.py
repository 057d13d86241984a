"""How much of a GPU's memory was in use at once."""

from __future__ import annotations

import torch


def take_peak(device: torch.device) -> dict[str, float]:
    """``{"gpu_peak_gb": GB}``: most that torch had allocated since the last call; GB of 10^9 bytes.

    CUDA's own context, about a gigabyte, is not in it. Empty where the device is no GPU.
    """
    if device.type != "cuda":
        return {}
    peak = torch.cuda.max_memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    return {"gpu_peak_gb": round(peak / 1e9, 2)}
