"""What environments with a simulator for each task share, on a simulator that counts."""

import numpy as np

from pushcut.envs.episodes import EpisodicEnv
from pushcut.types import EnvSpec, InitState

SPEC = EnvSpec({"count": "count"}, {}, 1, 1, (-1.0,), (1.0,), 10, 2, 1.0)


class Counter:
    """Counts control steps; never a success."""

    def reset(self, seed: int) -> None:
        self.steps = 0

    def hold(self, action: np.ndarray, limit: int) -> tuple[int, bool]:
        self.steps += 1
        return limit, False


class HopelessEnv(EpisodicEnv):
    """Fails for good in its fourth step."""

    def _make_simulator(self, task: str) -> Counter:
        return Counter()

    def _images(self) -> dict[str, np.ndarray]:
        return {}

    def _state(self) -> np.ndarray:
        return np.zeros(1, np.float32)

    def _failed(self) -> bool:
        return self._now.steps == 4


class PatientEnv(HopelessEnv):
    """Never fails for good."""

    _failed = EpisodicEnv._failed


def test_a_failure_for_good_terminates_without_success():
    env = HopelessEnv(SPEC, max_sim_steps=20)
    env.reset(InitState("count", 0))
    assert not env.step_chunk(np.zeros((3, 1), np.float32)).done
    result = env.step_chunk(np.zeros((3, 1), np.float32))
    assert (result.steps, result.sim_steps) == (1, 2)
    assert (result.success, result.terminated, result.truncated) == (False, True, False)
    assert not result.reward.any()


def test_a_failure_at_the_time_limit_is_no_truncation():
    env = HopelessEnv(SPEC, max_sim_steps=8)
    env.reset(InitState("count", 0))
    result = env.step_chunk(np.zeros((9, 1), np.float32))
    assert (result.steps, result.terminated, result.truncated) == (4, True, False)


def test_the_time_limit_truncates_where_nothing_fails():
    env = PatientEnv(SPEC, max_sim_steps=20)
    env.reset(InitState("count", 0))
    result = env.step_chunk(np.zeros((19, 1), np.float32))
    assert (result.steps, result.terminated, result.truncated) == (10, False, True)
