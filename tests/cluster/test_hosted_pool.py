"""A pool whose slots are with hosts plays as a local one; hosts are lost and started again."""

from __future__ import annotations

import pickle
import queue
from collections.abc import Sequence

import numpy as np
import pytest

from pushcut.cluster.host import Answer, HostRequest, SimulatorHost
from pushcut.cluster.hosted_pool import HostedPool, HostLost
from pushcut.envs.point_mass import PointMassConfig
from pushcut.envs.pool.base import Simulators
from pushcut.envs.pool.pool import EnvPool
from pushcut.errors import UserError
from pushcut.types import InitState

CONFIG = PointMassConfig(max_steps=12)
TASK = next(iter(CONFIG.spec.tasks))


class HostsHere:
    """Hosts in this process, one after the other; ``losses`` says which answers get lost."""

    def __init__(self, count: int, slots: int, losses: Sequence[int] = ()) -> None:
        self.count, self._slots, self._losses = count, slots, set(losses)
        self._hosts: dict[int, SimulatorHost] = {}
        self.answered = 0

    def start(self, host: int) -> None:
        if host in self._hosts:
            self._hosts[host].close()
        slots = len(range(host, self._slots, self.count))
        self._hosts[host] = SimulatorHost(pickle.dumps(CONFIG), {"slots": slots, "workers": 1}, {})

    def submit(self, host: int, requests: Sequence[HostRequest]) -> None:
        self._hosts[host].submit(requests)

    def answers(self, hosts: Sequence[int], timeout_s: float) -> dict[int, Answer | HostLost]:
        found: dict[int, Answer | HostLost] = {}
        for host in hosts:
            self.answered += 1
            lost = self.answered in self._losses
            found[host] = HostLost("was lost: test") if lost else self._hosts[host].collect()
        return found

    def close(self) -> None:
        for host in self._hosts.values():
            host.close()


def hosted(hosts: HostsHere, slots: int, max_failures: int = 2) -> HostedPool:
    return HostedPool(
        hosts,
        CONFIG.spec,
        slots=slots,
        max_failures=max_failures,
        timeout_s=300.0,
        start_timeout_s=300.0,
    )


def episodes(pool: Simulators, count: int) -> dict[int, list[np.ndarray]]:
    """States that each of ``count`` episodes saw, with actions that depend on nothing else."""
    seen: dict[int, list[np.ndarray]] = {}
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for seed in range(count):
        waiting.put(seed)
    playing: dict[int, int] = {}

    def start(slot: int, seed: int) -> None:
        playing[slot] = seed
        seen[seed] = []
        pool.reset(slot, InitState(TASK, seed))

    for slot in range(pool.slots):
        start(slot, waiting.get())
    while playing:
        for reply in pool.wait():
            seed = playing[reply.slot]
            if reply.kind == "lost":
                start(reply.slot, seed)
            elif reply.result is not None and reply.result.done:
                del playing[reply.slot]
                if not waiting.empty():
                    start(reply.slot, waiting.get())
            else:
                observation = pool.observation([reply.slot])
                seen[seed].append(np.append(observation.images["top"].ravel(), observation.state))
                rng = np.random.default_rng((seed, len(seen[seed])))
                size = (3, CONFIG.spec.action_size)
                pool.step(reply.slot, rng.uniform(-1, 1, size).astype(np.float32))
    return seen


def local_episodes() -> dict[int, list[np.ndarray]]:
    with EnvPool(CONFIG, slots=5, workers=1) as pool:
        return episodes(pool, 8)


def assert_same(got: dict[int, list[np.ndarray]], want: dict[int, list[np.ndarray]]) -> None:
    assert got.keys() == want.keys()
    for seed, states in want.items():
        np.testing.assert_array_equal(np.stack(got[seed]), np.stack(states))


@pytest.mark.parametrize("count", [1, 2])
def test_slots_with_hosts_play_the_episodes_of_local_ones(count):
    with hosted(HostsHere(count, 5), 5) as pool:
        assert_same(episodes(pool, 8), local_episodes())
        assert pool.restarts == 0


def test_a_lost_host_is_started_again_and_its_episodes_are_played_again():
    # Answers 1 and 2 say that the hosts have started.
    with hosted(HostsHere(2, 5, losses=(5, 8)), 5) as pool:
        assert_same(episodes(pool, 8), local_episodes())
        assert pool.restarts == 2


def test_a_host_that_is_lost_again_and_again_is_an_error():
    hosts = HostsHere(1, 2, losses=range(2, 100))
    with (
        hosted(hosts, 2, max_failures=2) as pool,
        pytest.raises(UserError, match="host 0 was lost 3 times in a row; .* was lost: test"),
    ):
        episodes(pool, 2)


def test_a_slot_has_one_request_at_a_time_and_shows_what_there_is():
    with hosted(HostsHere(1, 2), 2) as pool:
        with pytest.raises(RuntimeError, match="no episode under way"):
            pool.step(0, np.zeros((1, 2), np.float32))
        pool.reset(0, InitState(TASK, 0))
        with pytest.raises(RuntimeError, match="without a reply"):
            pool.reset(0, InitState(TASK, 1))
        with pytest.raises(RuntimeError, match="no observation"):
            pool.observation([0])
        assert [reply.kind for reply in pool.wait()] == ["reset"]
        with pytest.raises(RuntimeError, match="nothing to wait for"):
            pool.wait()
        with pytest.raises(IndexError):
            pool.reset(2, InitState(TASK, 0))
