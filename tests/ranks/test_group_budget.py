from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from torch.distributed import (
    DistNetworkError,  # pyright: ignore[reportPrivateImportUsage]
    HashStore,  # pyright: ignore[reportPrivateImportUsage]
)
from torch.distributed.distributed_c10d import Store

from pushcut.errors import RankLostError
from pushcut.ranks import shared_budget
from pushcut.ranks.group import CLOSED, SharedGroupBudget
from pushcut.ranks.group_budget import LocalGroupBudget
from pushcut.rollout.scheduler import GroupSchedule, ListSchedule, Schedule, StreamSchedule
from pushcut.types import InitState


def shared(store: Store, wanted: int, limit: int, ranks: int) -> list[SharedGroupBudget]:
    return [
        SharedGroupBudget(store, "quota", wanted, limit, rank=rank, ranks=ranks, timeout_s=50.0)
        for rank in range(ranks)
    ]


def play_all(group_budget: SharedGroupBudget, accepted: list[bool]) -> list[int]:
    """What one of several ranks plays until nothing is left."""
    played = []
    while not group_budget.done:
        if (number := group_budget.claim()) is not None:
            played.append(number)
            group_budget.report(accepted[number])
    return played


def test_ranks_that_claim_at_the_same_time_play_each_group_of_the_shortest_prefix_once():
    """As one process would: the groups up to the fifth accepted one."""
    generator = np.random.default_rng(0)
    for _ in range(10):
        accepted = (generator.random(60) < 0.4).tolist()
        alone = LocalGroupBudget(5, 60)
        want = []
        while (number := alone.claim()) is not None:
            want.append(number)
            alone.report(accepted[number])
        quotas = shared(HashStore(), 5, 60, ranks=4)
        with ThreadPoolExecutor(4) as threads:
            played = list(threads.map(play_all, quotas, [accepted] * 4))
        assert sorted(number for numbers in played for number in numbers) == want


def test_a_rank_holds_at_most_its_share_until_it_has_finished_one():
    first, second = shared(HashStore(), 5, 10, ranks=2)
    assert [first.claim() for _ in range(4)] == [0, 1, 2, None]  # ceil(5 / 2)
    first.report(accepted=True)
    assert first.claim() == 3
    assert [second.claim(), second.claim()] == [4, None]  # five are started or accepted
    first.report(accepted=False)
    assert second.claim() == 5


def test_two_ranks_that_write_the_same_numbers_do_not_both_get_the_group():
    store = HashStore()
    first, second = shared(store, 5, 10, ranks=2)
    second._read()  # before the first has claimed
    assert first.claim() == 0
    assert not second._swap(LocalGroupBudget(5, 10).tally.after_start())


def test_nothing_starts_once_a_rank_has_given_up():
    store = HashStore()
    group_budget, _ = shared(store, 5, 10, ranks=2)
    assert group_budget.claim() == 0
    store.set("quota", CLOSED)
    assert group_budget.claim() is None
    group_budget.report(accepted=True)
    assert group_budget.done


def test_a_store_that_is_gone_with_its_rank_is_a_lost_rank():
    class Gone(HashStore):
        def compare_set(self, key: str, expected_value: str, desired_value: str) -> bytes:
            raise DistNetworkError("Failed to recv, got 0 bytes")

    first, _ = shared(Gone(), 5, 10, ranks=2)
    with pytest.raises(RankLostError, match="share out groups.*got 0 bytes"):
        first.claim()


class Clock:
    """Time as a test has it pass."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(shared_budget, "time", clock)
    return clock


def pair(store: Store, timeout_s: float, wanted: int = 2) -> list[SharedGroupBudget]:
    return [
        SharedGroupBudget(store, "quota", wanted, wanted, rank=rank, ranks=2, timeout_s=timeout_s)
        for rank in range(2)
    ]


def test_a_rank_that_never_finishes_is_noticed_by_those_who_wait(clock):
    idle, other = pair(HashStore(), timeout_s=1800.0)
    assert other.claim() == 0
    assert not idle.done  # it has changed
    clock.now += 1799.0
    assert not idle.done
    clock.now += 2.0
    with pytest.raises(RankLostError, match=r"no rank decided.*for 1800 s.*--ranks.timeout-s"):
        assert idle.done


def test_groups_longer_than_the_time_out_end_well(clock):
    """Whoever ends last has asked nobody for longer than ranks may wait."""
    first, second = pair(HashStore(), timeout_s=1800.0)
    assert [first.claim(), second.claim()] == [0, 1]
    clock.now += 1200.0
    first.report(accepted=True)
    assert not first.done
    clock.now += 1200.0
    second.report(accepted=True)
    assert second.done
    clock.now += 1801.0
    assert first.done
    assert second.done


def test_the_last_group_may_have_ended_long_ago(clock):
    first, second = pair(HashStore(), timeout_s=1800.0, wanted=1)
    assert first.claim() == 0
    assert not second.done
    first.report(accepted=True)
    assert first.done
    clock.now += 3600.0
    assert [first.done, first.done, second.done] == [True, True, True]


def test_a_rank_that_has_just_claimed_or_judged_a_group_does_not_accuse_others(clock):
    first, second = pair(HashStore(), timeout_s=1800.0, wanted=4)
    assert [first.claim(), second.claim()] == [0, 1]
    clock.now += 1801.0
    assert first.claim() == 2
    assert not first.done
    clock.now += 1801.0
    first.report(accepted=True)
    assert not first.done


def test_heartbeats_keep_others_waiting_for_as_long_as_they_come(clock):
    playing, idle = pair(HashStore(), timeout_s=1800.0, wanted=1)
    assert playing.claim() == 0
    for _ in range(15):  # a group of two hours and a half
        clock.now += 600.0
        playing.heartbeat()
        assert not idle.done
    clock.now += 1801.0  # it has stopped
    with pytest.raises(RankLostError):
        assert idle.done


def test_most_heartbeats_send_nothing(clock):
    class Counted(HashStore):
        sent = 0

        def add(self, key: str, value: int) -> int:
            self.sent += value
            return super().add(key, value)

    store = Counted()
    playing, _ = pair(store, timeout_s=100.0)
    for _ in range(50):
        playing.heartbeat()
    assert store.sent == 1  # the next after 5 s


@pytest.mark.parametrize("kind", ["groups", "streams", "list"])
def test_every_schedule_passes_heartbeats_on(kind):
    store = HashStore()
    budget, _ = pair(store, timeout_s=100.0)
    schedule: Schedule
    if kind == "groups":
        schedule = GroupSchedule(
            lambda group: InitState("t", group),
            group_size=2,
            accepts=lambda successes, returns: True,
            budget=budget,
        )
    elif kind == "streams":
        schedule = StreamSchedule(
            lambda group: InitState("t", group), streams=2, decisions=3, budget=budget
        )
    else:
        schedule = ListSchedule([InitState("t", 0), InitState("t", 1)], budget=budget)
    schedule.heartbeat()
    assert store.add("quota/beats", 0) == 1
