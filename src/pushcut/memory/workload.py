"""What is to be planned for: a network, what of it is trained, and batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pushcut.policies.flow.transitions import MDP
from pushcut.policies.lora import LoRAConfig

NetworkKind = Literal["pi0", "pi05", "openvla-oft"]

Part = Literal["expert", "lora", "all"]

PARTS: dict[NetworkKind, tuple[str, ...]] = {
    "pi0": ("language", "vision", "expert"),
    "pi05": ("language", "vision", "expert"),
    "openvla-oft": ("language", "vision", "projector"),
}
"""What can have adapters."""

PROMPT_TOKENS: dict[NetworkKind, int] = {"pi0": 48, "pi05": 200, "openvla-oft": 40}
"""Prompts of pi0 and pi0.5 are padded to these; OpenVLA's are rarely longer."""


@dataclass(frozen=True)
class Workload:
    """One GPU's share of reinforcement learning on a released VLA."""

    network: NetworkKind
    """Which VLA."""
    trained: Part = "expert"
    """Of pi0: the action expert; it and low-rank adapters on the VLM; or all. Of OpenVLA-OFT:
    adapters, or all."""
    lora: LoRAConfig = LoRAConfig()
    """Ranks of the adapters. Where it names no parts: the language model of pi0; all three parts
    of OpenVLA-OFT."""
    images: int = 2
    """Cameras that the network is shown."""
    prompt_tokens: int | None = None
    """Length that prompts are padded to. None: 48 for pi0, 200 for pi0.5, 40 for OpenVLA-OFT."""
    horizon: int | None = None
    """Steps that are predicted. None: 50 for pi0 and pi0.5, ``chunk`` for OpenVLA-OFT."""
    chunk: int = 8
    """Steps that are executed."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Of parameters and activations (pi0 keeps norms and the actions' projections in float32)."""
    master_weights: bool = False
    """With bfloat16: trained parameters, gradients and AdamW in float32, beside the bfloat16 copy
    that computes."""
    gradient_checkpointing: bool = False
    """Blocks keep their inputs only and are computed again in the backward pass."""
    micro_batch: int = 32
    """Decisions per forward and backward, on each GPU."""
    inference_batch: int = 32
    """Observations per forward of a rollout, on each GPU."""
    decisions: int = 2048
    """Decisions of a rollout, all GPUs of the machine together."""
    num_steps: int = 4
    """Denoising steps K."""
    mdp: MDP = "hybrid"
    """Flow policies: hybrid chains are evaluated at one point, the others at K."""
    keep_prefix: bool = False
    """pi0 with a frozen VLM: a rollout keeps keys and values of each observation."""
    critic_width: int = 0
    """Size of the features that a critic sees; 0 without a critic."""
    reference: bool = False
    """Whether a frozen copy of the policy is held, for a KL."""
    overlap: bool = False
    """Whether the next rollout is played, with a copy of the weights, during an update."""
    gpus: int = 1
    """GPUs that share the work (N)."""
    sharding: Literal["replicated", "full-shard"] = "replicated"
    """Every GPU holds everything; or parameters, gradients and AdamW are divided by N (FSDP)."""
    rollouts: Literal["gathered", "in-step"] = "gathered"
    """Sharded weights are whole while episodes are played, or gathered block by block."""
    image: tuple[int, int] = (256, 256)
    """Height and width of a camera's image, as the rollout keeps it."""
    state_size: int = 8
    """Length of the proprioceptive state."""
    action_size: int = 7
    """Length of an action."""

    def __post_init__(self) -> None:
        counts = (
            "images", "prompt_tokens", "horizon", "chunk", "micro_batch",
            "inference_batch", "decisions", "num_steps", "gpus", "action_size",
        )  # fmt: skip
        for name in counts:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be >= 1, got {value}")
        if self.network == "openvla-oft" and self.trained == "expert":
            raise ValueError("OpenVLA-OFT has no action expert: trained must be 'lora' or 'all'")
        if self.master_weights and self.dtype == "float32":
            raise ValueError("master weights are a copy of bfloat16 ones: dtype must be 'bfloat16'")
        if self.keep_prefix and not self.frozen_vlm:
            raise ValueError("a kept prefix needs a frozen VLM: pi0 or pi05 with trained 'expert'")

        for part in self.ranks:
            if part not in PARTS[self.network]:
                have = ", ".join(PARTS[self.network])
                raise ValueError(f"no part {part!r} for adapters; {self.network} has {have}")

    @property
    def ranks(self) -> dict[str, int]:
        """Part -> rank of its adapters."""
        if self.trained != "lora":
            return {}
        usual = PARTS[self.network] if self.network == "openvla-oft" else ("language",)
        return dict(self.lora.rank_of) or dict.fromkeys(usual, self.lora.rank)

    @property
    def frozen_vlm(self) -> bool:
        """Whether only the action expert is trained."""
        return self.trained == "expert"

    @property
    def prompt(self) -> int:
        """Tokens of the padded prompt."""
        return self.prompt_tokens or PROMPT_TOKENS[self.network]

    @property
    def element(self) -> int:
        """Bytes of an activation."""
        return 4 if self.dtype == "float32" else 2

    @property
    def points(self) -> int:
        """Points of a denoising chain that the expert sees at once in an update."""
        return 1 if self.mdp == "hybrid" else self.num_steps
