"""The critic: a small network on features of the policy, not part of what is saved of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pushcut.policies.precision import full_precision

CriticPlacement = Literal["vlm", "expert", "last-token"]
"""Where a critic looks."""


@dataclass(frozen=True)
class CriticConfig:
    """Where the critic looks and how it is trained; only for algorithms that need one."""

    placement: CriticPlacement = "vlm"
    """Mean of the prefix's visible tokens, or of the action expert's (pi_RL eq. 16); OpenVLA-OFT:
    before the final norm. Last-token: behind it, at the token that the first action follows (RLinf;
    OpenVLA-OFT only)."""
    layers: Literal[1, 4] = 4
    """Linear layers."""
    hidden: tuple[int, int, int] = (512, 256, 128)
    """Sizes of the hidden layers, where there are 4 layers (pi_RL's program: 1024 512 256 for pi0.5
    on LIBERO)."""
    init: Literal["uniform", "kaiming"] = "uniform"
    """How the hidden layers start: torch's default, or normal with variance 2 / outputs and no bias
    (pi_RL's program)."""
    detach: bool = True
    """Keep the critic's gradient out of the policy."""
    lr: float = 1e-3
    """Learning rate of the critic (pi_RL: 1e-4)."""
    scheduled: bool = False
    """Whether the critic's rate follows the warm-up and decay of the policy's (pi_RL's program),
    once the policy is trained; else it is constant."""
    warmup_iterations: int = 0
    """Iterations at the start that train the critic only."""

    def __post_init__(self) -> None:
        if not self.lr > 0:
            raise ValueError(f"lr of the critic must be > 0, got {self.lr}")
        if min(self.hidden) < 1:
            raise ValueError(f"hidden sizes of the critic must be >= 1, got {self.hidden}")
        if self.warmup_iterations < 0:
            raise ValueError(f"warmup_iterations must be >= 0, got {self.warmup_iterations}")


class ValueHead(nn.Module):
    """An MLP from features to a value; the last layer starts at N(0, 0.02) (pi_RL)."""

    def __init__(self, width: int, config: CriticConfig) -> None:
        super().__init__()
        self.detach = config.detach
        sizes = (width, *config.hidden, 1) if config.layers == 4 else (width, 1)
        layers: list[nn.Module] = []
        for size_in, size_out in zip(sizes, sizes[1:], strict=False):
            layers += [nn.Linear(size_in, size_out), nn.ReLU()]
        self.mlp = nn.Sequential(*layers[:-1])
        if config.init == "kaiming":
            for layer in self.mlp:
                if isinstance(layer, nn.Linear):
                    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                    nn.init.zeros_(layer.bias)
        last = self.mlp[-1]
        assert isinstance(last, nn.Linear)
        nn.init.normal_(last.weight, std=0.02)
        nn.init.zeros_(last.bias)

    def forward(self, features: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """Value of each row, in float32."""
        features = features.detach() if self.detach else features
        with full_precision(features):
            return self.mlp(features.float()).squeeze(-1)


def make_value_head(width: int, config: CriticConfig, *, seed: int) -> ValueHead:
    """A fresh head whose weights depend on the seed alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return ValueHead(width, config)
