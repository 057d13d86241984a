"""The protocol of an algorithm: a frozen dataclass of hyper-parameters with the method."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float, Int
from torch import Tensor

from pushcut.batch import Advantages, Evaluation, Minibatch, Rollout


@runtime_checkable
class Algorithm(Protocol):
    """What the trainer, the scheduler and the learner ask of an algorithm."""

    @property
    def group_size(self) -> int:
        """Episodes per initial state."""
        ...

    @property
    def groups(self) -> int:
        """Groups that an iteration trains on."""
        ...

    @property
    def max_groups(self) -> int:
        """Groups that an iteration samples at most."""
        ...

    @property
    def stream_decisions(self) -> int:
        """Decisions of each stream of episodes; 0 plays whole episodes."""
        ...

    @property
    def needs_reference(self) -> bool:
        """Whether ``loss`` wants the log-probabilities of a frozen copy of the policy."""
        ...

    @property
    def needs_critic(self) -> bool:
        """Whether ``advantages`` wants the values of a critic."""
        ...

    @property
    def needs_final_values(self) -> bool:
        """Whether ``advantages`` wants the critic's value of where an episode was cut short."""
        ...

    @property
    def whole_episodes(self) -> bool:
        """Whether minibatches must hold whole episodes, or may hold any decisions."""
        ...

    def accepts(self, successes: int) -> bool:
        """Whether a finished group of ``group_size`` episodes teaches anything."""
        ...

    def select(self, rollout: Rollout) -> Rollout:
        """The episodes to train on."""
        ...

    def advantages(self, rollout: Rollout) -> Advantages:
        """The advantage of each decision, and the critic's targets."""
        ...

    def weights(
        self, valid: Bool[Tensor, "n k h a"], episode_id: Int[Tensor, " n"]
    ) -> Float[Tensor, "n k hu au"]:
        """The weight of each unit among the decisions of one optimiser step."""
        ...

    def loss(
        self, evaluation: Evaluation, batch: Minibatch
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Loss of some decisions (terms add up over micro-batches) and metrics likewise."""
        ...
