"""Base of released flow policies: what they compute in."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from pushcut.batch import Evaluation, PolicySample
from pushcut.policies.base import Mode
from pushcut.policies.flow.policy import FlowMatchingPolicy
from pushcut.policies.noise import DecisionNoise
from pushcut.policies.released.policy import ReleasedPolicy
from pushcut.types import Observation


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
