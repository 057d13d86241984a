"""Low-rank adapters (Hu et al. 2021) on parts of a policy, made by the library peft."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pushcut.errors import UserError

LoRAInit = Literal["kaiming", "gaussian"]
"""How the inner matrix of an adapter starts; the outer one is zero."""

NO_PEFT = "LoRA needs the library peft: pip install 'pushcut[lora]'"

BASE = ".base_layer."
"""How peft names the frozen layer inside an adapted one."""


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
    """How adapters are saved: merged into the weights, or separate (released VLAs only). Separate
    files are small and quick to write, but need their checkpoint to stay where it is."""

    def __post_init__(self) -> None:
        if min((self.rank, self.alpha, *(rank for _, rank in self.rank_of))) < 1:
            raise ValueError("ranks and alpha of adapters must be >= 1")


def check_peft() -> None:
    """UserError without peft."""
    if "peft" in sys.modules and sys.modules["peft"] is None or find_spec("peft") is None:
        raise UserError(NO_PEFT)


def add_lora(
    module: nn.Module, *, rank: int, alpha: int, seed: int = 0, init: LoRAInit = "kaiming"
) -> None:
    """Freezes a module and puts an adapter on each of its linear layers.

    An adapter starts at zero: the module computes what it did before. UserError without peft.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise UserError(NO_PEFT) from None
    linear = [name for name, part in module.named_modules() if isinstance(part, nn.Linear)]
    start: Any = "gaussian" if init == "gaussian" else True
    config: Any = LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=linear, init_lora_weights=start
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
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


def merged_state(module: nn.Module) -> dict[str, Tensor]:
    """The state with adapters merged into the frozen layers.

    Sums are made one by one on the host, for a GPU has no room for a second copy, and are
    float32: bfloat16 would round most of a small adapter away.
    """
    state = plain_state(module)
    for name, layer in module.named_modules():
        if isinstance(getattr(layer, "base_layer", None), nn.Linear):
            adapted: Any = layer
            weight: Tensor = adapted.base_layer.weight.detach()
            merged = weight.float() + adapted.get_delta_weight("default").detach().float()
            state[f"{name}.weight"] = merged.cpu()
    return state


def plain_state(module: nn.Module) -> dict[str, Tensor]:
    """The state without adapters, as if they had never been there."""
    return {
        name.replace(BASE, "."): tensor
        for name, tensor in module.state_dict().items()
        if ".lora_" not in name
    }
