"""The learner: optimiser steps on packed rollouts; the only owner of the optimiser."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from pushcut.algorithms.base import Algorithm
from pushcut.batch import Advantages, Rollout
from pushcut.errors import UserError
from pushcut.learning.minibatches import (
    MicroBatch,
    micro_batch_count,
    micro_batches,
    rank_shares,
)
from pushcut.learning.optimiser import make_adamw, parameter_groups
from pushcut.learning.schedules import warmup_cosine
from pushcut.policies.base import Policy
from pushcut.policies.value_head import CriticConfig
from pushcut.ranks.base import Ranks, SingleProcess
from pushcut.system.progress import count
from pushcut.transfers import to_device


@dataclass(frozen=True)
class LearnerConfig:
    """How the policy is updated; several optimiser steps per iteration."""

    lr: float = 1e-4
    """Learning rate of AdamW (SimpleVLA-RL: 5e-6 for 7 B parameters)."""
    betas: tuple[float, float] = (0.9, 0.99)
    """AdamW's decay rates."""
    weight_decay: float = 0.01
    """AdamW's weight decay."""
    warmup_iterations: int = 5
    """Iterations over which the learning rate rises linearly; 0 starts at full rate."""
    grad_clip: float = 1.0
    """Largest gradient norm."""
    epochs: int = 1
    """Passes over each rollout."""
    minibatches: int = 4
    """Optimiser steps per epoch, of whole episodes (GRPO) or of any decisions (PPO)."""
    minibatch_size: int = 0
    """Episodes (GRPO) or decisions (PPO) of an optimiser step, in place of ``minibatches``: a
    smaller batch then has fewer steps, not smaller ones. 0: as many steps as that says."""
    micro_batch: int = 256
    """Decisions per forward and backward; bounds the memory, not the result."""
    target_kl: float | None = None
    """Stop updating in an iteration once a step's approx_kl is above this; None: never stop."""
    adapter_lr: float | None = None
    """Learning rate of low-rank adapters; None: the same as ``lr``."""
    recompute_logprob: bool = False
    """Evaluate the old log-probabilities anew before each update (SimpleVLA-RL). Use it if sampling
    and updating differ in precision, batch size or machine. The metric logprob_mismatch says
    how far apart they are, with or without this."""
    decay_iterations: int = 0
    """Iterations of a cosine decay of the learning rate; 0: no decay."""
    decay_floor: float = 0.1
    """Share of the learning rate that the cosine ends at."""

    def __post_init__(self) -> None:
        for name in ("lr", "grad_clip", "epochs", "minibatches", "micro_batch"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name)}")
        if self.target_kl is not None and not self.target_kl > 0:
            raise ValueError(f"target_kl must be > 0, got {self.target_kl}")
        if self.adapter_lr is not None and not self.adapter_lr > 0:
            raise ValueError(f"adapter_lr must be > 0, got {self.adapter_lr}")
        if self.minibatch_size < 0:
            raise ValueError(f"minibatch_size must be >= 0, got {self.minibatch_size}")
        if not 0 <= self.decay_floor <= 1:
            raise ValueError(f"decay_floor must be in [0, 1], got {self.decay_floor}")
        if self.decay_iterations < 0:
            raise ValueError(f"decay_iterations must be >= 0, got {self.decay_iterations}")
        if self.warmup_iterations < 0:
            raise ValueError(f"warmup_iterations must be >= 0, got {self.warmup_iterations}")


class Learner:
    """Turns rollouts into better weights."""

    def __init__(
        self,
        policy: Policy,
        algorithm: Algorithm,
        config: LearnerConfig,
        *,
        seed: int,
        critic: CriticConfig | None = None,
        ranks: Ranks | None = None,
        check: Callable[[float], None] = lambda left_s: None,
    ) -> None:
        """``critic`` says how a critic that the policy has is trained.

        ``check`` is called between micro-batches, on every rank, with the seconds that the update
        will still take; it may raise to stop there, on all of them. The ranks hold the policy's
        weights from now on, in parts or in full.
        """
        self.policy, self._ranks = policy, ranks or SingleProcess()
        self.steps = 0
        """Optimiser steps so far; the weights change with them and only then."""
        self._algorithm, self._config, self._seed = algorithm, config, seed
        self._check = check
        self._critic = critic or CriticConfig()
        self._critic_only = 0 if policy.critic is None else self._critic.warmup_iterations
        self._reference = None
        if algorithm.needs_reference:
            self._reference = frozen_copy(policy, shared=self._ranks.sharded)
        for module in (policy, self._reference):
            if module is not None:
                self._ranks.place(module, module.parameter_dtypes())
        self.optimizer = make_adamw(
            parameter_groups(policy),
            lr=config.lr,
            betas=config.betas,
            weight_decay=config.weight_decay,
        )

    def update(self, rollout: Rollout, advantages: Advantages, iteration: int) -> dict[str, float]:
        """Some optimiser steps on a rollout; metrics are means over the steps.

        A rollout that teaches nothing (no episodes, or no advantage anywhere) changes nothing
        and gives no metrics: not even the weight decay acts. A step whose gradient is not
        finite is skipped and counted; UserError if all of them are.
        """
        if not bool(advantages.advantage.any()):
            return {}
        rate = self._set_rates(iteration)
        # The policy stays in eval() mode: sampling and evaluating must be the same function.
        self.policy.eval()
        mismatch = None
        if self._config.recompute_logprob or rollout.staleness:
            rollout, mismatch = self._recomputed(rollout)
        history, skipped = [], 0
        minibatches = list(self._minibatches(rollout, iteration))
        time_left = _TimeLeft(sum(map(len, minibatches)) // self._ranks.count, self._check)
        for rows in minibatches:
            step = self._step(rollout, advantages, rows, iteration, time_left)
            if not np.isfinite(step["grad_norm"]):
                skipped += 1
                continue
            history.append(step)
            if self._moved_too_far(step):
                break
        if not history:
            raise UserError(
                f"iteration {iteration}: no optimiser step had finite gradients ({skipped} were "
                "skipped); the last checkpoint is good: start anew from it (--policy.path) with a "
                "lower --learner.lr"
            )
        means = {name: float(np.mean([step[name] for step in history])) for name in history[0]}
        # Before the first step old and new weights are the same.
        means["logprob_mismatch"] = history[0]["logprob_mismatch"] if mismatch is None else mismatch
        units = [self._units(rollout, rows) for rows in minibatches]
        counts = {
            "optimizer_steps": len(history),
            "skipped_steps": skipped,
            "minibatch_units": float(np.mean(units)),
        }
        return means | {"lr": rate} | counts

    @torch.no_grad()
    def _recomputed(self, rollout: Rollout) -> tuple[Rollout, float]:
        """The rollout with log-probabilities evaluated anew, and how far they were apart."""
        logprob = torch.empty_like(rollout.logprob)
        everything, own = torch.arange(len(rollout)), []
        for share in rank_shares(rollout, everything, self._config.micro_batch, self._ranks):
            evaluated = self.policy.evaluate(share.experience.observation, share.experience.trace)
            own.append((share.rows, evaluated.logprob))
        for theirs in self._ranks.gather([(rows, values.cpu()) for rows, values in own]):
            for rows, values in theirs:
                logprob[rows] = values
        mismatch = float((logprob - rollout.logprob)[rollout.counts].abs().mean())
        return replace(rollout, proximal=logprob), mismatch

    def _set_rates(self, iteration: int) -> float:
        """Sets the learning rates of the groups; returns that of the policy.

        Its schedule begins when the policy is first trained: AdamW's first steps are its
        largest.
        """
        config = self._config
        share = warmup_cosine(
            max(0, iteration - self._critic_only),
            warmup=config.warmup_iterations,
            ramp=config.warmup_iterations + 1,
            decay=config.decay_iterations,
            floor=config.decay_floor,
        )
        rate, adapter_rate = config.lr, config.adapter_lr
        rates = {
            "policy": share * rate,
            "adapters": share * (rate if adapter_rate is None else adapter_rate),
            "critic": self._critic.lr * (share if self._critic.scheduled else 1.0),
        }
        if iteration < self._critic_only:
            rates["critic"] = self._critic.lr
        for group in self.optimizer.param_groups:
            group["lr"] = rates[group["name"]]
        return rates["policy"]

    def _minibatches(self, rollout: Rollout, iteration: int) -> Iterator[Int[Tensor, " m"]]:
        """Rows of each optimiser step, shuffled by a generator of the iteration's own."""
        generator = np.random.default_rng((self._seed, iteration))
        unit = rollout.episode_id if self._algorithm.whole_episodes else torch.arange(len(rollout))
        parts = self._config.minibatches
        if size := self._config.minibatch_size:
            parts = max(1, round((int(unit.max()) + 1) / size))
        for _ in range(self._config.epochs):
            yield from split(unit, parts, generator)

    def _units(self, rollout: Rollout, rows: Int[Tensor, " m"]) -> int:
        """Episodes, or decisions, of an optimiser step."""
        return len(rollout.episode_id[rows].unique() if self._algorithm.whole_episodes else rows)

    def _moved_too_far(self, step: dict[str, float]) -> bool:
        limit = self._config.target_kl
        return limit is not None and step["approx_kl"] > limit

    def _step(
        self,
        rollout: Rollout,
        advantages: Advantages,
        rows: Int[Tensor, " m"],
        iteration: int,
        time_left: _TimeLeft,
    ) -> dict[str, float]:
        """One optimiser step; gradients of micro-batches and ranks add up."""
        totals: dict[str, Tensor] = {}
        self.optimizer.zero_grad(set_to_none=True)
        parts = micro_batches(
            self._algorithm,
            rollout,
            advantages,
            rows,
            size=self._config.micro_batch,
            ranks=self._ranks,
            device=self.policy.device,
        )
        number = micro_batch_count(len(rows), self._config.micro_batch, self._ranks)
        for part in self._ranks.summed_once(parts, number):
            for name, value in self._backward(part).items():
                # Read at the end of the step: until then the GPU has work in its queue.
                exact = value.double()
                totals[name] = totals[name] + exact if name in totals else exact
            time_left.done(len(part.experience))
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self._ranks.sum_gradients(parameters)
        if iteration < self._critic_only:
            self._forget_policy_gradients()
        clipped = torch.nn.utils.clip_grad_norm_(parameters, self._config.grad_clip)
        if np.isfinite(norm := self._ranks.norm(clipped)):
            self.optimizer.step()
            self.steps += 1
        sums = self._ranks.sum(torch.stack(list(totals.values())).cpu().tolist())
        return dict(zip(totals, sums, strict=True)) | {"grad_norm": norm}

    def _forget_policy_gradients(self) -> None:
        """Leaves the critic alone to learn; AdamW does not touch what has no gradient."""
        for group in self.optimizer.param_groups:
            if group["name"] != "critic":
                for parameter in group["params"]:
                    parameter.grad = None

    def _backward(self, part: MicroBatch) -> dict[str, Tensor]:
        """Adds the gradients of some decisions; metrics as parts of the step's."""
        batch, observation = part.batch, part.experience.observation
        device = self.policy.device
        trace = {name: to_device(x, device) for name, x in part.experience.trace.items()}
        if self._reference is not None:
            with torch.no_grad():
                reference = self._reference.evaluate(observation, trace).logprob
            batch = replace(batch, logprob_reference=reference)
        evaluation = self.policy.evaluate(observation, trace)
        loss, metrics = self._algorithm.loss(evaluation, batch)
        (loss * self._ranks.loss_scale()).backward()
        apart = (evaluation.logprob.detach() - batch.logprob_old).abs() * batch.valid
        return metrics | {"logprob_mismatch": (apart * part.counted).sum() / part.elements}


class _TimeLeft:
    """How long an update will still take, judged by what of it is done."""

    def __init__(self, decisions: int, check: Callable[[float], None]) -> None:
        self._decisions, self._check = decisions, check
        self._done, self._start = 0, time.perf_counter()

    def done(self, decisions: int) -> None:
        """Notes that so many more were learned from."""
        self._done += decisions
        count("decisions learned from", self._done, self._decisions)
        share_left = (self._decisions - self._done) / self._done
        self._check((time.perf_counter() - self._start) * share_left)


def split(
    unit: Int[Tensor, " n"], parts: int, generator: np.random.Generator
) -> Iterator[Int[Tensor, " m"]]:
    """Rows of ``parts`` random sets of whole units (episodes, or single decisions)."""
    units = generator.permutation(int(unit.max()) + 1)
    for part in np.array_split(units, min(parts, len(units))):
        chosen = torch.isin(unit, torch.from_numpy(np.sort(part)))
        yield chosen.nonzero().squeeze(1)


def frozen_copy(policy: Policy, *, shared: bool = False) -> Policy:
    """A copy that is never trained; ``shared``: in the same memory, until both are sharded."""
    same = {id(p): nn.Parameter(p.data, p.requires_grad) for p in policy.parameters()}
    reference = copy.deepcopy(policy, same if shared else {}).eval()
    for parameter in reference.parameters():
        parameter.requires_grad_(False)
    return reference
