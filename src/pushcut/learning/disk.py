"""What checkpoints take on the disk: forecast before training, checked before each is written."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path

from pushcut.errors import UserError
from pushcut.learning.learner import Learner
from pushcut.policies.base import Policy
from pushcut.policies.lora import BASE, adapted_layers
from pushcut.policies.masters import rounded_weights
from pushcut.system.machine import free_bytes

MOMENTS = 2
"""Numbers that AdamW keeps of each that it trains."""

ON_THEIR_WAY = 2
"""Checkpoints besides those that are kept: the best, and the one that is being written."""


@dataclass(frozen=True)
class CheckpointSize:
    """Bytes of the checkpoints of a run."""

    each: int
    """What every checkpoint has of its own: trained weights and the optimiser's state."""
    shared: int
    """Weights that are not trained, which all of them share."""
    merged: int = 0
    """What the policy at the end takes more, whose adapters are merged in float32."""
    whole_at_end: bool = True
    """Whether the last policy is there as a whole, too, once the run has finished."""

    @staticmethod
    def of(learner: Learner, *, sharded: bool = False) -> CheckpointSize:
        """The size once the optimiser has a state; ``sharded`` ones have weights as memory does."""
        moments = MOMENTS * sum(
            parameter.nbytes for group in learner.optimizer.param_groups
            for parameter in group["params"]
        )  # fmt: skip
        if not sharded:
            trained, frozen = _weights(learner.policy)
            return CheckpointSize(trained + moments, frozen, _merged(learner.policy))
        weights = {True: 0, False: 0}
        for parameter in learner.policy.parameters():
            weights[parameter.requires_grad] += parameter.nbytes
        return CheckpointSize(weights[True] + moments, weights[False], whole_at_end=False)

    def first(self) -> int:
        """Bytes of the first checkpoint."""
        return self.each + self.shared

    def most(self, keep: int) -> int:
        """The most that a run takes."""
        end = self.shared + self.merged if self.whole_at_end else 0
        return self.each * (keep + ON_THEIR_WAY) + self.shared + end


def _merged(policy: Policy) -> int:
    """What merged layers take more than those below their adapters."""
    if policy.adapters_apart:
        return 0
    saved, more = policy.saved_dtypes(), 0
    for name, layer in adapted_layers(policy):
        weight = layer.base_layer.weight
        kept = saved.get(f"{name}{BASE}weight", weight.dtype)
        more += weight.numel() * (4 - kept.itemsize)
    return more


def _weights(policy: Policy) -> tuple[int, int]:
    """Bytes in which trained and frozen weights are saved, digits that are apart included."""
    saved = policy.saved_dtypes()
    digits = sum(2 * parameter.numel() for parameter in rounded_weights(policy).values())
    totals = {True: digits, False: 0}
    for name, parameter in policy.named_parameters():
        bytes_each = saved.get(name, parameter.dtype).itemsize
        totals[parameter.requires_grad] += parameter.numel() * bytes_each
    return totals[True], totals[False]


def check_disk(folder: Path, size: CheckpointSize, *, keep: int, there: int = 0) -> str | None:
    """A warning where the checkpoints of a run will not fit; UserError where not even one does.

    ``there``: how many the folder, which may not exist yet, has already.
    """
    free = free_bytes(next(path for path in (folder, *folder.absolute().parents) if path.exists()))
    if free is None:
        return None
    if not there and size.first() > free:
        raise UserError(
            f"a checkpoint takes {gigabytes(size.first())}, {gigabytes(free)} are free in {folder}:"
            " free some space or choose another --out"
        )
    needed = size.most(keep) - there * size.each
    if needed <= free:
        return None
    shared = f" and once {gigabytes(size.shared)} that they share" if size.shared else ""
    return (
        f"checkpoints take up to {gigabytes(size.most(keep))} ({keep} kept, the best and the one "
        f"that is written, {gigabytes(size.each)} each{shared}), {gigabytes(free)} are free in "
        f"{folder}: a smaller --keep needs less"
    )


def needed_now(learner: Learner, checkpoints: Path) -> int:
    """Bytes that the next checkpoint takes at least."""
    trained, frozen = _weights(learner.policy)
    shared = any(checkpoints.glob("[0-9]*/policy/frozen-*.safetensors"))
    state = sum(
        value.nbytes for values in learner.optimizer.state.values() for value in values.values()
    )
    return trained + state + (0 if shared else frozen)


def check_space(needed: int, folder: Path) -> None:
    """OSError that names both numbers where a file system has less room than is needed."""
    free = free_bytes(folder)
    if free is not None and free < needed:
        raise OSError(errno.ENOSPC, full(needed, free))


def full(needed: int, free: int) -> str:
    """What there is to say of a disk that is too full."""
    return f"No space left on device: it needs {gigabytes(needed)}, {gigabytes(free)} are free"


def reason_of(error: Exception, needed: int, free: int | None) -> str:
    """Why a checkpoint could not be written, in one line.

    torch wraps a full disk in an error of its own, which speaks of positions in a file.
    """
    if free is not None and free < needed:
        return full(needed, free)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())


def gigabytes(count: int) -> str:
    """A number of bytes, for people."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
