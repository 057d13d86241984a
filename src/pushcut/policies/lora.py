"""Low-rank adapters (Hu et al. 2021) on parts of a policy, made by the library peft."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pushcut.errors import UserError
from pushcut.policies.tensor_files import Later

LoRAInit = Literal["kaiming", "gaussian"]
"""How the inner matrix of an adapter starts; the outer one is zero."""

NO_PEFT = "LoRA needs the library peft: pip install 'pushcut[lora]'"

BASE = ".base_layer."
"""How peft names the frozen layer inside an adapted one."""

ADAPTER = ".lora_"
"""Part of the names of an adapter's own weights."""


@dataclass(frozen=True)
class LoRAConfig:
    """Low-rank adapters; they need pushcut[lora]."""

    rank: int = 32
    """Rank of the adapters."""
    alpha: int = 32
    """The adapters' output is scaled by alpha / rank."""
    rank_of: tuple[tuple[str, int], ...] = ()
    """Ranks of single parts, such as language 16 expert 32. The parts are language, vision,
    projector, expert. Empty means the policy's usual parts, all with ``rank``. What pi_RL's program
    adapts of pi0 and pi0.5 is language and vision."""
    init: LoRAInit = "kaiming"
    """How the inner matrix starts: uniform after Kaiming (peft's default), or normal with standard
    deviation 1 / rank (pi_RL's program)."""
    saved: Literal["merged", "separate"] = "merged"
    """How the policy at the end has its adapters: merged into the weights, or separate (released
    VLAs only). Separate files are small, but need the checkpoint that they began with to stay where
    it is. The checkpoints of a run have them apart either way."""

    def __post_init__(self) -> None:
        if min((self.rank, self.alpha, *(rank for _, rank in self.rank_of))) < 1:
            raise ValueError("ranks and alpha of adapters must be >= 1")


def has_peft() -> bool:
    """Whether peft is installed."""
    blocked = "peft" in sys.modules and sys.modules["peft"] is None
    return not blocked and find_spec("peft") is not None


def check_peft() -> None:
    """UserError without peft."""
    if not has_peft():
        raise UserError(NO_PEFT)


def add_lora(
    module: nn.Module, *, rank: int, alpha: int, seed: int = 0, init: LoRAInit = "kaiming"
) -> None:
    """Freezes a module and puts an adapter on each of its linear layers.

    An adapter starts at zero: the module computes what it did before. UserError without peft.
    """
    linear = [name for name, part in module.named_modules() if isinstance(part, nn.Linear)]
    start: Any = "gaussian" if init == "gaussian" else True
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        _inject(module, r=rank, lora_alpha=alpha, target_modules=linear, init_lora_weights=start)


def wear_adapters(module: nn.Module, ranks: Mapping[str, int]) -> None:
    """Puts adapters of these ranks on the layers of these names, whose numbers somebody else sets.

    UserError without peft.
    """
    _inject(
        module,
        r=max(ranks.values()),
        lora_alpha=max(ranks.values()),
        # Expressions of whole names: peft takes a name for the end of one.
        target_modules="|".join(map(re.escape, ranks)),
        rank_pattern={f"^{re.escape(name)}": rank for name, rank in ranks.items()},
        init_lora_weights=False,
    )


def _inject(module: nn.Module, **settings: Any) -> None:
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise UserError(NO_PEFT) from None
    config: Any = LoraConfig(**settings)
    inject_adapter_in_model(config, module)


def adapt(
    parts: Mapping[str, nn.Module],
    ranks: Mapping[str, int],
    *,
    alpha: int,
    seed: int = 0,
    init: LoRAInit = "kaiming",
) -> None:
    """Adds adapters of a given rank to each of some parts and freezes what they adapt."""
    for name, rank in ranks.items():
        if name not in parts:
            raise UserError(f"no part {name!r} for adapters; this policy has {', '.join(parts)}")
        add_lora(parts[name], rank=rank, alpha=alpha, seed=seed, init=init)


def adapter_parameters(module: nn.Module) -> Iterator[nn.Parameter]:
    """The trained parameters of all adapters."""
    return (parameter for name, parameter in module.named_parameters() if "lora_" in name)


def adapted_layers(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """The layers with adapters, by their names in the module."""
    for name, layer in module.named_modules():
        if isinstance(getattr(layer, "base_layer", None), nn.Linear):
            yield name, layer


def with_adapter(weight: Tensor, layer: Any) -> Later:
    """A weight and the adapter of its layer, added on the host once they are written.

    A GPU has no room for a second copy. The sum is float32: bfloat16 would round most of a small
    adapter away.
    """

    def add() -> Tensor:
        delta = layer.get_delta_weight("default").detach()
        return weight.detach().to("cpu", torch.float32) + delta.to("cpu", torch.float32)

    return Later(weight.shape, torch.float32, add)


def plain_state(module: nn.Module) -> dict[str, Tensor]:
    """The state without adapters, as if they had never been there."""
    return {
        name.replace(BASE, "."): tensor
        for name, tensor in module.state_dict().items()
        if ADAPTER not in name
    }
