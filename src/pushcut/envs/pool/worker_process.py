"""The pool's end of one worker process: start it, talk to it, end it."""

from __future__ import annotations

import math
import os
import pickle
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from pushcut.envs.isolated.simulators import Launch

SEND_AHEAD_BYTES = 64 * 1024
"""Requests sent before they are answered; below a socket's buffer, so sending never blocks."""
MESSAGE_OVERHEAD_BYTES = 1024
"""What the kernel charges a socket's buffer for a small message, roughly."""
STDERR_LINES = 5
STDERR_LINE_LENGTH = 200
CLOSE_TIMEOUT_S = 5.0
RECEIVE_TIMEOUT_S = 10.0
"""Longest pause inside a reply that has begun: a process stopped there must not stop us too."""


class UnreadableReplyError(Exception):
    """What a worker sent is no reply."""


@dataclass(frozen=True)
class Request:
    """A message to a worker and what it is about."""

    slot: int
    """-1 for the start of the process."""
    message: bytes
    timeout_s: float
    """Longest time that the worker may work on it."""


class WorkerProcess:
    """A worker process, its channel and the requests it has not answered yet."""

    def __init__(self, launch: Launch, start: Request, rows_fd: int) -> None:
        self.pending: deque[Request] = deque()
        self.deadline = math.inf
        """Time (``time.monotonic``) by which the oldest request must be answered."""
        self._sent = 0
        self._ahead_bytes = 0
        self._dismissed = False
        # What the simulator prints goes to an unlinked file: read when the worker dies.
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        ours, theirs = socket.socketpair()
        pause = struct.pack("ll", int(RECEIVE_TIMEOUT_S), 0)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, pause)
        with theirs, _signals_held_back():
            self._process = subprocess.Popen(
                [*launch.command, str(theirs.fileno()), str(rows_fd)],
                pass_fds=(theirs.fileno(), rows_fd),
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                env=launch.environment,
            )
        self._channel = Connection(ours.detach())
        self.pid = self._process.pid
        self.submit(start)

    def fileno(self) -> int:
        """The channel's file descriptor, for selectors."""
        return self._channel.fileno()

    def submit(self, request: Request) -> None:
        """Queues a request behind the others; never blocks."""
        self.pending.append(request)
        if len(self.pending) == 1:
            self.deadline = time.monotonic() + request.timeout_s
        self._send_ahead()

    def receive(self) -> tuple[Any, int, Any, dict[str, float]]:
        """Reads one reply (kind, slot, payload, seconds of phases).

        Raises EOFError or OSError when the process is gone, UnreadableReplyError for nonsense.
        """
        try:
            message = self._channel.recv_bytes()
        except BlockingIOError:
            raise UnreadableReplyError("stopped in the middle of a reply") from None
        try:
            kind, slot, payload, *seconds = pickle.loads(message)
            return kind, slot, payload, dict(seconds[0]) if seconds else {}
        # Damaged bytes can raise anything.
        except Exception as error:
            raise UnreadableReplyError("sent a reply that cannot be read") from error

    def answered(self) -> None:
        """Takes the oldest request off the list; the next one's time starts now."""
        self._sent -= 1
        self._ahead_bytes -= _cost(self.pending.popleft())
        head = self.pending[0] if self.pending else None
        self.deadline = time.monotonic() + head.timeout_s if head else math.inf
        self._send_ahead()

    def ended(self) -> str:
        """How a process that closed its channel ended."""
        try:
            code = self._process.wait(CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return "closed its channel"
        if code == -signal.SIGKILL:
            return "was killed by SIGKILL (out of memory?)"
        if code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"exited with code {code}"

    def kill(self) -> None:
        """Ends the process at once."""
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):  # a process stuck in a driver outlives SIGKILL
            self._process.wait(CLOSE_TIMEOUT_S)
        self._channel.close()

    def output_tail(self) -> str:
        """The last lines that the process printed, on one line."""
        fd = self._output.fileno()
        size = os.fstat(fd).st_size
        # pread: the file position belongs to the worker too.
        text = os.pread(fd, 8192, max(0, size - 8192)).decode(errors="replace")
        # faulthandler ends with a list of every extension module: no help to anyone.
        lines = [line.strip()[:STDERR_LINE_LENGTH] for line in text.splitlines()]
        lines = [line for line in lines if line and not line.startswith("Extension modules:")]
        return " | ".join(lines[-STDERR_LINES:])

    def dismiss(self) -> None:
        """Asks an idle worker to close its simulator and exit; ``close`` waits for it."""
        if not self.pending and not self._channel.closed:
            with suppress(OSError):
                self._channel.send(None)
                self._dismissed = True

    def close(self) -> None:
        """Releases everything; a worker that was not dismissed is killed."""
        if self._dismissed:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(CLOSE_TIMEOUT_S)
        self.kill()
        self._output.close()

    def _send_ahead(self) -> None:
        while self._sent < len(self.pending):
            request = self.pending[self._sent]
            if self._sent and self._ahead_bytes + _cost(request) > SEND_AHEAD_BYTES:
                return
            # A dead worker is noticed where its replies are read, not here.
            with suppress(OSError):
                self._channel.send_bytes(request.message)
            self._sent += 1
            self._ahead_bytes += _cost(request)


def _cost(request: Request) -> int:
    return len(request.message) + MESSAGE_OVERHEAD_BYTES


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Keeps Ctrl-C and SIGTERM from a new process until it ignores them itself.

    A blocked signal stays blocked in the child; ours are delivered on the way out.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
