"""A policy on another machine, over openpi's websocket protocol."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any
from urllib.parse import quote

import numpy as np
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from pushcut.client.errors import ConnectionLostError, ServerRefusedError
from pushcut.client.wire import WireError, pack, unpack

TOO_BIG = 1009
"""Close code of a message that is larger than the server takes (RFC 6455, 7.4.1)."""


class RemotePolicy:
    """A connection to `pushcut serve`, or to any server of openpi's protocol.

    One thread at a time may ask. A connection that was lost is opened again by the next question.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 8000,
        *,
        token: str | None = None,
        name: str | None = None,
        timeout_s: float = 10.0,
        wait_s: float = 0.0,
    ) -> None:
        """Connects; ConnectionLostError where there is no server.

        Args:
            host: Its name or address, or a whole ws:// or wss:// address.
            port: Where it listens; not used with a whole address.
            token: What it was started with, if it was.
            name: What this robot is called: a server lets one robot of a name in.
            timeout_s: Longest wait for a connection, and for an answer.
            wait_s: How long to try where there is no server yet.
        """
        address = host if host.startswith(("ws://", "wss://")) else f"ws://{host}:{port}"
        self._address = address.rstrip("/") + (f"/?client={quote(name)}" if name else "")
        self._headers = {"Authorization": f"Api-Key {token}"} if token else {}
        self._timeout_s = timeout_s
        self._connection: ClientConnection | None = None
        self.metadata: dict[str, Any] = {}
        """What the server says of its policy; pushcut's is its contract."""
        self._connect_within(wait_s)

    def infer(self, observation: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to an observation: ``actions`` float [chunk, action size], and timings.

        Args:
            observation: Images uint8 [height, width, 3], RGB, row 0 at the top, and vectors, under
                the names that ``metadata`` tells; ``prompt`` is the instruction.

        Raises:
            ServerRefusedError: With the server's words; the connection stays.
            ConnectionLostError: No answer, and none will come.
        """
        content = pack(dict(observation))
        connection = self._connection or self._connected()
        try:
            connection.send(content)
            reply = connection.recv(timeout=self._timeout_s)
        except TimeoutError:
            # A late answer would be taken for that to the next question.
            self.close()
            raise ConnectionLostError(
                f"{self._address} did not answer within {self._timeout_s:g} s"
            ) from None
        except (ConnectionClosed, OSError) as error:
            self.close()
            raise _lost(self._address, error, len(content)) from None
        if isinstance(reply, str):
            raise ServerRefusedError(reply)
        return self._understood(reply)

    def close(self) -> None:
        """Hangs up; the next question connects again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def __enter__(self) -> RemotePolicy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _understood(self, reply: bytes) -> dict[str, Any]:
        try:
            answer = unpack(reply)
        except WireError as error:
            self.close()
            raise ConnectionLostError(f"{self._address}: {error}") from None
        actions = answer.get("actions") if isinstance(answer, dict) else None
        if not isinstance(actions, np.ndarray) or actions.ndim != 2 or not actions.size:
            self.close()
            raise ConnectionLostError(f"{self._address} answered without actions [chunk, size]")
        return answer

    def _connect_within(self, wait_s: float) -> None:
        end = time.monotonic() + wait_s
        while True:
            try:
                self._connected()
                return
            except ConnectionLostError:
                if time.monotonic() >= end:
                    raise
                time.sleep(0.05)

    def _connected(self) -> ClientConnection:
        try:
            # Entered, as every version of websockets allows; ``close`` leaves it.
            connection = connect(
                self._address,
                additional_headers=self._headers,
                compression=None,
                max_size=None,
                open_timeout=self._timeout_s,
                close_timeout=1,
                proxy=None,
            ).__enter__()
        except InvalidStatus as error:
            words = (error.response.body or b"").decode(errors="replace").strip()
            status = error.response.status_code
            raise ServerRefusedError(f"{self._address}: {words or status}") from None
        except (OSError, WebSocketException) as error:
            raise _lost(self._address, error) from None
        try:
            metadata = connection.recv(timeout=self._timeout_s)
            found = unpack(metadata) if isinstance(metadata, bytes) else None
        except (ConnectionClosed, OSError, WireError) as error:
            connection.close()
            raise _lost(self._address, error) from None
        self.metadata = found if isinstance(found, dict) else {}
        self._connection = connection
        return connection


def _lost(address: str, error: Exception, size: int = 0) -> ConnectionLostError:
    if isinstance(error, ConnectionClosed) and error.rcvd and error.rcvd.code == TOO_BIG:
        return ConnectionLostError(
            f"{address} takes no message of {size / 1e6:.1f} MB: send images of the size that its "
            "metadata says, or start it with a larger --message-mb"
        )
    what = " ".join(str(error).split()) or type(error).__name__
    return ConnectionLostError(f"{address} is not to be reached: {what}")
