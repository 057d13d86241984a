"""Base of released flow policies: what they compute in, and states that are scaled on the host."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pushcut.batch import Evaluation, PolicySample
from pushcut.policies.base import Mode
from pushcut.policies.flow.policy import FlowMatchingPolicy
from pushcut.policies.noise import DecisionNoise
from pushcut.policies.released.policy import ReleasedPolicy
from pushcut.policies.released.scaling import Scaling
from pushcut.types import TO_BORDER, Gripper, Observation


class ReleasedFlowPolicy(ReleasedPolicy, FlowMatchingPolicy):
    """A flow policy that is read from a folder of others."""

    def sample(self, obs: Observation, noise: DecisionNoise, mode: Mode) -> PolicySample:
        """Acts on a batch; ``greedy`` follows the ODE from the row's noise."""
        with self.computing():
            return super().sample(obs, noise, mode)

    def evaluate(self, obs: Observation, trace: dict[str, Tensor]) -> Evaluation:
        with self.computing():
            return super().evaluate(obs, trace)

    def bc_loss(
        self,
        obs: Observation,
        action_chunk: Float[Tensor, "b h a"],
        valid: Bool[Tensor, "b h"],
        generator: np.random.Generator,
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Conditional flow matching over the whole predicted chunk."""
        with self.computing():
            return super().bc_loss(obs, action_chunk, valid, generator)


def scaled_on_host(scaling: Scaling, obs: Observation) -> Float[Tensor, "b s"]:
    """The state in the network's units, where it was observed."""
    return scaling.scale(torch.from_numpy(np.ascontiguousarray(obs.state)))


def from_border(action: Float[Tensor, "b h a"], gripper: Gripper) -> Float[Tensor, "b h a"]:
    """Actions whose gripper command is written in a checkpoint's convention."""
    factor, offset = TO_BORDER[gripper]
    action = action.clone()
    action[..., -1] = (action[..., -1] - offset) / factor
    return action


def to_border(action: Float[Tensor, "b h a"], gripper: Gripper) -> Float[Tensor, "b h a"]:
    """Actions of a checkpoint with the gripper command in pushcut's convention: +1 opens."""
    factor, offset = TO_BORDER[gripper]
    action = action.clone()
    action[..., -1] = action[..., -1] * factor + offset
    return action
