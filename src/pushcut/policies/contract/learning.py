"""Promises about learning: gradients, the critic, behaviour cloning."""

from __future__ import annotations

import numpy as np
import torch

from pushcut.errors import UserError
from pushcut.policies.contract.case import ROWS, PolicyCase, largest
from pushcut.policies.value_head import CriticConfig
from pushcut.promises import ContractError, NotPromisedError

CLONING_STEPS = 10
CLONING_LR = 1e-4


def gradients_reach_the_trained_weights(case: PolicyCase) -> str:
    """Gradients of the log-probability reach the weights that are trained."""
    policy, obs = case.policy, case.observation(ROWS, 0)
    trained = {name: p for name, p in policy.named_parameters() if p.requires_grad}
    mend = "no detach, no_grad or inference_mode on the way to logprob in evaluate"
    expected = "gradients of evaluate's logprob in the trained weights"
    if not trained:
        raise ContractError(expected, "no weight that requires a gradient", mend)
    sample = policy.sample(obs, case.noise(), "sampled")
    logprob = policy.evaluate(obs, sample.trace).logprob
    if not logprob.requires_grad:
        raise ContractError(expected, "a logprob without gradient", mend)
    # Squared, so that what cancels in a sum of log-probabilities does not hide.
    logprob.square().sum().backward()
    grads = {name: p.grad for name, p in trained.items() if p.grad is not None}
    policy.zero_grad(set_to_none=True)
    if wrong := [name for name, grad in grads.items() if not bool(torch.isfinite(grad).all())]:
        raise ContractError(expected, f"inf or nan in {wrong[0]}", "look for log(0) or 0 / 0")
    reached = [name for name, grad in grads.items() if bool(grad.any())]
    if not reached:
        raise ContractError(expected, "zeros only", mend)
    without = [name for name in trained if name not in grads]
    rest = f"; none in {', '.join(without[:3])}" if without else ""
    more = f" and {len(without) - 3} more" if len(without) > 3 else ""
    return f"{len(reached)} of {len(trained)} tensors{rest}{more}"


def a_critic_says_the_same_twice(case: PolicyCase) -> str:
    """A critic gives each row a value, the same in sample and evaluate, and has gradients."""
    policy = case.policy
    if policy.critic is not None:
        raise NotPromisedError("it has a critic already")
    try:
        policy.add_critic(CriticConfig(), seed=0)
    except UserError as error:
        raise NotPromisedError(str(error)) from None
    try:
        return _look_at_critic(case)
    finally:
        policy.training_parts.pop("critic")
        policy.zero_grad(set_to_none=True)


def _look_at_critic(case: PolicyCase) -> str:
    policy, obs = case.policy, case.observation(ROWS, 0)
    mend = "give value [b] in sample and in evaluate, from the same features"
    sample = policy.sample(obs, case.noise(), "sampled")
    evaluation = policy.evaluate(obs, sample.trace)
    for name, value in (("sample", sample.value), ("evaluate", evaluation.value)):
        if value is None or tuple(value.shape) != (ROWS,):
            found = "none" if value is None else f"shape {list(value.shape)}"
            raise ContractError(f"a value for each of {ROWS} rows in {name}", found, mend)
    assert sample.value is not None
    assert evaluation.value is not None
    difference = largest(evaluation.value - sample.value)
    if not difference <= case.rounding:
        raise ContractError(
            f"values that differ by at most {case.rounding:g}", f"{difference:.2g}", mend
        )
    if policy.critic is None:
        raise ContractError("training_parts['critic']", "none", "put the ValueHead there")
    evaluation.value.square().sum().backward()
    if not any(p.grad is not None and bool(p.grad.any()) for p in policy.critic.parameters()):
        raise ContractError("gradients of the value in the critic", "none", mend)
    return f"values differ by at most {difference:.1g}, allowed {case.rounding:g}"


def cloning_ignores_steps_that_did_not_happen(case: PolicyCase) -> None:
    """The behaviour-cloning loss does not see the steps after an episode's end."""
    policy, (obs, action, valid) = case.policy, case.demonstration()
    if bool(valid.all()):
        raise NotPromisedError("its chunks have one step only")
    garbage = torch.where(valid.unsqueeze(-1), action, action.flip(0) + 0.5)
    with torch.no_grad():
        loss, _ = policy.bc_loss(obs, action, valid, np.random.default_rng(0))
        other, _ = policy.bc_loss(obs, garbage, valid, np.random.default_rng(0))
    if not torch.equal(loss, other):
        raise ContractError(
            "the same loss whatever stands in steps that are not valid",
            f"{float(loss):.6g} and {float(other):.6g}",
            "multiply by valid, and draw random numbers from the generator that bc_loss is given",
        )


def cloning_lowers_its_loss(case: PolicyCase) -> str:
    """A few steps of behaviour cloning lower its loss.

    The last promise to look at, as the weights change.
    """
    policy, (obs, action, valid) = case.policy, case.demonstration()
    trained = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=CLONING_LR)
    losses = []
    for step in range(CLONING_STEPS + 1):
        # The same noise in each step: then the loss is one function of the weights.
        loss, _ = policy.bc_loss(obs, action, valid, np.random.default_rng(0))
        losses.append(float(loss.detach()))
        if step < CLONING_STEPS:
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    policy.zero_grad(set_to_none=True)
    if not losses[-1] < losses[0]:
        raise ContractError(
            f"a lower loss after {CLONING_STEPS} steps of Adam ({CLONING_LR:g}) on one batch",
            f"{losses[0]:.6g} before, {losses[-1]:.6g} after",
            "look whether bc_loss depends on the weights, and on which of them are trained",
        )
    return f"{losses[0]:.4g} to {losses[-1]:.4g} in {CLONING_STEPS} steps"
