"""Faults of ranks and nodes: what started the ranks starts them again, the campaign nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress

from faulting.launchers import RayNodes
from faulting.scene import Outcome, Scene, gone_or_leaked, noted
from processes import Process, wait_until

RESTART_S = 180.0
"""Longest time until lost ranks must be replaced and the loop go on."""
AGAIN = 0.2
"""Share of faults that hit once more, while the ranks start again."""
START_S = 6.0
"""About the time that ranks take to start."""


def signalled_rank(number: int) -> Callable[[Scene], Outcome]:
    """A signal to a random rank."""

    def inject(scene: Scene) -> Outcome:
        lost = hit_rank(scene, number)
        if lost and scene.rng.random() < AGAIN:
            again = hit_while_starting(scene, number, lost)
            scene.phase = "start" if again else scene.phase
            lost += again
        return restarted(scene, lost) if lost else "missed"

    return inject


def hit_rank(scene: Scene, number: int) -> list[Process]:
    """Sends a signal to one of the ranks; all processes that must end by it, none if too late."""
    training = scene.training
    ranks, workers = training.ranks(), training.workers()
    if training.ended is not None or not ranks:
        return []
    victim = ranks[scene.rng.integers(len(ranks))]
    try:
        os.kill(victim.pid, number)
    except ProcessLookupError:
        return []
    return ranks + workers


def hit_while_starting(scene: Scene, number: int, lost: Sequence[Process]) -> list[Process]:
    """The same to the ranks that are started in place of lost ones."""
    training = scene.training

    def renewed() -> bool:
        ranks = training.ranks()
        return bool(ranks) and not set(ranks) & set(lost)

    if not wait_until(lambda: renewed() or training.ended is not None, RESTART_S):
        return []
    wait_until(lambda: training.ended is not None, float(scene.rng.uniform(0, START_S)))
    return hit_rank(scene, number)


def restarted(scene: Scene, lost: Sequence[Process]) -> Outcome:
    """Waits until other ranks go on; nothing of the lost ones may be left."""
    training = scene.training
    went_on = training.went_on({process.pid for process in lost}, RESTART_S)
    if went_on or training.ended is not None:
        gone_or_leaked(scene, lost)
    if went_on:
        return "recovered"
    return "missed" if training.ended == 0 else "not recovered"  # its work was done


def lost_node(what: str) -> Callable[[Scene], Outcome]:
    """A node of a Ray cluster with a rank or a simulator host is gone, and a new one comes.

    Either the whole machine at once, or Ray's process on it, so that the others must find out.
    """

    def inject(scene: Scene) -> Outcome:
        training, nodes = scene.training, scene.training.launcher
        assert isinstance(nodes, RayNodes)
        found = nodes.carrying(what)
        if training.ended is not None or not found:
            return "missed"
        node = found[scene.rng.integers(len(found))]
        with_rank, before = node in nodes.carrying(nodes.rank), training.recoveries()
        lost = nodes.processes(node)
        all_of_run = training.ranks() + training.workers()
        if scene.rng.random() < 0.5:
            for process in lost:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
        nodes.remove(node)
        nodes.add()
        if with_rank:
            return restarted(scene, lost + all_of_run)
        outcome = noted(training, before, RESTART_S)
        gone_or_leaked(scene, lost)
        return outcome

    return inject
