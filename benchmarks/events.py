"""Cost of events: the same rollout with and without them, in turns, in one process.

A chunk is what a policy asks for: control steps, then an observation with an image. The share is of
the simulator's time alone; a policy's inference, which a rollout has besides, makes it smaller.
Actions are those of an expert, so that hands touch objects; episodes are read at their ends.

The last line is one JSON object. Run: python benchmarks/events.py [--env metaworld|libero]; with
the interpreter of ManiSkill's environment: --env maniskill; where pybullet is, and $CALVIN_ASSETS
names a checkout: --env calvin
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from datetime import UTC, datetime

import numpy as np

from pushcut.envs.base import Env, EnvConfig
from pushcut.envs.calvin.env import CalvinConfig
from pushcut.envs.libero.env import LiberoConfig
from pushcut.envs.maniskill.env import ManiSkillConfig
from pushcut.envs.metaworld.env import MetaWorldConfig
from pushcut.envs.pool.expert import run_expert
from pushcut.envs.pool.recording import Record, Recording
from pushcut.types import InitState

CONFIGS: dict[str, tuple[EnvConfig, int]] = {
    "metaworld": (MetaWorldConfig(tasks=("pick-place-v3",)), 5),
    "libero": (LiberoConfig(tasks=("libero_object/0",)), 8),
    "maniskill": (ManiSkillConfig(tasks=("StackCube-v1",)), 5),
    "calvin": (CalvinConfig(tasks=("lift_red_block_table",)), 5),
}
"""Environment -> its settings and the length of a chunk."""


def played_s(env: Env, init: InitState, actions: np.ndarray, chunk: int, *, events: bool) -> float:
    """Seconds of an episode, without its reset."""
    env.reset(init)
    start = time.process_time()
    recording = Recording(env, Record(events=True), first=True) if events else None
    for at in range(0, len(actions), chunk):
        step = recording.step if recording else env.step_chunk
        if step(actions[at : at + chunk]).done:
            break
        env.observe()
    if recording:
        recording.events()
    return time.process_time() - start


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--env", choices=CONFIGS, default="metaworld")
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    config, chunk = CONFIGS[arguments.env]
    init = InitState(next(iter(config.spec.tasks)), 60)
    env = config.build()
    actions = run_expert(env, init, noise=0.0, rng=np.random.default_rng(0)).action
    played_s(env, init, actions, chunk, events=True)  # warm
    pairs = [
        tuple(played_s(env, init, actions, chunk, events=events) for events in (False, True))
        for _ in range(arguments.rounds)
    ]
    env.close()
    shares = [told / plain - 1 for plain, told in pairs]
    result = {
        "benchmark": "events",
        "env": arguments.env,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "control_steps": len(actions),
        "rounds": arguments.rounds,
        "us_per_step": round(1e6 * statistics.median(p for p, _ in pairs) / len(actions), 1),
        "us_per_step_with_events": round(
            1e6 * statistics.median(t for _, t in pairs) / len(actions), 1
        ),
        "median_share": round(statistics.median(shares), 4),
        "quartiles": [round(x, 4) for x in statistics.quantiles(shares, n=4)],
    }
    print(f"events cost {100 * result['median_share']:.1f} % of the simulator's time")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
