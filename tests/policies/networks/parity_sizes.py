"""The files of tests/parity, and networks of the sizes that they describe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from pushcut.policies.networks.context_block import BlockSizes
from pushcut.policies.networks.dit import DiTSizes
from pushcut.policies.networks.gemma import GemmaSizes
from pushcut.policies.networks.groot import GrootSizes
from pushcut.policies.networks.llama import LlamaSizes
from pushcut.policies.networks.openvla import OpenVLASizes
from pushcut.policies.networks.pi0 import Pi0Sizes
from pushcut.policies.networks.qwen3 import Qwen3Sizes
from pushcut.policies.networks.siglip import SiglipSizes
from pushcut.policies.networks.smolvla import SmolVLASizes
from pushcut.policies.networks.vit import ViTSizes

FOLDER = Path(__file__).parents[2] / "parity"
TOLERANCE: Any = {"rtol": 0.0, "atol": 1e-4}


def read(name: str) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Tensor]]:
    """Sizes, weights, and what went in and came out."""
    with safe_open(FOLDER / f"{name}.safetensors", "pt") as file:
        config = json.loads(file.metadata()["config"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    weights = {k[8:]: x for k, x in tensors.items() if k.startswith("weights.")}
    return config, weights, {k[3:]: x for k, x in tensors.items() if k.startswith("io.")}


def pi0_sizes(config: dict[str, Any]) -> Pi0Sizes:
    """Sizes from a plain description: image_size, patch_size, vision, vlm, expert and so on."""
    vision = SiglipSizes(
        **config["vision"], image_size=config["image_size"], patch_size=config["patch_size"]
    )
    return Pi0Sizes(
        vision=vision,
        vlm=GemmaSizes(**config["vlm"]),
        expert=GemmaSizes(**config["expert"]),
        vocab_size=config["vocab_size"],
        chunk=config["chunk"],
        state_dim=config["state_dim"],
        action_dim=config["action_dim"],
        pi05=config["model"] == "pi05",
    )


def smolvla_sizes(config: dict[str, Any]) -> SmolVLASizes:
    """Sizes from a plain description: vision, vlm, expert, image_size and so on."""
    names = ("pixel_shuffle", "self_attention_every", "vocab_size", "chunk", "state_dim")
    return SmolVLASizes(
        vision=SiglipSizes(**config["vision"]),
        vlm=BlockSizes(**config["vlm"]),
        expert=BlockSizes(**config["expert"]),
        action_dim=config["action_dim"],
        image_size=config["image_size"],
        **{name: config[name] for name in names},
    )


def openvla_sizes(config: dict[str, Any]) -> OpenVLASizes:
    """Sizes from a plain description: image_size, dino, siglip, llm, chunk, action_dim, bins."""

    def tower(values: dict[str, Any]) -> ViTSizes:
        names = ("width", "depth", "heads", "mlp", "prefix_tokens")
        return ViTSizes(**{name: values[name] for name in names})

    names = ("image_size", "patch_size", "num_images", "chunk", "action_dim", "vocab_size")
    return OpenVLASizes(
        dino=tower(config["dino"]),
        siglip=tower(config["siglip"]),
        llm=LlamaSizes(**config["llm"]),
        proprio_dim=config["proprio_dim"] if config.get("use_proprio") else 0,
        bins=config["n_action_bins"],
        **{name: config[name] for name in names},
    )


def groot_sizes(metadata: dict[str, Any]) -> GrootSizes:
    """Sizes from config.json as released (``config``) and from Eagle's (``eagle_config``)."""
    config, eagle = json.loads(metadata["config"]), json.loads(metadata["eagle_config"])
    vision, text, head = eagle["vision_config"], eagle["text_config"], config["action_head_cfg"]

    def blocks(values: dict[str, Any]) -> DiTSizes:
        heads, head_dim = values["num_attention_heads"], values["attention_head_dim"]
        return DiTSizes(heads, head_dim, values["num_layers"])

    return GrootSizes(
        vision=SiglipSizes(
            width=vision["hidden_size"],
            depth=vision["num_hidden_layers"],
            mlp=vision["intermediate_size"],
            heads=vision["num_attention_heads"],
            image_size=vision["image_size"],
            patch_size=vision["patch_size"],
        ),
        llm=Qwen3Sizes(
            hidden=text["hidden_size"],
            intermediate=text["intermediate_size"],
            layers=config["backbone_cfg"]["select_layer"],
            heads=text["num_attention_heads"],
            kv_heads=text["num_key_value_heads"],
            head_dim=text["head_dim"],
            vocab_size=text["vocab_size"],
        ),
        image_token=eagle["image_token_index"],
        vl=blocks(head["vl_self_attention_cfg"]),
        dit=blocks(head["diffusion_model_cfg"]),
        dit_output=head["diffusion_model_cfg"]["output_dim"],
        hidden=head["hidden_size"],
        embodiments=head["max_num_embodiments"],
        future_tokens=head["num_target_vision_tokens"],
        positions=head["max_seq_len"],
        chunk=head["action_horizon"],
        state_dim=head["max_state_dim"],
        action_dim=head["action_dim"],
    )
