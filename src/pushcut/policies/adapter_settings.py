"""What peft's adapter_config.json says about adapters: their scale, and what changes the base."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pushcut.errors import UserError

HONOURED = frozenset(
    [
        "peft_type",
        "peft_version",
        "auto_mapping",
        "base_model_name_or_path",
        "revision",
        "task_type",
        "inference_mode",
        "r",
        "lora_alpha",
        "lora_dropout",
        "target_modules",
        "exclude_modules",
        "bias",
        "modules_to_save",
        "layers_to_transform",
        "layers_pattern",
        "rank_pattern",
        "alpha_pattern",
        "use_rslora",
        "use_dora",
        "init_lora_weights",
        "runtime_config",
        "ensure_weight_tying",
        "megatron_core",
        "qalora_group_size",
        "loftq_config",
        "eva_config",
        "corda_config",
        "lora_ga_config",
    ]
)
"""Settings that are followed, or that only matter while adapters are made or trained."""

INITS = ("true", "false", "gaussian", "orthogonal", "eva", "none")
"""Beginnings of adapters that leave the base as it was. pissa, olora, corda and others take out of
the base what they put into the adapter: added to the original base, it would count twice."""


def refuse_settings(file: Path, config: Mapping[str, Any]) -> None:
    """Raises UserError for adapters that are not to be added to their base as LoRA is, by name."""
    if (kind := config.get("peft_type", "LORA")) != "LORA":
        raise UserError(f"{file}: adapters of the kind {kind} are unknown; pushcut reads LORA")
    init = str(config.get("init_lora_weights", True)).lower()
    if init not in INITS:
        raise UserError(
            f"{file}: init_lora_weights {init!r} has changed the base that the adapters belong to: "
            "merge them with peft (merge_and_unload), or save them converted to plain LoRA"
        )
    for name, value in config.items():
        if name not in HONOURED and value:
            raise UserError(
                f"{file}: adapters with {name} ({value}) are unknown: merge them with peft "
                "(merge_and_unload)"
            )


def scale_of(config: Mapping[str, Any], layer: str, *, rank: int) -> float:
    """What a layer's product of adapters is multiplied by.

    It is alpha / rank, and alpha / sqrt(rank) for rsLoRA. ValueError where the rank in the file is
    not the one that the configuration gives to the layer.
    """
    wanted = int(_pattern(config, "rank_pattern", layer, config.get("r", rank)))
    if wanted != rank:
        raise ValueError(f"{layer} has rank {rank}, by its configuration {wanted}")
    alpha = float(_pattern(config, "alpha_pattern", layer, config["lora_alpha"]))
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _pattern(config: Mapping[str, Any], name: str, layer: str, default: Any) -> Any:
    """The value of the first key that matches a layer's whole name or its end, as peft does it."""
    patterns = config.get(name) or {}
    for key, value in patterns.items():
        if re.match(rf"(.*\.)?({key})$", layer):
            return value
    return default
