"""Simulation speed: PutOnPlateEnv against a plain one that does what the published programs do.

The baseline is a re-implementation, named so because no package has the published environment: it
loads all 25 objects and 17 receptacles beside the table and gives a picture of 640 x 480 at every
control step. PutOnPlateEnv loads the models of its episode, plays chunks of five control steps
(pi_RL, table 12) and observes once a chunk: with the published picture, with ManiSkill's minimal
shader, for both of them, and with the small pictures of the preset. All get the same random
actions; resets are not part of it. They take turns in one process, so that a busy moment of the
machine falls on all of them; ratios are of processor time, taken within a round.

It runs in ManiSkill's environment (`pushcut sims install maniskill`), with the benchmark's files.
The last line is one JSON object. Run: python benchmarks/put_on_plate_steps.py
"""

from __future__ import annotations

from typing import Any

import numpy as np

from simpler_steps import SMALL, Step, main

TASK = "Main-v3-train"
SEED = 0


def ours(task: str, **looks: Any) -> Step:
    """PutOnPlateEnv, one observation a chunk."""
    from pushcut.envs.maniskill.put_on_plate.env import PutOnPlateConfig
    from pushcut.types import InitState

    config: Any = PutOnPlateConfig
    env = config((task,), max_steps=10**9, stand_ins=True, scenes=1, **looks).build()
    env.reset(InitState(task, SEED))

    def play(actions: np.ndarray) -> None:
        env.observe()
        if env.step_chunk(actions).success:  # random actions hardly ever are
            env.reset(InitState(task, SEED))

    return play


def plain(task: str, *, shader: str) -> Step:
    """All models in one scene, a picture every control step."""
    from pushcut.envs.maniskill.put_on_plate.assets import OBJECT, RECEPTACLE, asset_folder
    from pushcut.envs.maniskill.put_on_plate.env import PutOnPlateConfig
    from pushcut.envs.maniskill.put_on_plate.scene import PlateEnv
    from pushcut.envs.maniskill.put_on_plate.starts import Placed, Start, start_of
    from pushcut.envs.maniskill.sapien_process import playing_options
    from pushcut.envs.maniskill.widowx import arm

    variant = PutOnPlateConfig((task,)).variants[task]
    start = start_of(variant, variant.of_seed(SEED), settle=False)
    own = {(thing.kind, thing.place) for thing in start.things}
    beside = tuple(
        Placed(kind, place, (x, 0.3 * place, 1.0), (0.0, 0.0, 0.0, 1.0))
        for kind, count, x in ((OBJECT, 25, 1.0), (RECEPTACLE, 17, 2.0))
        for place in range(count)
        if (kind, place) not in own
    )
    all_of_them = Start((*start.things, *beside), start.table, 0, settle=False, moved_to=None)
    env = PlateEnv(
        all_of_them,
        asset_folder(),
        sensor_configs={"shader_pack": shader},
        **playing_options(draws=True, render_device="cpu"),
    )
    kept = env.kept()
    photograph = np.zeros((480, 640, 3), np.uint8)

    def play(actions: np.ndarray) -> None:
        for action in actions:
            env.step(action)
            rgb, mask = arm.seen(env, kept)
            assert np.where(mask, rgb, photograph).shape == (480, 640, 3)

    return play


def kinds_of(task: str) -> dict[str, Step]:
    """What is compared; the stock ones are the baselines."""
    return {
        "published_picture": ours(task),
        "minimal_shader": ours(task, shader="minimal"),
        "preset": ours(task, **SMALL),
        "stock": plain(task, shader="default"),
        "stock_minimal_shader": plain(task, shader="minimal"),
    }


if __name__ == "__main__":
    main(__file__, __doc__ or "", TASK, kinds_of)
