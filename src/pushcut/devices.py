"""Choosing torch's device and threads."""

from __future__ import annotations

import torch

from pushcut.errors import UserError


def choose_device(name: str) -> torch.device:
    """``auto`` is CUDA where there is a GPU, else the CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch sees no GPU here; use --device cpu")
    return torch.device(name)


def limit_threads(threads: int) -> None:
    """Sets torch's CPU threads; 0 leaves its own choice."""
    if threads > 0:
        torch.set_num_threads(threads)
