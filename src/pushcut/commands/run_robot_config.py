"""The settings of `pushcut run-robot`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pushcut.robot.base import RobotConfig
from pushcut.robot.limits import LimitsConfig

MAY_CHANGE = ("resume", "server", "token_file", "name", "trials", "wait_s", "dead_man")
"""Settings that another command may give a session that goes on."""


@dataclass(frozen=True)
class RunRobotConfig:
    """Runs trials of a served policy on a robot, records them and counts successes."""

    robot: RobotConfig
    out: Path | None = None
    """Folder of the session: its ledger, dataset and table."""
    server: str = "ws://127.0.0.1:8000"
    """Where `pushcut serve` listens, or another server of openpi's protocol."""
    token_file: Path | None = None
    """File with the server's token, if it wants one."""
    name: str = ""
    """What the robot is called at the server, which lets one of a name in."""
    wait_s: float = 0.0
    """How long to wait for a server that is not there yet."""
    tasks: tuple[str, ...] = ()
    """Tasks, each NAME or NAME=SENTENCE; none: those that the robot knows, else the policy's."""
    trials: int = 50
    """Trials of each task."""
    max_s: float = 60.0
    """Longest trial, seconds."""
    rate_hz: float = 0.0
    """Actions per second; 0: as the policy's contract says."""
    execute: int = 0
    """Steps between questions to the policy; 0: its chunks are played to their end, as in training
    and evaluation (with --decay: half of a chunk)."""
    decay: float | None = None
    """Averages overlapping chunks with weights exp(-decay * i), the oldest first; none takes the
    newest."""
    stale_s: float = 0.0
    """Age of what the policy saw from which on its actions are not trusted; 0: a chunk's time."""
    patience_s: float = 10.0
    """Longest time without an action of the policy, standing still, before the session ends."""
    cameras: tuple[str, ...] = ()
    """What the robot calls the policy's cameras, each ROBOTS=POLICYS."""
    limits: LimitsConfig = LimitsConfig()
    dead_man: Literal["key", "robot", "none"] = "key"
    """What must be held, or the robot stops: any key of this terminal, the robot's own switch, or
    nothing."""
    grace_s: float = 0.8
    """Time without a repeat after which a held key counts as released."""
    success: Literal["ask", "robot"] = "ask"
    """Who says whether a trial was a success: the operator, or the robot."""
    resume: bool = False
    """Go on with the trials that a session lacks."""

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise ValueError(f"trials must be >= 1, got {self.trials}")
        for name in ("max_s", "patience_s", "grace_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name)}")
        if min(self.rate_hz, self.execute, self.stale_s, self.wait_s) < 0:
            raise ValueError("rate_hz, execute, stale_s and wait_s must be >= 0")
        if any(not all(pair.partition("=")[::2]) for pair in self.cameras):
            raise ValueError(f"cameras must be ROBOTS=POLICYS, got {' '.join(self.cameras)}")

    @property
    def renamed(self) -> dict[str, str]:
        """The robot's name of a camera -> the policy's."""
        return {theirs: ours for theirs, _, ours in (pair.partition("=") for pair in self.cameras)}
