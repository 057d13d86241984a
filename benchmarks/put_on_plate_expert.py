"""How often the scripted expert of PutOnPlate succeeds: with each object, on each receptacle.

Episodes of Main-v3-train (16 objects, 17 receptacles) and Carrot-v1-test (the 9 unseen objects) are
drawn seed after seed until each object has its number. No picture is drawn. It needs ManiSkill
(`pushcut sims install maniskill`) and the benchmark's files (docs/how-to/put-on-plate.md).

The last line is one JSON object. Run: python -m benchmarks.put_on_plate_expert [--episodes N]
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any

from pushcut.envs.maniskill.put_on_plate.env import PutOnPlateConfig
from pushcut.envs.maniskill.put_on_plate.names import OBJECTS, RECEPTACLES
from pushcut.envs.maniskill.put_on_plate.variants import Episode
from pushcut.envs.pool.pool import EnvPool
from pushcut.evaluation.intervals import Rate
from pushcut.system.progress import bar
from pushcut.types import InitState

TASKS = ("Main-v3-train", "Carrot-v1-test")


def starts(config: PutOnPlateConfig, each: int) -> Iterator[tuple[InitState, Episode]]:
    """The first seeds of each variant in which no object has had its episodes yet."""
    for task, variant in config.variants.items():
        wanted = {obj: each for obj in sorted(variant.used()[0])}
        for seed in count():
            episode = variant.of_seed(seed)
            if wanted.get(episode.obj):
                wanted[episode.obj] -= 1
                yield InitState(task, seed), episode
            if not any(wanted.values()):
                break


def play(config: PutOnPlateConfig, each: int, workers: int) -> list[tuple[Episode, bool, int]]:
    """Each episode, whether the expert solved it, and in how many control steps."""
    planned = list(starts(config, each))
    played: list[tuple[Episode, bool, int]] = []
    with (
        EnvPool(config, slots=workers, workers=workers, timeout_s=300.0) as pool,
        bar("playing", len(planned)) as shown,
    ):
        left, under_way = iter(planned), {}
        free = list(range(workers))
        while True:
            while free and (following := next(left, None)) is not None:
                slot = free.pop()
                under_way[slot] = following
                pool.demonstrate(slot, following[0], noise=0.0, seed=0)
            if not under_way:
                return played
            for reply in pool.wait():
                _, episode = under_way.pop(reply.slot)
                free.append(reply.slot)
                assert reply.demonstration is not None, "a simulator was lost"
                demonstration = reply.demonstration
                played.append((episode, demonstration.success, len(demonstration.action)))
                shown.advance()


def rates(played: list[tuple[Episode, bool, int]], key: str, names: tuple[str, ...]) -> Any:
    """Successes and episodes by one digit of the episode."""
    found = {}
    for place, name in enumerate(names):
        own = [success for episode, success, _ in played if getattr(episode, key) == place]
        found[name] = Rate(sum(own), len(own)).to_json()
    return found


def main() -> None:
    """Plays and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--episodes", type=int, default=16, help="of each object")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    began = time.perf_counter()
    config = PutOnPlateConfig(TASKS, cameras=(), stand_ins=True, scenes=1)
    played = play(config, options.episodes, options.workers)
    steps = sorted(length for _, success, length in played if success)
    print(
        json.dumps(
            {
                "date": datetime.now(UTC).isoformat(timespec="seconds"),
                "all": Rate(sum(success for _, success, _ in played), len(played)).to_json(),
                "median_steps": steps[len(steps) // 2],
                "objects": rates(played, "obj", OBJECTS),
                "receptacles": rates(played, "receptacle", RECEPTACLES),
                "wall_seconds": round(time.perf_counter() - began, 1),
                "load": os.getloadavg(),
            }
        )
    )


if __name__ == "__main__":
    main()
