"""Several ranks in processes of their own, for tests: the same function on each."""

from __future__ import annotations

import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from typing import Any

import torch

Work = Callable[..., Any]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def on_ranks(count: int, work: Work, *arguments: Any, timeout_s: float = 1000) -> list[Any]:
    """What ``work(*arguments)`` returns on each of ``count`` ranks that have been launched."""
    port = free_port()
    context = multiprocessing.get_context("spawn")
    ends = [context.Pipe(duplex=False) for _ in range(count)]
    processes = [
        context.Process(target=_rank, args=(rank, count, port, ours, work, arguments), daemon=True)
        for rank, (_, ours) in enumerate(ends)
    ]
    for process in processes:
        process.start()
    results = []
    for reader, writer in ends:
        writer.close()
        assert reader.poll(timeout_s), "a rank takes too long"
        results.append(reader.recv())
    for process in processes:
        process.join()
    failures = [result for failed, result in results if failed]
    assert not failures, "\n".join(failures)
    return [result for _, result in results]


def _rank(
    rank: int, count: int, port: int, out: Any, work: Work, arguments: tuple[Any, ...]
) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)
    try:
        out.send((False, work(*arguments)))
    except BaseException:
        out.send((True, f"rank {rank}:\n{traceback.format_exc()}"))
