"""openpi's websocket protocol: metadata first, then an answer to each observation."""

from __future__ import annotations

import asyncio
import hmac
import http
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from socket import socket
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from pushcut.client.wire import WireError, pack, unpack
from pushcut.errors import UserError
from pushcut.serving.acting import Question
from pushcut.serving.batches import Answer, Batches, BusyError, GoneError
from pushcut.serving.metrics import Metrics, Outcome
from pushcut.serving.requests import Reading, RequestError
from pushcut.system.progress import say

STUCK_S = 60.0
"""A batch that takes longer makes the server unhealthy."""
PING_S = 5.0
"""Seconds between pings, and until a client that does not answer them counts as gone."""
LONGEST_NAME = 64
"""Characters of a client's name."""


@dataclass(frozen=True)
class Limits:
    """What a server takes at most, and whom it lets in."""

    message_bytes: int
    clients: int
    token: str = ""
    """What clients must send as ``Authorization: Api-Key TOKEN``; empty asks for nothing."""


class PolicyServer:
    """Answers websocket clients; one connection has one question under way at a time."""

    def __init__(
        self,
        batches: Batches,
        reading: Reading,
        metadata: Mapping[str, Any],
        limits: Limits,
        metrics: Metrics,
    ) -> None:
        self._batches, self._reading = batches, reading
        self._limits, self._metrics = limits, metrics
        self._metadata = pack(dict(metadata))
        self._named: dict[str, float] = {}
        """Name of a client -> when it came."""
        self._clients = 0

    def tell(self, metadata: Mapping[str, Any]) -> None:
        """Changes what the next clients are told."""
        self._metadata = pack(dict(metadata))

    async def run(self, listening: socket, stop: asyncio.Event) -> None:
        """Serves on a bound socket until ``stop`` is set."""
        working = asyncio.create_task(self._batches.work())
        stopping = asyncio.create_task(stop.wait())
        try:
            async with serve(
                self._client,
                sock=listening,
                process_request=self._at_the_door,
                origins=[None],  # programs; a web page that a browser shows must not reach a robot
                compression=None,
                max_size=self._limits.message_bytes,
                max_queue=2,
                ping_interval=PING_S,
                ping_timeout=PING_S,
                close_timeout=1,
            ):
                await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()  # it never ends by itself
        finally:
            for task in (working, stopping):
                task.cancel()
            self._batches.close()

    def _at_the_door(self, connection: ServerConnection, request: Request) -> Response | None:
        """An HTTP answer, or none where a client may come in."""
        path = urlsplit(request.path).path
        if path == "/healthz":
            return self._health(connection)
        if not self._knows(request):
            return connection.respond(
                http.HTTPStatus.UNAUTHORIZED,
                "this server wants a token: send the header Authorization: Api-Key TOKEN\n",
            )
        if path == "/metrics":
            now = {
                "clients": float(self._clients),
                "waiting": float(self._batches.waiting),
                "policy_version": float(self._batches.version),
            }
            return connection.respond(http.HTTPStatus.OK, self._metrics.text(now))
        if self._clients >= self._limits.clients:
            return connection.respond(
                http.HTTPStatus.SERVICE_UNAVAILABLE,
                f"{self._clients} clients are connected, more are not taken (--clients)\n",
            )
        if reason := self._why_not(_name_in(request)):
            return connection.respond(http.HTTPStatus.CONFLICT, f"{reason}\n")
        return None

    def _health(self, connection: ServerConnection) -> Response:
        busy_s = self._batches.busy_s
        if busy_s > STUCK_S:
            return connection.respond(
                http.HTTPStatus.SERVICE_UNAVAILABLE,
                f"the policy has not answered for {busy_s:.0f} s\n",
            )
        return connection.respond(http.HTTPStatus.OK, "OK\n")

    def _knows(self, request: Request) -> bool:
        if not self._limits.token:
            return True
        given = request.headers.get_all("Authorization")
        wanted = f"Api-Key {self._limits.token}".encode()
        return len(given) == 1 and hmac.compare_digest(given[0].encode(), wanted)

    def _why_not(self, name: str) -> str:
        """Why a client of a name cannot come in; empty where it can."""
        if len(name) > LONGEST_NAME or not name.isprintable():
            return f"a client's name is at most {LONGEST_NAME} printable characters"
        if name and name in self._named:
            since_s = time.monotonic() - self._named[name]
            return (
                f"a client called {name!r} has been connected for {since_s:.0f} s: call this one "
                "differently, or stop that one"
            )
        return ""

    async def _client(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        name = _name_in(connection.request)
        if reason := self._why_not(name):  # two came at once
            await connection.close(1008, reason[:120])
            return
        self._clients += 1
        if name:
            self._named[name] = time.monotonic()
        who = f"client {name or connection.remote_address}"
        say(f"{who} is connected")
        try:
            await self._converse(connection)
            say(f"{who} has hung up")
        except ConnectionClosed as error:
            told = error.sent if error.rcvd is None else error.rcvd
            say(f"{who} is gone: {told.reason or told.code if told else 'the connection was lost'}")
        finally:
            self._clients -= 1
            if name:
                del self._named[name]

    async def _converse(self, connection: ServerConnection) -> None:
        await connection.send(self._metadata)
        decision, before_s = 0, None
        async for message in connection:
            begin = time.monotonic()
            reply, outcome = await self._reply(connection, message, decision, before_s)
            decision += outcome == "answered"
            self._metrics.note(outcome)
            await connection.send(reply)
            before_s = time.monotonic() - begin

    async def _reply(
        self,
        connection: ServerConnection,
        message: str | bytes,
        decision: int,
        before_s: float | None,
    ) -> tuple[str | bytes, Outcome]:
        """The reply to a message: bytes with actions, or text that says what was wrong."""
        begin = time.monotonic()
        try:
            if isinstance(message, str):
                raise RequestError("send an observation as msgpack, in a binary message")
            question = Question(self._reading.read(unpack(message)), decision)
            answer = await self._batches.ask(question, gone=partial(_is_gone, connection))
        except (RequestError, WireError) as error:
            return str(error), "refused"
        except BusyError as error:
            return str(error), "busy"
        except GoneError as error:
            return str(error), "gone"
        except UserError as error:
            return str(error), "failed"
        self._metrics.time(request_s=time.monotonic() - begin, infer_s=answer.infer_s)
        return pack(_content(answer, before_s)), "answered"


def _is_gone(connection: ServerConnection) -> bool:
    return connection.close_code is not None


def _content(answer: Answer, before_s: float | None) -> dict[str, Any]:
    """An answer as openpi's clients expect it; times in milliseconds."""
    timing = {
        "infer_ms": 1000 * answer.infer_s,
        "waited_ms": 1000 * answer.waited_s,
        "batch": answer.batch,
    }
    if before_s is not None:
        timing["prev_total_ms"] = 1000 * before_s
    return {
        "actions": answer.actions,
        "policy_timing": {"infer_ms": 1000 * answer.infer_s},
        "policy_version": answer.version,
        "server_timing": timing,
    }


def _name_in(request: Request) -> str:
    """The name that a client gives itself, as in ``ws://host:8000/?client=left-arm``."""
    return parse_qs(urlsplit(request.path).query).get("client", [""])[0]
