"""What policies with action tokens have in common."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pushcut.batch import Evaluation, PolicySample
from pushcut.policies.base import Mode, Policy
from pushcut.policies.noise import DecisionNoise
from pushcut.policies.tokens.head import ActionTokens
from pushcut.policies.value_head import CriticConfig, CriticPlacement, make_value_head
from pushcut.transfers import to_device
from pushcut.types import Observation


class TokenPolicy(Policy):
    """Draws the tokens of a chunk at a temperature, which belongs to acting, not to the weights."""

    critic_sees: CriticPlacement = "vlm"
    """Where a critic looks."""
    critic_places: tuple[CriticPlacement, ...] = ("vlm",)
    """Where it can look."""

    @property
    @abstractmethod
    def prefix_width(self) -> int:
        """Size of the features that a critic sees."""

    @property
    @abstractmethod
    def temperature(self) -> float:
        """Both sampling and evaluating use softmax(logits / temperature)."""

    @abstractmethod
    def explore(self, temperature: float) -> None:
        """Sets the sampling temperature; it is not saved with the policy."""

    def add_critic(self, config: CriticConfig, *, seed: int) -> None:
        """The critic sees the tokens of the observation, or the last of them."""
        if config.placement not in self.critic_places:
            lack = {"expert": "action-token policies have no action expert"}.get(
                config.placement, f"no critic can look at the {config.placement} of this policy"
            )
            raise ValueError(f"{lack}: --critic.placement {' or '.join(self.critic_places)}")
        self.critic_sees = config.placement
        head = make_value_head(self.prefix_width, config, seed=seed)
        self.training_parts["critic"] = head.to(self.device)


class ParallelTokenPolicy(TokenPolicy):
    """Decodes the tokens of a chunk in parallel: one distribution over bins for each."""

    tokens: ActionTokens
    """Bins and temperature."""

    @abstractmethod
    def logits(
        self, obs: Observation
    ) -> tuple[Float[Tensor, "b horizon a bins"], Float[Tensor, " b"] | None]:
        """Logits of the bins at temperature 1 in float32, and the value where there is a critic."""

    @abstractmethod
    def normalise(self, action: Float[Tensor, "b h a"]) -> Float[Tensor, "b h a"]:
        """Environment units to [-1, 1]."""

    @abstractmethod
    def denormalise(self, action: Float[Tensor, "b h a"]) -> Float[Tensor, "b h a"]:
        """[-1, 1] to environment units."""

    @property
    def temperature(self) -> float:
        return self.tokens.temperature

    def explore(self, temperature: float) -> None:
        self.tokens = replace(self.tokens, temperature=temperature)

    def spread_targets(self, bins: float) -> None:
        self.tokens = replace(self.tokens, spread=bins)

    def sample(self, obs: Observation, noise: DecisionNoise, mode: Mode) -> PolicySample:
        """Acts on a batch; ``greedy`` takes the most likely bins."""
        # Not inference mode: sharded weights that are gathered in it cannot be trained.
        with torch.no_grad():
            uniform = None
            if mode == "sampled":
                drawn = noise.uniform(self.chunk, self.action_size)
                uniform = to_device(torch.from_numpy(drawn), self.device)
            logits, value = self.logits(obs)
            sample = self.tokens.sample(logits[:, : self.chunk], uniform)
            return replace(sample, actions=self.denormalise(sample.actions), value=value)

    def evaluate(self, obs: Observation, trace: dict[str, Tensor]) -> Evaluation:
        logits, value = self.logits(obs)
        bins = to_device(trace["bins"], self.device)
        evaluation = self.tokens.evaluate(logits[:, : self.chunk], bins)
        return replace(evaluation, value=value)

    def bc_loss(
        self,
        obs: Observation,
        action_chunk: Float[Tensor, "b h a"],
        valid: Bool[Tensor, "b h"],
        generator: np.random.Generator,
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Cross entropy of the demonstrated bins, mean over the valid steps' tokens.

        With ``spread_targets``, of a Gaussian around them.
        """
        target = self.tokens.tokenizer.encode(self.normalise(to_device(action_chunk, self.device)))
        logits, _ = self.logits(obs)
        mask = to_device(valid, self.device).unsqueeze(-1).expand_as(target)
        losses = self.tokens.losses(logits, target)
        count = mask.sum().clamp(min=1)
        loss = (losses * mask).sum() / count
        correct = ((logits.argmax(-1) == target) & mask).sum() / count
        return loss, {"loss": loss.detach(), "accuracy": correct}
