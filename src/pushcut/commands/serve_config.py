"""The settings of `pushcut serve`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pushcut.config import Device
from pushcut.policies.base import Mode
from pushcut.policies.source import PolicySource


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
