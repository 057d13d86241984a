"""Networks of the sizes that the files of tests/parity describe."""

from __future__ import annotations

from typing import Any

from pushcut.policies.networks.gemma import GemmaSizes
from pushcut.policies.networks.llama import LlamaSizes
from pushcut.policies.networks.openvla import OpenVLASizes
from pushcut.policies.networks.pi0 import Pi0Sizes
from pushcut.policies.networks.siglip import SiglipSizes
from pushcut.policies.networks.vit import ViTSizes


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
