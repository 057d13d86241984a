"""The rules on MetaWorld's experts, whose strategies are known."""

import numpy as np
import pytest

from pushcut.analysis.phases import phases_of, strategy_of
from pushcut.envs.metaworld.env import MetaWorldConfig
from pushcut.envs.pool.recording import Record, Recording
from pushcut.types import InitState

pytestmark = pytest.mark.sim


@pytest.mark.parametrize(
    ("task", "phases"),
    [
        ("pick-place-v3", {"carry"}),
        ("plate-slide-v3", {"push"}),
        ("button-press-topdown-v3", {"push"}),
        ("faucet-open-v3", {"push"}),
    ],
)
def test_experts_do_what_they_are_known_to_do(task, phases):
    config = MetaWorldConfig(tasks=(task,), cameras=())
    env = config.build()
    for seed in range(3):
        env.reset(InitState(task, seed))
        recording = Recording(env, Record(events=True), first=True)
        while not (result := recording.step(env.expert_action()[np.newaxis])).done:
            pass
        events = recording.events()
        assert result.success and events is not None
        found = {name for name, _ in strategy_of(phases_of(events, config.spec.control_hz))}
        assert found == phases
    env.close()
