from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from torch.distributed import (
    DistNetworkError,  # pyright: ignore[reportPrivateImportUsage]
    HashStore,  # pyright: ignore[reportPrivateImportUsage]
)
from torch.distributed.distributed_c10d import Store

from pushcut.errors import RankLostError
from pushcut.ranks.group import CLOSED, SharedGroupBudget
from pushcut.ranks.group_budget import LocalGroupBudget


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


def test_a_rank_that_never_finishes_is_noticed_by_those_who_wait():
    store = HashStore()
    idle = SharedGroupBudget(store, "quota", 2, 2, rank=0, ranks=2, timeout_s=1e-6)
    other = SharedGroupBudget(store, "quota", 2, 2, rank=1, ranks=2, timeout_s=50.0)
    assert other.claim() == 0
    assert not idle.done  # it has changed
    with pytest.raises(RankLostError, match=r"no rank finished a group.*--ranks.timeout-s"):
        while not idle.done:
            pass
