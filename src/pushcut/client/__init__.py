"""A robot's side of `pushcut serve`: numpy, websockets and msgpack, never torch.

May import ``errors``. Promises that a robot without a fresh action gets the safe one, and a line
that says so; that nothing from the network is ever unpickled.
"""

from __future__ import annotations

from pushcut.client.chunks import Chunks
from pushcut.client.errors import ConnectionLostError, ServerRefusedError
from pushcut.client.loop import ActionLoop
from pushcut.client.remote import RemotePolicy

__all__ = [
    "ActionLoop",
    "Chunks",
    "ConnectionLostError",
    "RemotePolicy",
    "ServerRefusedError",
]
