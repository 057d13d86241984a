"""Environment variables by which a launcher (torchrun, Ray) tells ranks who they are; no torch."""

from __future__ import annotations

import os
from collections.abc import Sequence

from pushcut.errors import TOLD, UserError

LAUNCHER_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""Variables that every launcher sets."""
RESTARTS_VARIABLES = ("TORCHELASTIC_RESTART_COUNT", "PUSHCUT_RESTARTS")
"""Variables that count how often the ranks were started again (torchrun, ours)."""


def launched() -> bool:
    """Whether a launcher started this process as a rank."""
    return all(name in os.environ for name in LAUNCHER_VARIABLES)


def refuse_ranks(command: str, shared: Sequence[str]) -> None:
    """UserError where a launcher started several processes of a command that is not ``shared``."""
    count = int(os.environ["WORLD_SIZE"]) if launched() else 1
    if count == 1 or command in shared:
        return
    error = UserError(
        f"{count} processes were started for `pushcut {command}`, which is the work of one: type "
        f"it without torchrun; {', '.join(shared[:-1])} and {shared[-1]} share their work among "
        "several"
    )
    if os.environ["RANK"] != "0":
        error.add_note(TOLD)
    raise error


def restarted() -> bool:
    """Whether the launcher started the ranks again, after it had lost one."""
    return any(int(os.environ.get(name, "0")) > 0 for name in RESTARTS_VARIABLES)


def launch_environment(
    *, rank: int, ranks: int, local: int, local_ranks: int, address: str, port: int, restarts: int
) -> dict[str, str]:
    """Variables for a rank that our own launcher starts."""
    values = {
        "RANK": rank,
        "WORLD_SIZE": ranks,
        "LOCAL_RANK": local,
        "LOCAL_WORLD_SIZE": local_ranks,
        "MASTER_ADDR": address,
        "MASTER_PORT": port,
        "PUSHCUT_RESTARTS": restarts,
        # The store at that address is not rank 0's: none of them opens it.
        "TORCHELASTIC_USE_AGENT_STORE": True,
    }
    return {name: str(value) for name, value in values.items()}
