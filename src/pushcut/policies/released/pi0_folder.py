"""pi0 and pi0.5 folders: LeRobot's and openpi's PyTorch conversion (facts: docs/how-to/vla.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from pushcut.errors import UserError
from pushcut.policies.networks.gemma import GemmaSizes
from pushcut.policies.networks.pi0 import Pi0Network, Pi0Sizes
from pushcut.policies.networks.siglip import SiglipSizes
from pushcut.policies.normalisation import DataStats, NormStats, known
from pushcut.policies.released.adapters import base_of
from pushcut.policies.released.files import read_json
from pushcut.policies.released.lerobot_processors import (
    camera_names,
    read_statistics,
    step_modes,
    usual_mode,
)
from pushcut.policies.released.scaling import Scaling, ScalingKind
from pushcut.policies.released.tensors import (
    Shapes,
    TensorFolder,
    check_names,
    count_blocks,
    fill,
    load_tensors,
    released_shapes,
)

Layout = Literal["lerobot", "openpi"]

LM = "paligemma_with_expert.paligemma.model.language_model."
VISION = "paligemma_with_expert.paligemma.model.vision_tower.vision_model."
EXPERT = "paligemma_with_expert.gemma_expert.model."
WORDS = f"{LM}embed_tokens.weight"
VLM_HEAD = "paligemma_with_expert.paligemma.lm_head.weight"
EXPERT_HEAD = "paligemma_with_expert.gemma_expert.lm_head.weight"

VISION_HEADS = 16
"""Heads of so400m, which no shape tells."""

OPENPI_SLOTS = 3
"""openpi's models take a base camera and one at each wrist."""

LEROBOT_PREFIX = "model."

LEROBOT_OTHERS = ("use_relative_actions", "use_visual_memory", "use_proprioceptive_memory")
"""Settings of newer checkpoints of LeRobot that pushcut does not support."""

_KINDS: dict[str, ScalingKind] = {
    "MEAN_STD": "mean_std",
    "QUANTILES": "quantiles",
    "MIN_MAX": "bounds",
    "IDENTITY": "identity",
}


@dataclass(frozen=True)
class Pi0Facts:
    """Facts about a model that its folder holds besides the weights."""

    layout: Layout
    chunk: int
    """Steps that are predicted."""
    num_steps: int
    max_tokens: int | None
    state_dim: int
    images: tuple[str, ...]
    """Names of its cameras, in its order; empty where it does not say."""
    slots: int
    """Images that the model was trained with, empty ones counted."""
    kinds: Mapping[str, ScalingKind]
    """How "state" and "action" are scaled."""
    statistics: DataStats
    """Statistics of "state" and "action"."""


def plain_name(name: str) -> str:
    """A tensor's name without LeRobot's prefix."""
    return name.removeprefix(LEROBOT_PREFIX)


def sizes_of(shapes: Shapes, facts: Pi0Facts, *, vision_heads: int, path: Path) -> Pi0Sizes:
    """Sizes of the network, from the shapes of its tensors (under plain names)."""
    try:
        pi05 = "time_mlp_in.weight" in shapes
        patches = shapes[f"{VISION}embeddings.position_embedding.weight"][0]
        width, _, patch, _ = shapes[f"{VISION}embeddings.patch_embedding.weight"]
        return Pi0Sizes(
            vision=SiglipSizes(
                width=width,
                depth=count_blocks(shapes, f"{VISION}encoder.layers."),
                mlp=shapes[f"{VISION}encoder.layers.0.mlp.fc1.weight"][0],
                heads=vision_heads,
                image_size=round(patches**0.5) * patch,
                patch_size=patch,
            ),
            vlm=_gemma(shapes, LM),
            expert=_gemma(shapes, EXPERT),
            vocab_size=shapes[WORDS if WORDS in shapes else VLM_HEAD][0],
            chunk=facts.chunk,
            state_dim=facts.state_dim if pi05 else shapes["state_proj.weight"][1],
            action_dim=shapes["action_in_proj.weight"][1],
            pi05=pi05,
        )
    except (KeyError, IndexError, ValueError) as error:
        raise UserError(
            f"{path} is no pi0 or pi0.5: its tensors lack {error}; have such as "
            f"{', '.join(list(shapes)[:2])}"
        ) from None


def _gemma(shapes: Shapes, start: str) -> GemmaSizes:
    first = f"{start}layers.0."
    queries, width = shapes[f"{first}self_attn.q_proj.weight"]
    head_dim = shapes[f"{first}self_attn.k_proj.weight"][0]  # one head of keys
    return GemmaSizes(
        width=width,
        depth=count_blocks(shapes, f"{start}layers."),
        mlp=shapes[f"{first}mlp.gate_proj.weight"][0],
        heads=queries // head_dim,
        kv_heads=1,
        head_dim=head_dim,
    )


def read_facts(path: Path, config: dict[str, Any], statistics: str | None) -> Pi0Facts:
    """Reads the facts of a folder; ``statistics`` names a norm_stats.json elsewhere."""
    try:
        if "type" in config:
            return _lerobot(path, config, statistics)
        return _openpi(path, config, statistics)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path / 'config.json'} does not describe a pi0: {error!r}") from None


def _lerobot(path: Path, config: dict[str, Any], statistics: str | None) -> Pi0Facts:
    if "num_steps" in config or "paligemma_variant" not in config:
        raise UserError(
            f"{path} is a pi0 of LeRobot before 0.4, whose tensors have other names: convert it "
            "with LeRobot's own migration"
        )
    for name in LEROBOT_OTHERS:
        if config.get(name):
            raise UserError(f"{path} has {name}, which pushcut does not know: use one without it")
    inputs = config["input_features"]
    mapping = (config.get("normalization_mapping") or {}) | step_modes(path)
    default = usual_mode(config)
    found = read_statistics(path) if statistics is None else _norm_stats(Path(statistics))
    return Pi0Facts(
        layout="lerobot",
        chunk=int(config["chunk_size"]),
        num_steps=int(config["num_inference_steps"]),
        max_tokens=config.get("tokenizer_max_length"),
        state_dim=int(config["max_state_dim"]),
        images=camera_names(config),
        slots=sum(feature["type"] == "VISUAL" for feature in inputs.values()),
        kinds={
            "state": _kind(mapping.get("STATE", default)),
            "action": _kind(mapping.get("ACTION", default)),
        },
        statistics=found,
    )


def _kind(name: str) -> ScalingKind:
    if name not in _KINDS:
        raise UserError(f"normalization_mapping {name} is unknown; have {', '.join(_KINDS)}")
    return _KINDS[name]


def _openpi(path: Path, config: dict[str, Any], statistics: str | None) -> Pi0Facts:
    tensors = TensorFolder.open(base_of(path))
    pi05 = any("time_mlp_in" in name and "action" not in name for name in tensors.shapes)
    files = sorted(path.rglob("norm_stats.json")) if statistics is None else [Path(statistics)]
    if len(files) > 1:
        raise UserError(
            f"{path} has several norm_stats.json: name one with --policy.released.statistics "
            f"({', '.join(str(file) for file in files)})"
        )
    kind: ScalingKind = "quantiles" if pi05 else "mean_std"
    return Pi0Facts(
        layout="openpi",
        chunk=int(config["action_horizon"]),
        num_steps=10,
        max_tokens=200 if pi05 else 48,
        state_dim=int(config["action_dim"]),
        images=(),
        slots=OPENPI_SLOTS,
        kinds={"state": kind, "action": kind},
        statistics=_norm_stats(files[0]) if files else {},
    )


def _norm_stats(file: Path) -> dict[str, NormStats]:
    content = read_json(file)
    content = content.get("norm_stats", content)
    if "state" not in content or not {"action", "actions"} & content.keys():
        raise UserError(f"{file} has no statistics of state and actions; it has {list(content)}")
    action = content["actions"] if "actions" in content else content["action"]
    try:
        return {
            "state": NormStats.of(content["state"]),
            "action": NormStats.of(action),
        }
    except (TypeError, ValueError) as error:
        raise UserError(f"{file} is damaged: {error}") from None


def with_statistics(
    files: Mapping[str, bytes], facts: Pi0Facts, place: str | None = None
) -> dict[str, bytes]:
    """The small files of openpi's folder with the statistics of ``facts`` and no others.

    ``place``: which of several norm_stats.json it is.
    """
    names = [name for name in files if Path(name).name == "norm_stats.json"]
    place = place or (names[0] if len(names) == 1 else "norm_stats.json")
    kept = {name: content for name, content in files.items() if name not in names}
    return kept | {place: norm_stats_json(facts.statistics)}


def make_scaling(
    kind: ScalingKind,
    statistics: DataStats,
    name: str,
    size: int,
    *,
    layout: Layout,
) -> Scaling:
    """How a layout scales state or action; UserError where the statistics do not fit."""
    if kind == "identity":
        return Scaling.identity(size)
    if name not in statistics:
        raise UserError(
            f"the checkpoint has no statistics of {name}: name a norm_stats.json with "
            "--policy.released.statistics, or fine-tune it with those of your demonstrations first "
            "(`pushcut sft PRESET --policy.path … --statistics data`)"
        )
    found = statistics[name]
    if found.size < size:
        raise UserError(
            f"the checkpoint's statistics of {name} have {found.size} numbers, {size} are needed: "
            "statistics of another robot?"
        )
    cut = found.first(size)
    eps, eps_back = (1e-8, 0.0) if layout == "lerobot" else (1e-6, 1e-6)
    try:
        if kind == "mean_std":
            return Scaling.by_mean(cut, eps=eps, eps_back=eps_back)
        low, high = (cut.q01, cut.q99) if kind == "quantiles" else (cut.min, cut.max)
        return Scaling.by_range(known(low, "lower bounds"), known(high, "upper bounds"), eps=eps)
    except ValueError as error:
        raise UserError(f"{error} ({kind} of {name})") from None


def norm_stats_json(statistics: DataStats) -> bytes:
    """Statistics as openpi's norm_stats.json."""
    content = {
        "state": statistics["state"].by_name(),
        "actions": statistics["action"].by_name(),
    }
    return (json.dumps({"norm_stats": content}, indent=2) + "\n").encode()


def load_network(network: Pi0Network, tensors: TensorFolder) -> set[str]:
    """Fills a network from a folder; returns the names that the folder does without."""
    wanted = released_shapes(network)
    pi05 = network.sizes.pi05
    optional = {EXPERT_HEAD, WORDS if VLM_HEAD in tensors.shapes else VLM_HEAD}
    check_names(
        tensors,
        wanted,
        optional=optional,
        cause="is it a pi0.5 read as a pi0, or a checkpoint of another program? This one is taken "
        f"for a {'pi0.5' if pi05 else 'pi0'}",
    )
    load_tensors(network, tensors)
    omitted = wanted.keys() - tensors.shapes.keys()
    if EXPERT_HEAD not in wanted:  # a policy, which has put aside what it does not use
        return set(omitted)
    head, words = network.vlm.lm_head, network.vlm.model.language_model.embed_tokens
    assert isinstance(head, nn.Linear)
    if WORDS in omitted:
        fill(words, "weight", head.weight.detach())
    if omitted & {WORDS, VLM_HEAD} or torch.equal(head.weight, words.weight):
        network.tie()
    expert = network.paligemma_with_expert.gemma_expert
    if EXPERT_HEAD in omitted and expert.lm_head.weight.is_meta:
        zeros = torch.zeros(wanted[EXPERT_HEAD])  # takes no memory before it is written to
        expert.lm_head.weight = nn.Parameter(zeros, requires_grad=False)
    return set(omitted)
