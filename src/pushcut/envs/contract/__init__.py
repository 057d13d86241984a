"""What every environment promises, each promise a function that looks at one environment.

``pushcut check-env`` and tests/envs/test_env_contract.py go through ``promises_of``, those
of ``envs.protocol``. May import ``envs.base``, ``envs.checks`` and ``envs.pool``; never torch.
Promises that a broken promise is told with what was found and how to mend it.
"""

from __future__ import annotations

from pushcut.envs.base import EnvConfig
from pushcut.envs.contract import description, outcomes, repeats, views, worker
from pushcut.envs.contract.case import EnvCase
from pushcut.promises import Promise

SEEN = (views.an_observation_fits_the_spec,)
POSSIBLE = (outcomes.results_are_possible,)
REPEATS = (*POSSIBLE, repeats.an_initial_state_repeats)
SNAPSHOT = repeats.a_restored_snapshot_continues_exactly
REWARD = outcomes.only_success_is_rewarded

IN_PROCESS: tuple[Promise[EnvCase], ...] = (
    Promise(description.the_config_travels),
    Promise(description.the_spec_is_known_before_building),
    Promise(description.the_spec_adds_up),
    Promise(views.an_observation_fits_the_spec),
    Promise(views.every_camera_shows_something, needs=SEEN),
    Promise(views.seeds_look_different),
    Promise(views.a_picture_has_the_asked_size),
    Promise(outcomes.an_unknown_task_is_refused),
    Promise(outcomes.experts_are_named),
    Promise(outcomes.results_are_possible),
    Promise(repeats.an_initial_state_repeats, needs=POSSIBLE),
    Promise(repeats.a_restored_snapshot_continues_exactly, needs=REPEATS),
    Promise(repeats.episodes_can_take_turns, needs=(*REPEATS, SNAPSHOT)),
    Promise(repeats.a_chunk_is_its_steps, needs=REPEATS),
    Promise(outcomes.actions_beyond_the_bounds_act_as_the_bounds, needs=REPEATS),
    Promise(outcomes.the_time_limit_truncates, needs=POSSIBLE),
    Promise(outcomes.only_success_is_rewarded, needs=POSSIBLE),
    Promise(outcomes.success_ends_the_episode, needs=(*SEEN, *REPEATS, REWARD)),
)
"""In the order in which they are looked at: what others stand on comes first."""

ALONE = tuple(promise.check for promise in IN_PROCESS)
PROMISES = (*IN_PROCESS, Promise(worker.a_worker_process_plays_the_same, needs=ALONE))
"""All that every environment makes: the last one starts a worker process."""
OF_BATCHES = (Promise(worker.a_batch_plays_the_same, needs=ALONE),)
"""What those that are played in batches promise besides."""


def promises_of(config: EnvConfig) -> tuple[Promise[EnvCase], ...]:
    """The promises that an environment with this config makes."""
    return (*PROMISES, *OF_BATCHES) if config.batched else PROMISES
