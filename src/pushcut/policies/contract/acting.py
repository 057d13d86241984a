"""Promises about acting: shapes, log-ratio, rows, noise, bounds, and what a folder keeps."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch

from pushcut.policies.base import Policy
from pushcut.policies.contract.case import ROWS, PolicyCase, largest
from pushcut.policies.flow.policy import FlowMatchingPolicy
from pushcut.policies.noise import DecisionKey, DecisionNoise
from pushcut.policies.tokens.policy import TokenPolicy
from pushcut.promises import ContractError, NotPromisedError
from pushcut.types import Observation


def samples_fit_the_protocol(case: PolicyCase) -> None:
    """Samples and evaluations have the shapes of the protocol and are finite."""
    policy, obs = case.policy, case.observation(ROWS, 0)
    sample = policy.sample(obs, case.noise(), "sampled")
    evaluation = policy.evaluate(obs, sample.trace)
    mend = "correct what sample and evaluate return: pushcut.batch says what each number means"
    chunk = (policy.chunk, policy.action_size)
    parts = sample.logprob.shape[1] if sample.logprob.ndim == 4 else 1
    # A decision that is a sequence says itself how many units it was drawn as.
    units = (parts, *chunk) if sample.drawn is None else tuple(sample.drawn.shape[1:])
    for name, tensor, shape in (
        ("actions", sample.actions, (ROWS, *chunk)),
        ("logprob in sample", sample.logprob, (ROWS, *units)),
        ("logprob in evaluate", evaluation.logprob, (ROWS, *units)),
        ("entropy in evaluate", evaluation.entropy, (ROWS, *units)),
    ):
        if tuple(tensor.shape) != shape:
            raise ContractError(f"{name} of shape {list(shape)}", str(list(tensor.shape)), mend)
        if not bool(torch.isfinite(tensor).all()):
            raise ContractError(f"finite {name}", "inf or nan", mend)
    for name, tensor in sample.trace.items():
        if len(tensor) != ROWS:
            expected = f"{ROWS} rows of {name!r} in the trace, one for each observation"
            raise ContractError(expected, str(len(tensor)), mend)


def the_log_ratio_is_zero_before_the_first_update(case: PolicyCase) -> str:
    """The log-ratio is zero before the first update: evaluate says what sample said.

    Of prepared observations, which a rollout keeps, too.
    """
    obs = case.observation(ROWS, 0)
    sample = case.policy.sample(obs, case.noise(), "sampled")
    again = case.policy.evaluate(obs, sample.trace).logprob
    difference = largest(again - sample.logprob)
    if not difference <= case.tolerance:
        raise ContractError(
            f"a log-ratio of at most {case.tolerance:g}",
            f"{difference:.2g}",
            "keep all that was drawn in the trace, and let sample and evaluate use the same code, "
            "temperature and dtype; no dropout, nothing random in evaluate",
        )
    _preparing_changes_nothing(case)
    return f"at most {difference:.1g}, allowed {case.tolerance:g}"


def another_batch_size_is_rounding_only(case: PolicyCase) -> str:
    """Another batch size moves the log-ratio by rounding only."""
    obs, rows = case.observation(ROWS, 0), np.array([3, 5, 7])
    sample = case.policy.sample(obs, case.noise(), "sampled")
    trace = {name: tensor[rows] for name, tensor in sample.trace.items()}
    part = case.policy.evaluate(obs.select(rows), trace)
    difference = largest(part.logprob - sample.logprob[rows])
    if not difference < case.rounding:
        raise ContractError(
            f"log-ratios below {case.rounding:g} for {len(rows)} of {ROWS} rows",
            f"{difference:.2g}",
            "let no row see the others (batch statistics, padding to the longest)",
        )
    return f"at most {difference:.1g}, allowed {case.rounding:g}"


def a_row_does_not_depend_on_its_batch(case: PolicyCase) -> None:
    """A row depends neither on the rows that it is batched with nor on its place, to the bit."""
    one = case.observation(1, 1)
    others, strangers = (case.observation(ROWS, seed).select(range(ROWS - 1)) for seed in (2, 3))
    key = DecisionKey(0, 0, 99, 0, 0)
    keys = [DecisionKey(0, 0, i, 0, 0) for i in range(ROWS - 1)]
    first, last = DecisionNoise([key, *keys]), DecisionNoise([*keys, key])
    want = case.policy.sample(Observation.concatenate([one, others]), first, "sampled")
    for company, what in ((others, "in another place"), (strangers, "among other rows")):
        got = case.policy.sample(Observation.concatenate([company, one]), last, "sampled")
        last = DecisionNoise([*keys, key])  # noise is drawn once
        for name in ("actions", "logprob"):
            difference = largest(getattr(got, name)[-1] - getattr(want, name)[0])
            if difference:
                raise ContractError(
                    f"the same {name} for a row {what}",
                    f"a difference of {difference:.2g}",
                    "no statistics of the batch (BatchNorm in eval mode at most), and noise for a "
                    "row from its own row of DecisionNoise",
                )


def samples_follow_their_noise(case: PolicyCase) -> None:
    """Samples follow the noise that they are given and nothing else; other noise, other actions."""
    policy, obs = case.policy, case.observation(ROWS, 0)
    for mode in ("sampled", "greedy"):
        actions = policy.sample(obs, case.noise(), mode).actions
        if not torch.equal(policy.sample(obs, case.noise(), mode).actions, actions):
            raise ContractError(
                f"the same {mode} actions for the same noise",
                "others",
                "draw from the DecisionNoise that sample is given, not from torch's generator",
            )
    sampled = policy.sample(obs, case.noise(), "sampled").actions
    if torch.equal(policy.sample(obs, case.noise(decision=1), "sampled").actions, sampled):
        raise ContractError(
            "other sampled actions for the noise of another decision",
            "the same",
            "explore: reinforcement learning compares actions that differ",
        )


def actions_stay_within_their_bounds(case: PolicyCase) -> None:
    """Actions lie within the demonstrated quantiles, for policies that promise it."""
    if case.bounds is None:
        raise NotPromisedError("this kind of policy promises no bounds: environments clip")
    actions = case.policy.sample(case.observation(ROWS, 0), case.noise(), "sampled").actions
    low, high = (torch.tensor(bound, device=actions.device) for bound in case.bounds)
    beyond = float(torch.maximum(low - actions, actions - high).max())
    if beyond > 1e-6 * max(1.0, largest(low), largest(high)):
        expected = f"actions within {list(case.bounds[0])} and {list(case.bounds[1])}"
        raise ContractError(expected, f"some {beyond:.2g} beyond", "clip the normalised action")


def a_saved_policy_acts_the_same(case: PolicyCase) -> None:
    """A saved policy acts the same when it is loaded, to the bit."""
    obs = case.observation(ROWS, 0)
    want = case.policy.sample(obs, case.noise(), "greedy")
    with tempfile.TemporaryDirectory() as folder:
        case.policy.save_pretrained(Path(folder) / "policy")
        loaded = case.load(Path(folder) / "policy").to(case.policy.device)
        _explore_like(loaded, case.policy)
        got = loaded.sample(obs, case.noise(), "greedy")
        for name in ("actions", "logprob"):
            difference = largest(getattr(got, name) - getattr(want, name))
            if difference:
                raise ContractError(
                    f"the same greedy {name} after save_pretrained and load",
                    f"a difference of {difference:.2g}",
                    "save all weights, buffers and statistics, in the dtype that they have",
                )


def _explore_like(policy: Policy, other: Policy) -> None:
    """Exploration is no part of the weights."""
    if isinstance(policy, FlowMatchingPolicy) and isinstance(other, FlowMatchingPolicy):
        policy.explore(other.denoising)
    if isinstance(policy, TokenPolicy) and isinstance(other, TokenPolicy):
        policy.explore(other.temperature)


def _preparing_changes_nothing(case: PolicyCase) -> None:
    """Prepared observations are acted on and evaluated as they were before, to the bit."""
    policy, obs = case.policy, case.observation(ROWS, 0)
    prepared = policy.prepare(obs)
    if prepared is obs:
        return
    mend = "set prepared in what prepare returns, and look at it before working on the pictures"
    if policy.prepare(prepared) is not prepared:
        raise ContractError("the same observation, prepared again", "another", mend)
    want = policy.sample(obs, case.noise(), "sampled")
    got = policy.sample(prepared, case.noise(), "sampled")
    again = policy.evaluate(prepared, want.trace).logprob
    for name, ours, theirs in (
        ("actions", got.actions, want.actions),
        ("logprob in sample", got.logprob, want.logprob),
        ("logprob in evaluate", again, policy.evaluate(obs, want.trace).logprob),
    ):
        if difference := largest(ours - theirs):
            raise ContractError(f"the same {name}", f"a difference of {difference:.2g}", mend)
