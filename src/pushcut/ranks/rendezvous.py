"""Rendezvous: how ranks find each other in a store that earlier ranks may have used.

torchrun starts all ranks again when one is lost and keeps its store (torch 2.13: the server that
the agents met at). Their addresses of last time are still in it; whoever reads them waits for the
dead. So each meeting gets a name of its own, which only ranks of the same start can learn.
"""

from __future__ import annotations

import time
import uuid

from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]
from torch.distributed.distributed_c10d import Store

PAUSE_S = 0.02


def open_store() -> TCPStore:
    """Opens a store on a free port at which a launcher lets its ranks meet.

    It must not be with a rank: what asks the store of a process that hangs waits for ever.
    """
    return TCPStore("localhost", 0, is_master=True, wait_for_workers=False)


def meet(store: Store, rank: int, count: int, timeout_s: float) -> str:
    """Agrees on a name among the ranks of this start; raises TimeoutError if some do not come.

    Each rank leaves a number nobody had before. Rank 0 names the meeting and answers each with
    that number; whoever finds its own in the answer is at the meeting and says so.
    """
    deadline = time.monotonic() + timeout_s
    own = uuid.uuid4().hex
    store.set(f"hello/{rank}", own)
    if rank:
        return _invited(store, rank, own, deadline)
    name = uuid.uuid4().hex
    absent = set(range(1, count))
    while absent:
        for other in absent:
            if store.check([f"hello/{other}"]):
                number = store.get(f"hello/{other}").decode()
                store.set(f"welcome/{other}", f"{name} {number}")
        absent = {other for other in absent if not store.check([f"{name}/{other}"])}
        _pause(deadline, f"{len(absent)} of {count} ranks did not come")
    store.set(f"{name}/0", "all are here")
    return name


def _invited(store: Store, rank: int, own: str, deadline: float) -> str:
    while True:
        if store.check([f"welcome/{rank}"]):
            name, number = store.get(f"welcome/{rank}").decode().split()
            if number == own:
                break
        _pause(deadline, "rank 0 did not answer")
    store.set(f"{name}/{rank}", "here")
    while not store.check([f"{name}/0"]):
        _pause(deadline, "not all ranks came")
    return name


def _pause(deadline: float, lack: str) -> None:
    if time.monotonic() > deadline:
        raise TimeoutError(lack)
    time.sleep(PAUSE_S)
