"""What torch.distributed raises when a rank is gone, as one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch.distributed as dist

from pushcut.errors import RankLostError


@contextlib.contextmanager
def lost_ranks(what: str) -> Iterator[None]:
    """Turns what torch.distributed raises when a rank is gone into one line."""
    try:
        yield
    except (RuntimeError, ValueError, TimeoutError) as error:
        raise _lost(what, error) from error


@contextlib.contextmanager
def lost_by_torch(what: str) -> Iterator[None]:
    """As ``lost_ranks``, around code of torch that also talks to ranks: FSDP, checkpoints."""
    try:
        yield
    except RuntimeError as error:
        # gloo has no class of its own; the file that raised is in its message.
        if isinstance(error, dist.DistError) or "/gloo/" in str(error):
            raise _lost(what, error) from error
        raise


def _lost(what: str, error: Exception) -> RankLostError:
    reason = str(error).splitlines()[0][:200]
    return RankLostError(f"could not {what}: another rank is gone or hangs ({reason})")
