"""One optimiser step: its decisions, their weights, and which rank learns from which."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pushcut.algorithms.base import Algorithm
from pushcut.algorithms.objectives import trajectory_scale
from pushcut.batch import Advantages, Experience, Minibatch, Rollout, ValueBatch
from pushcut.ranks.base import Ranks
from pushcut.transfers import to_device


@dataclass(frozen=True)
class MicroBatch:
    """What this rank learns from in one forward and backward."""

    experience: Experience
    batch: Minibatch
    counted: Bool[Tensor, "m 1 1 1"]
    """False where a decision only fills up the batch: another rank learns from it."""
    elements: Int[Tensor, ""]
    """Units that count in the whole optimiser step."""


def micro_batches(
    algorithm: Algorithm,
    rollout: Rollout,
    advantages: Advantages,
    rows: Int[Tensor, " m"],
    *,
    size: int,
    ranks: Ranks,
    device: torch.device,
) -> Iterator[MicroBatch]:
    """This rank's part of an optimiser step, at most ``size`` decisions at a time.

    Weights are those of the whole step, whichever rank learns from which decisions; what only
    fills up weighs nothing.
    """
    valid = rollout.counts[rows]
    weight = algorithm.weights(valid, rollout.episode_id[rows])
    share = (weight > 0) / (weight > 0).sum()
    decision_weight = torch.full((len(rows),), 1 / len(rows))
    if algorithm.equal_trajectories:
        units, decisions = trajectory_scales(algorithm, rollout)
        weight = weight * units[rows].view(-1, 1, 1, 1)
        decision_weight = decision_weight * decisions[rows]
    start = rollout.logprob if rollout.proximal is None else rollout.proximal
    elements = to_device(valid.sum(), device)
    for part in rank_shares(rollout, rows, size, ranks):
        counted = part.counted.view(-1, 1, 1, 1)
        value, target = rollout.value, advantages.value_target
        critic = None
        if value is not None and target is not None:
            per_decision = part.counted.float() * decision_weight[part.place]
            columns = (value[part.rows], target[part.rows], per_decision)
            critic = ValueBatch(*(to_device(column, device) for column in columns))
        behaviour = rollout.logprob[part.rows] if rollout.staleness else None
        batch = Minibatch(
            logprob_old=to_device(start[part.rows], device),
            valid=to_device(valid[part.place], device),
            advantage=to_device(advantages.advantage[part.rows].view(-1, 1, 1, 1), device),
            weight=to_device(weight[part.place] * counted, device),
            share=to_device(share[part.place] * counted, device),
            value=critic,
            logprob_behaviour=None if behaviour is None else to_device(behaviour, device),
        )
        yield MicroBatch(part.experience, batch, to_device(counted, device), elements)


def trajectory_scales(
    algorithm: Algorithm, rollout: Rollout
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Factors of each decision in the losses of policy and critic, so that trajectories are equal.

    They count the whole rollout, not the optimiser step: how much of a trajectory a step happens
    to hold does not matter.
    """
    counted = algorithm.weights(rollout.counts, rollout.episode_id) > 0
    units = counted.flatten(1).sum(1).float()
    ones = torch.ones_like(units)
    return (
        trajectory_scale(units, rollout.episode_id),
        trajectory_scale(ones, rollout.episode_id),
    )


@dataclass(frozen=True)
class RankShare:
    """The decisions of a step that this rank learns from, and what the policy saw at them."""

    place: Int[Tensor, " m"]
    """Index of each decision within the step."""
    rows: Int[Tensor, " m"]
    """Index of each decision within the rollout."""
    counted: Bool[Tensor, " m"]
    """False where it only fills up the batch: another rank learns from it."""
    experience: Experience


def micro_batch_count(decisions: int, size: int, ranks: Ranks) -> int:
    """How many micro-batches of at most ``size`` each rank makes of a step's decisions."""
    return math.ceil(decisions / (size * ranks.count))


def rank_shares(
    rollout: Rollout, rows: Int[Tensor, " m"], size: int, ranks: Ranks
) -> Iterator[RankShare]:
    """This rank's shares of a step's decisions, at most ``size`` at a time.

    All ranks get equally many of equal size, filled up where there are not enough: where
    weights are sharded the ranks must compute in step.
    """
    for place in torch.arange(len(rows)).split(size * ranks.count):
        yield share_of(rollout, rows, place, ranks)


def share_of(
    rollout: Rollout, rows: Int[Tensor, " m"], place: Int[Tensor, " p"], ranks: Ranks
) -> RankShare:
    """This rank's share of some decisions; fetches what others have seen of it."""
    home = rollout.rank[rows[place]]
    dealt = torch.arange(len(place)) % ranks.count
    split, counted = shares(dealt if ranks.reproducible else home, ranks.count)
    outgoing = [
        rollout.seen(rows[place[ours]]) if len(ours := part[home[part] == ranks.index]) else None
        for part in split
    ]
    incoming = [experience for experience in ranks.exchange(outgoing) if experience is not None]
    mine, experience = split[ranks.index], Experience.concatenate(incoming)
    if ranks.count > 1:
        arrived = home[mine].argsort(stable=True)  # as they were sent
        experience = experience.select(arrived.argsort())
    return RankShare(
        place=place[mine],
        rows=rows[place[mine]],
        counted=counted[ranks.index],
        experience=experience,
    )


def shares(
    home: Int[Tensor, " m"], ranks: int
) -> tuple[list[Int[Tensor, " c"]], list[Bool[Tensor, " c"]]]:
    """Splits m decisions evenly over the ranks, at home as far as that is even.

    Each rank gets c = ceil(m / ranks) places; who finds no more to learn from repeats another,
    which does not count.
    """
    size = -(-len(home) // ranks)
    own = [(home == rank).nonzero().squeeze(1) for rank in range(ranks)]
    spare = torch.cat([places[size:] for places in own])
    result, counted = [], []
    for places in own:
        lack = size - len(places[:size])
        taken = torch.cat((places[:size], spare[:lack]))
        spare = spare[lack:]
        filler = taken[:1] if len(taken) else torch.zeros(1, dtype=torch.long)
        result.append(torch.cat((taken, filler.expand(size - len(taken)))))
        counted.append(torch.arange(size) < len(taken))
    return result, counted
