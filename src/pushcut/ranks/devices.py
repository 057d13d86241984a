"""Choosing torch's device and threads."""

from __future__ import annotations

import torch

from pushcut.errors import UserError


def choose_device(name: str, number: int = 0) -> torch.device:
    """``auto`` is CUDA where there is a GPU, else the CPU; ``number`` chooses the GPU."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cuda" and not gpus:
        raise UserError("--device cuda: torch sees no GPU here; use --device cpu")
    if name == "cpu" or not gpus:
        return torch.device("cpu")
    if number >= gpus:
        raise UserError(
            f"this is rank {number} of this machine and it has {gpus} GPUs: start one rank for "
            "each (torchrun --nproc-per-node), or use --device cpu"
        )
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


def limit_threads(threads: int) -> None:
    """Sets torch's CPU threads; 0 leaves its own choice."""
    if threads > 0:
        torch.set_num_threads(threads)
