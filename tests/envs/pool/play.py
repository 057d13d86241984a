"""Plays episodes on a pool, for the tests of the pool."""

from collections.abc import Callable, Iterable

import numpy as np

from pushcut.envs.pool.pool import EnvPool, Reply
from pushcut.types import InitState, Observation

RED, BLUE = "reach-red", "reach-blue"
WAIT_S = 300.0
"""Only a broken test waits this long."""

Trail = list[tuple[bytes, bytes, tuple]]


def chunk_of(init: InitState, decision: int) -> np.ndarray:
    """The actions of an episode are a function of the episode, as a policy's would be."""
    rng = np.random.default_rng((init.seed, decision))
    return rng.uniform(-1, 1, (4, 2)).astype(np.float32)


def wait(pool: EnvPool) -> list[Reply]:
    replies = pool.wait(WAIT_S)
    assert replies, "no reply"
    return replies


def start(pool: EnvPool, inits: Iterable[InitState]) -> None:
    """Resets slots 0, 1, … and waits for all of them."""
    left = set()
    for slot, init in enumerate(inits):
        pool.reset(slot, init)
        left.add(slot)
    while left:
        left -= {reply.slot for reply in wait(pool)}


def note(reply: Reply, view: Observation) -> tuple[bytes, bytes, tuple]:
    """What an episode saw, to the bit."""
    facts = () if reply.result is None else (reply.result.steps, reply.result.truncated)
    return view.images["top"].tobytes(), view.state.tobytes(), facts


def play_all(
    pool: EnvPool,
    inits: list[InitState],
    *,
    on_reply: Callable[[Reply], object] = lambda reply: None,
) -> list[Trail]:
    """Plays one episode per initial state on all slots; starts lost episodes again."""
    trails: list[Trail] = [[] for _ in inits]
    queue = list(range(len(inits)))
    playing: dict[int, int] = {}
    while queue or playing:
        for slot in range(pool.slots):
            if queue and slot not in playing:
                playing[slot] = queue.pop(0)
                pool.reset(slot, inits[playing[slot]])
        for reply in wait(pool):
            episode = playing[reply.slot]
            if reply.kind == "lost":
                trails[episode].clear()
                pool.reset(reply.slot, inits[episode])
                continue
            on_reply(reply)
            if reply.result is not None and reply.result.done:
                trails[episode].append((b"", b"", (reply.result.steps, reply.result.truncated)))
                del playing[reply.slot]
                continue
            trails[episode].append(note(reply, pool.observation([reply.slot])))
            actions = chunk_of(inits[episode], len(trails[episode]))
            pool.step(reply.slot, actions)
    return trails


def inits_of(count: int) -> list[InitState]:
    return [InitState((RED, BLUE)[i % 2], 10 + i) for i in range(count)]
