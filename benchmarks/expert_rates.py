"""How often an environment's scripted experts succeed from the first demonstration seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pushcut.envs.bimanual.env import BimanualEnv
from pushcut.envs.calvin.env import CalvinEnv
from pushcut.envs.init_states import demo_inits
from pushcut.envs.pool.expert import run_expert
from pushcut.evaluation.intervals import Rate
from pushcut.system.progress import bar


def expert_rates(env: BimanualEnv | CalvinEnv, starts: int) -> dict[str, Any]:
    """Successes of each task of ``env``, and how many control steps they took."""
    rng = np.random.default_rng(0)
    found: dict[str, Any] = {}
    with bar("playing experts", starts * len(env.spec.tasks)) as shown:
        for task in env.spec.tasks:
            lengths = []
            for init in demo_inits(task, 0, starts):
                played = run_expert(env, init, noise=0.0, rng=rng)
                lengths += [len(played.action)] if played.success else []
                shown.advance()
            steps = {"median_steps": sorted(lengths)[len(lengths) // 2]} if lengths else {}
            found[task] = Rate(len(lengths), starts).to_json() | steps
            env.release(task)
    return found


def all_together(rates: Mapping[str, Any]) -> dict[str, Any]:
    """The rate over all tasks."""
    successes = sum(one["successes"] for one in rates.values())
    return Rate(successes, sum(one["episodes"] for one in rates.values())).to_json()
