"""What is to be planned for: a training run of a released VLA, and the GPUs that share it."""

from __future__ import annotations

from dataclasses import dataclass

from pushcut.algorithms.ppo import PPO
from pushcut.config import TrainConfig
from pushcut.policies.released.options import ReleasedConfig, ReleasedNetwork
from pushcut.policies.source import FlowPolicySource, TokenPolicySource

PROMPT_TOKENS: dict[ReleasedNetwork, int] = {"pi0": 48, "pi05": 200, "openvla-oft": 40}
"""Prompts of pi0 and pi0.5 are padded to these; OpenVLA's are rarely longer."""


@dataclass(frozen=True)
class Workload:
    """A training run of a released VLA on the GPUs of one machine."""

    network: ReleasedNetwork
    """Which VLA, at its released size."""
    train: TrainConfig
    gpus: int = 1
    """GPUs that share the work."""

    def __post_init__(self) -> None:
        if self.gpus < 1:
            raise ValueError(f"gpus must be >= 1, got {self.gpus}")
        has_flow = isinstance(self.train.policy, FlowPolicySource)
        if has_flow != (self.network != "openvla-oft"):
            kind = "a flow policy" if has_flow else "a policy of action tokens"
            raise ValueError(f"the run trains {kind}, which {self.network} is not")

    @property
    def released(self) -> ReleasedConfig:
        """How the checkpoint is read."""
        return self.train.policy.released

    @property
    def trains_all(self) -> bool:
        """Whether the whole network is trained."""
        source = self.train.policy
        if isinstance(source, TokenPolicySource):
            return source.trained == "all"
        return source.trained == "all"

    @property
    def frozen_prefix(self) -> bool:
        """Whether the action expert alone is trained, so that the VLM is read without gradients."""
        source = self.train.policy
        return isinstance(source, FlowPolicySource) and source.trained == "expert"

    @property
    def keep_prefix(self) -> bool:
        """Whether a rollout keeps what the VLM made of each observation."""
        source = self.train.policy
        return isinstance(source, FlowPolicySource) and source.keep_prefix and self.frozen_prefix

    @property
    def lora_ranks(self) -> dict[str, int]:
        """Part -> rank of its adapters."""
        source = self.train.policy
        if self.trains_all or self.frozen_prefix:
            return {}
        flow = isinstance(source, FlowPolicySource)
        usual = ("language",) if flow else ("language", "vision", "projector")
        return dict(source.lora.rank_of) or dict.fromkeys(usual, source.lora.rank)

    @property
    def sharded(self) -> bool:
        """Whether parameters, gradients and AdamW's moments are divided among the GPUs."""
        return self.gpus > 1 and self.train.ranks.weights == "sharded"

    @property
    def images(self) -> int:
        """Images that the network is shown."""
        return len(self.released.cameras or ("camera",))

    @property
    def image_size(self) -> int:
        """Height and width of an image, as a rollout keeps it."""
        return self.released.image_size or 256

    @property
    def chunk(self) -> int:
        """Steps that are executed."""
        return self.released.chunk or 8

    @property
    def points(self) -> int:
        """Points of a denoising chain that the expert sees at once in an update."""
        source = self.train.policy
        if not isinstance(source, FlowPolicySource) or source.formulation == "hybrid":
            return 1
        return source.steps

    @property
    def decisions(self) -> int:
        """The most decisions of an iteration: all episodes up to the time limit."""
        algorithm = self.train.algorithm
        limit = -(-self.train.env.spec.max_steps // self.chunk)
        if isinstance(algorithm, PPO):
            return algorithm.episodes * (algorithm.stream_decisions or limit)
        return algorithm.max_groups * algorithm.group_size * limit
