"""The program that the campaign disturbs: `pushcut train`, with a word on what it is doing.

    python -m faulting.program SETTINGS.json

It trains as a preset says, in an environment with faults on request, always with ``--resume``.
The file ``phase`` in the folder of the faults says where it is.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from faulting.env import FaultyConfig
from faulting.phases import announce, train_as_rank


@dataclass(frozen=True)
class Settings:
    """What the program is told, all of it."""

    preset: str
    policy: str
    run: str
    faults: str
    """Folder where faults are asked for."""
    iterations: int
    workers: int = 2
    timeout_s: float = 2.0
    seed: int = 0
    weights: Literal["replicated", "sharded"] = "replicated"
    """Of ranks."""
    rank_timeout_s: float = 60.0
    address: str = ""
    """Of the Ray cluster, where there is one."""

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))


def config_of(settings: Settings) -> Any:
    """A small training: an evaluation every third iteration, a checkpoint after each."""
    from pushcut.cluster.config import ClusterConfig
    from pushcut.config import EvaluationConfig
    from pushcut.presets import PRESETS
    from pushcut.ranks.config import RanksConfig

    train = PRESETS[settings.preset].train
    env: Any = FaultyConfig(train.env, Path(settings.faults))
    cluster = ClusterConfig()
    if settings.address:
        # As often as the campaign likes; new nodes take a while to come.
        cluster = ClusterConfig(
            "ray",
            nodes=2,
            address=settings.address,
            simulators="hosts",
            restarts=10**6,
            timeout_s=120.0,
        )
    return replace(
        train,
        env=env,
        policy=replace(train.policy, path=Path(settings.policy)),
        algorithm=replace(train.algorithm, group_size=4, groups=3, max_groups=6),
        rollout=replace(
            train.rollout, slots=8, workers=settings.workers, timeout_s=settings.timeout_s
        ),
        evaluation=EvaluationConfig(episodes_per_task=4, every=3),
        # So small a step that the policy stays one that sometimes succeeds: every iteration learns.
        learner=replace(train.learner, lr=2e-5),
        iterations=settings.iterations,
        patience=10**6,
        save_every=1,
        trackers=("tensorboard",),
        device="cpu",
        threads=1,
        seed=settings.seed,
        ranks=RanksConfig(
            weights=settings.weights, reproducible=True, timeout_s=settings.rank_timeout_s
        ),
        cluster=cluster,
        out=Path(settings.run),
        resume=True,
    )


def main() -> int:
    """Exit codes are those of ``pushcut``."""
    from pushcut.cli import prepare_process

    prepare_process()
    settings = Settings(**json.loads(Path(sys.argv[1]).read_text()))
    from pushcut import assembly
    from pushcut.errors import Interrupted, UserError

    if settings.address:
        assembly.train_as_rank = train_as_rank
    else:
        announce(Path(settings.faults))
    try:
        assembly.train(config_of(settings))
    except Interrupted as stop:
        return stop.exit_code
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        print(f"{time.strftime('%H:%M:%S')} pid {os.getpid()} ends", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
