from concurrent.futures import ThreadPoolExecutor

import pytest
from torch.distributed import HashStore  # pyright: ignore[reportPrivateImportUsage]
from torch.distributed.distributed_c10d import Store

from pushcut.ranks.rendezvous import meet


def all_meet(store: Store, ranks: int) -> set[str]:
    with ThreadPoolExecutor(ranks) as threads:
        return set(threads.map(lambda rank: meet(store, rank, ranks, 50.0), range(ranks)))


def test_ranks_that_are_started_again_meet_under_a_name_of_their_own():
    store = HashStore()
    names = [all_meet(store, 3) for _ in range(3)]
    assert [len(name) for name in names] == [1, 1, 1]
    assert len(set.union(*names)) == 3


@pytest.mark.parametrize("left", [[0], [1], [0, 2]])
def test_what_ranks_left_that_died_before_all_had_come_misleads_nobody(left):
    store = HashStore()
    with ThreadPoolExecutor(len(left)) as threads:
        for early in [threads.submit(meet, store, rank, 3, 0.1) for rank in left]:
            with pytest.raises(TimeoutError):
                early.result()
    assert len(all_meet(store, 3)) == 1
