"""One optimiser step: its decisions, their weights, and which rank learns from which."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pushcut.algorithms.base import Algorithm
from pushcut.batch import Advantages, Experience, Minibatch, Rollout, ValueBatch
from pushcut.ranks.base import Ranks


@dataclass(frozen=True)
class RankShare:
    """The decisions of a step that this rank learns from, and what the policy saw at them."""

    place: Int[Tensor, " m"]
    """Of each among the decisions of the step."""
    rows: Int[Tensor, " m"]
    """Of each in the rollout."""
    counted: Bool[Tensor, " m"]
    """False where it only fills up the batch: another rank learns from it."""
    experience: Experience


def micro_batches(
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


@dataclass(frozen=True)
class OptimizerStep:
    """The decisions of an optimiser step, of all ranks, without experience."""

    logprob_old: Float[Tensor, "m k h a"]
    logprob_behaviour: Float[Tensor, "m k h a"] | None
    valid: Bool[Tensor, "m k h a"]
    advantage: Float[Tensor, " m"]
    weight: Float[Tensor, "m k hu au"]
    share: Float[Tensor, "m k hu au"]
    value: Float[Tensor, " m"] | None
    value_target: Float[Tensor, " m"] | None

    @staticmethod
    def of(
        algorithm: Algorithm, rollout: Rollout, advantages: Advantages, rows: Int[Tensor, " m"]
    ) -> OptimizerStep:
        """Weighs some decisions of a rollout."""
        valid = executed(rollout)[rows]
        weight = algorithm.weights(valid, rollout.episode_id[rows])
        target = advantages.value_target
        start = rollout.logprob if rollout.proximal is None else rollout.proximal
        return OptimizerStep(
            logprob_old=start[rows],
            logprob_behaviour=rollout.logprob[rows] if rollout.staleness else None,
            valid=valid,
            advantage=advantages.advantage[rows],
            weight=weight,
            share=(weight > 0) / (weight > 0).sum(),
            value=None if rollout.value is None else rollout.value[rows],
            value_target=None if target is None else target[rows],
        )

    def minibatch(
        self, share: RankShare, device: torch.device, reference: Float[Tensor, "n k h a"] | None
    ) -> Minibatch:
        """A rank's part of it; decisions that only fill up weigh nothing."""
        place = share.place
        counts = share.counted.float().view(-1, 1, 1, 1)
        value = None
        if self.value is not None and self.value_target is not None:
            weight = share.counted.float() / len(self.value)
            parts = (self.value[place], self.value_target[place], weight)
            value = ValueBatch(*(part.to(device) for part in parts))
        behaviour = self.logprob_behaviour
        return Minibatch(
            logprob_old=self.logprob_old[place].to(device),
            valid=self.valid[place].to(device),
            advantage=self.advantage[place].view(-1, 1, 1, 1).to(device),
            weight=(self.weight[place] * counts).to(device),
            share=(self.share[place] * counts).to(device),
            value=value,
            logprob_reference=reference,
            logprob_behaviour=None if behaviour is None else behaviour[place].to(device),
        )


def executed(rollout: Rollout) -> Bool[Tensor, "n k h a"]:
    """Which elements of each decision were executed, in the shape of the log-probabilities."""
    return rollout.valid[:, None, :, None].expand_as(rollout.logprob)
