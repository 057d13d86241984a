"""What every policy must be able to do on the device, and does there as on the host."""

from __future__ import annotations

import contextlib
import copy
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pushcut.algorithms.base import Algorithm
from pushcut.algorithms.grpo import GRPO
from pushcut.algorithms.objectives import Granularity
from pushcut.algorithms.ppo import PPO
from pushcut.batch import Rollout
from pushcut.learning import checkpoint
from pushcut.learning.learner import Learner, LearnerConfig
from pushcut.policies.base import Mode, Policy
from pushcut.policies.contract import PROMISES, PolicyCase
from pushcut.policies.flow.policy import FlowMatchingPolicy
from pushcut.policies.value_head import CriticConfig, CriticPlacement
from pushcut.promises import NotPromisedError
from pushcut.rollout.prefetch import acting_copy, copy_weights
from tests.learning.builders import rollout_of
from tests.policies.builders import noise, observation
from tests.pretend_gpu.device import GPU, OnGpu, counted, only_host, twin

EPISODES = [3, 2, 4, 2]
"""Decisions of each."""


@dataclass(frozen=True)
class Both:
    """A policy on the host, and its twin on the device."""

    host: Policy
    device: Policy

    @staticmethod
    def of(policy: Policy) -> Both:
        device = twin(policy)
        assert isinstance(device, Policy) and str(device.device) == GPU
        return Both(policy, device)


def close(got: Tensor, want: Tensor, what: str, *, atol: float = 1e-4) -> None:
    """The device has no fused operations: sums have another order."""
    assert isinstance(got, OnGpu), f"{what} is not on the device"
    difference = float((got.held.detach() - want.detach()).abs().max())
    assert difference <= atol, f"{what}: {difference:.2g} from the host's"


def acts(both: Both, mode: Mode) -> None:
    obs = observation(6)
    with only_host():
        want = both.host.sample(obs, noise(6), mode)
    got = both.device.sample(obs, noise(6), mode)
    close(got.actions, want.actions, "actions")
    close(got.logprob, want.logprob, "logprob")
    for name, tensor in got.trace.items():
        close(tensor.float(), want.trace[name].float(), name)


def clones_behaviour(both: Both) -> None:
    def cloned(policy: Policy) -> Tensor:
        action = torch.linspace(-1, 1, 6 * policy.horizon * policy.action_size)
        action = action.view(6, policy.horizon, policy.action_size)
        valid = torch.arange(policy.horizon).expand(6, -1) < 2
        loss, _ = policy.bc_loss(observation(6), action, valid, np.random.default_rng(0))
        loss.backward()
        return loss

    with only_host():
        want = cloned(both.host)
    close(cloned(both.device), want, "loss")
    for (name, ours), theirs in zip(
        both.device.named_parameters(), both.host.parameters(), strict=True
    ):
        if theirs.grad is not None:
            assert ours.grad is not None, name
            close(ours.grad, theirs.grad, f"gradient of {name}")


def played(policy: Policy) -> Rollout:
    """A rollout as the runner leaves it: all of it on the host."""
    rollout = rollout_of(policy, EPISODES)
    assert rollout.experience is not None
    trace = {name: tensor.cpu() for name, tensor in rollout.experience.trace.items()}
    experience = replace(rollout.experience, trace=trace)
    names = ("logprob", "value", "next_value", "drawn", "malformed")
    columns = {name: getattr(rollout, name) for name in names}
    there = {name: None if x is None else x.cpu() for name, x in columns.items()}
    return replace(rollout, experience=experience, **there)


def granularity(policy: Policy) -> Granularity:
    return "chunk" if isinstance(policy, FlowMatchingPolicy) else "element"


def learns(
    algorithm: Callable[..., Algorithm],
    *,
    placement: CriticPlacement | None = None,
    stale: bool = False,
    recompute: bool = False,
) -> Callable[[Both], None]:
    """An update says the same as on the host."""
    critic = CriticConfig(placement=placement or "vlm", detach=False)

    def learnt(policy: Policy) -> dict[str, float]:
        if placement is not None:
            policy.add_critic(critic, seed=0)
        ours = algorithm(granularity=granularity(policy), entropy_coefficient=0.01)
        config = LearnerConfig(minibatches=1, micro_batch=6, recompute_logprob=recompute)
        learner = Learner(policy, ours, config, seed=0, critic=critic)
        rollout = replace(played(policy), staleness=int(stale))
        return learner.update(rollout, ours.advantages(rollout), 0)

    def check(both: Both) -> None:
        with only_host():
            want = learnt(both.host)
        got = learnt(both.device)
        assert got["optimizer_steps"] == 1
        assert got["grad_norm"] > 0
        for name, value in want.items():
            apart = abs(got[name] - value)
            assert apart <= 1e-4 + 1e-3 * abs(value), f"{name} is {got[name]}, there {value}"

    return check


def never_waits_in_a_micro_batch(both: Both) -> None:
    """A step reads its norm and its metrics, and no copy is from memory that is not pinned.

    Of sequences each micro-batch reads how long its longest is, and computes no more.
    """
    policy = both.device
    rollout = played(policy)
    counts = {}
    for size in (11, 3):
        learner = _learner(policy, size)
        credit = GRPO(group_size=2).advantages(rollout)
        with counted() as traffic:
            learner.update(rollout, credit, 0)
        counts[size] = traffic
    own = {size: 0 if rollout.drawn is None else -(-len(rollout) // size) for size in counts}
    for size, traffic in counts.items():
        assert traffic.reads == 2 + own[size], (size, traffic.counts)
    assert counts[3].counts["pageable"] == 0, counts[3].counts
    assert counts[3].counts["pinned"] > 3 * counts[11].counts["pinned"] > 0


def reads_only_what_it_plays(both: Both) -> None:
    """A decision waits for what leaves the device and for nothing on the way.

    A sequence waits after each token, but the last that there is room for, to learn whether it
    ends, and for its tokens and their number, of which the host makes actions.
    """
    obs = both.device.prepare(observation(6))
    with counted() as traffic:
        sample = both.device.sample(obs, noise(6), "sampled")
    if sample.drawn is None:
        assert traffic.waits == 0, traffic.counts
        return
    room, longest = sample.drawn.shape[2], int(sample.drawn.cpu().sum(2).max())
    waits = {kind: traffic.counts[kind] for kind in ("item", "to host", "size", "pageable")}
    expected = {"item": min(longest, room - 1), "to host": 2, "size": 0, "pageable": 0}
    assert waits == expected


def plays_with_a_copy(both: Both) -> None:
    """A copy acts while the policy is trained, and takes over what that learnt."""
    policy, actor = both.device, acting_copy(both.device)
    before = actor.sample(observation(6), noise(6), "sampled")
    with torch.no_grad():
        for weight in policy.parameters():
            if weight.requires_grad:
                weight.mul_(1.5)
    assert torch.equal(actor.sample(observation(6), noise(6), "sampled").logprob, before.logprob)
    copy_weights(policy, actor)
    want = policy.sample(observation(6), noise(6), "sampled")
    assert torch.equal(actor.sample(observation(6), noise(6), "sampled").logprob, want.logprob)


def continues_from_a_checkpoint(both: Both) -> None:
    """A run that was read back learns as one that was never stopped."""
    with tempfile.TemporaryDirectory() as folder:
        learner, again = _learner(both.device), _learner(copy.deepcopy(both.device))
        rollout = played(both.device)
        credit = GRPO(group_size=2).advantages(rollout)
        learner.update(rollout, credit, 0)
        checkpoint.save(Path(folder), learner, checkpoint.Progress(1), keep=2)
        assert checkpoint.load(checkpoint.latest(Path(folder)), again).iteration == 1
        lines = [one.update(rollout, credit, 1) for one in (learner, again)]
        assert lines[0] == lines[1]
        for ours, theirs in zip(
            learner.policy.parameters(), again.policy.parameters(), strict=True
        ):
            assert isinstance(theirs, OnGpu) and torch.equal(ours, theirs)
        for state in again.optimizer.state.values():
            assert isinstance(state["exp_avg"], OnGpu)


def _learner(policy: Policy, micro_batch: int = 4) -> Learner:
    algorithm = GRPO(group_size=2, granularity=granularity(policy))
    return Learner(policy, algorithm, LearnerConfig(minibatches=1, micro_batch=micro_batch), seed=0)


NOT_HERE = {
    "a row does not depend on its batch": "the kernels of the host promise that, these do not",
    "cloning lowers its loss": "another case clones, and ten steps take long here",
}
"""Promise -> why it is not looked at."""


def keeps_its_promises(both: Both) -> None:
    """What ``pushcut check-policy`` looks at; sums may be rounded."""
    case = PolicyCase(both.device, lambda rows, seed: observation(rows, seed), tolerance=2e-5)
    for promise in PROMISES:
        if promise.name not in NOT_HERE:
            with contextlib.suppress(NotPromisedError):
                promise.check(case)


CASES: dict[str, Callable[[Both], None]] = {
    "greedy": lambda both: acts(both, "greedy"),
    "sampled": lambda both: acts(both, "sampled"),
    "behaviour cloning": clones_behaviour,
    "GRPO": learns(lambda **f: GRPO(group_size=2, **f)),
    "GRPO with KL": learns(lambda **f: GRPO(group_size=2, kl_coefficient=0.1, **f)),
    "GRPO, log-probabilities anew": learns(lambda **f: GRPO(group_size=2, **f), recompute=True),
    "GRPO, overlapped": learns(lambda **f: GRPO(group_size=2, **f), stale=True),
    "PPO, critic on the VLM": learns(lambda **f: PPO(episodes=4, **f), placement="vlm"),
    "PPO, critic on the expert": learns(lambda **f: PPO(episodes=4, **f), placement="expert"),
    "PPO, overlapped": learns(lambda **f: PPO(episodes=4, **f), placement="vlm", stale=True),
    "acting copy": plays_with_a_copy,
    "checkpoint": continues_from_a_checkpoint,
    "waits of an update": never_waits_in_a_micro_batch,
    "waits of a decision": reads_only_what_it_plays,
    "contract": keeps_its_promises,
}
"""By what to call them; each gets a fresh policy."""

OF_TRAINED = ("GRPO with KL", "PPO, critic on the VLM", "PPO, critic on the expert", "acting copy",
              "checkpoint", "waits of an update")  # fmt: skip
"""What depends on which weights are trained."""


def cases_of(name: str, policy: Policy) -> list[str]:
    """The cases of a policy; tokens have no expert that a critic could look at."""
    flow = isinstance(policy, FlowMatchingPolicy)
    chosen = OF_TRAINED if name.startswith("trained") else CASES
    return [case for case in chosen if flow or "expert" not in case]
