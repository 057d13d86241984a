"""`pushcut serve`: a checkpoint behind openpi's websocket protocol."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path

from pushcut.config import Device
from pushcut.envs.base import EnvConfig
from pushcut.errors import Interrupted, UserError
from pushcut.policies.base import Mode
from pushcut.policies.source import PolicySource
from pushcut.ranks.devices import limit_threads

PACKAGES = ("websockets", "msgpack")


@dataclass(frozen=True)
class ServeConfig:
    """Serves a checkpoint to robots, in openpi's websocket protocol."""

    policy: PolicySource = PolicySource()
    like: str | None = None
    """Preset whose settings of the policy, names and rate hold, in place of those of the run behind
    the checkpoint."""
    host: str = "127.0.0.1"
    """Address to listen on. The default is this machine alone; 0.0.0.0 is every network that it is
    in, and needs --token-file."""
    port: int = 8000
    """Port; 0 takes any that is free."""
    token_file: Path | None = None
    """File with a token; clients must send it as the header Authorization: Api-Key TOKEN."""
    cameras: tuple[str, ...] = ()
    """What robots call cameras, each THEIRS=OURS: image=agentview."""
    state: tuple[str, ...] = ()
    """Vectors of a message that make up the state, joined in this order; none: the one called
    state."""
    prompt: str = ""
    """Instruction of messages that have none."""
    batch: int = 8
    """Most questions in one forward pass."""
    queue: int = 32
    """Questions that may wait; one more is refused at once."""
    clients: int = 16
    """Connections at the same time."""
    message_mb: float = 16.0
    """Largest message, in MB (10^6 bytes)."""
    reload: bool = False
    """Serve another policy that is put in the checkpoint's place, where it keeps the contract; a
    run's newer checkpoints count. Takes the memory of both for a while."""
    mode: Mode = "greedy"
    """The most likely actions (tokens) or the ODE (flows); or sampled ones, as in training."""
    device: Device = "auto"
    threads: int = 0
    """Torch's CPU threads; 0 leaves torch's own choice."""
    seed: int = 0
    """Seed of noise: the n-th question of a client draws the same, whoever else asks."""

    def __post_init__(self) -> None:
        for name in ("batch", "queue", "clients"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}")
        if not self.message_mb > 0:
            raise ValueError(f"message_mb must be > 0, got {self.message_mb}")
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port must be 0 to 65535, got {self.port}")
        if any(not all(pair.partition("=")[::2]) for pair in self.cameras):
            raise ValueError(f"cameras must be THEIRS=OURS, got {' '.join(self.cameras)}")

    @property
    def renamed(self) -> dict[str, str]:
        """A robot's name of a camera -> the policy's."""
        return {theirs: ours for theirs, _, ours in (pair.partition("=") for pair in self.cameras)}

    @property
    def message_bytes(self) -> int:
        """Bytes of the largest message."""
        return int(self.message_mb * 1e6)


def run_serve(config: ServeConfig, env: EnvConfig | None) -> None:
    """Serves until it is stopped; ``env`` is what the policy acted in, where that is known."""
    check_packages()
    token = read_token(config)
    limit_threads(config.threads)
    from pushcut.commands.serving_host import Host  # needs those packages

    with bound(config.host, config.port) as listening:
        number = asyncio.run(Host(config, env, token).run(listening))
    raise Interrupted(128 + number)


def check_packages() -> None:
    """UserError where what a server needs besides pushcut is not installed."""
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise UserError(f'{" and ".join(missing)}: not installed; pip install "pushcut[serve]"')


def read_token(config: ServeConfig) -> str:
    """The token that clients must send; UserError where others can reach us and there is none."""
    if config.token_file is None:
        if not is_loopback(config.host):
            raise UserError(
                f"--host {config.host} lets other machines ask: give --token-file FILE, or leave "
                "the host at 127.0.0.1 and reach it by ssh -L"
            )
        return ""
    token = config.token_file.read_text().strip()
    if not (token.isascii() and token.isprintable() and token):
        raise UserError(f"{config.token_file}: a token is one line of plain characters")
    return token


def is_loopback(host: str) -> bool:
    """Whether an address reaches this machine alone."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def bound(host: str, port: int) -> socket.socket:
    """A socket of this address, which does not listen yet; before anything is loaded.

    Raises:
        UserError: Where the address is not ours or the port is taken.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, proto)
    except OSError as error:
        raise UserError(f"--host {host}: {error}") from None
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except OSError as error:
        made.close()
        raise UserError(
            f"{host}:{port} cannot be listened on ({error.strerror}): choose another --port, "
            "0 takes any that is free"
        ) from None
    return made
