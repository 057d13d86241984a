"""Folders of the released VLAs at their true size, with random weights, as released.

Written in streams: no more than a few megabytes are in memory. Names, shapes, dtypes and small
files are those of LeRobot (pi0, SmolVLA), openpi (pi0.5), NVIDIA (GR00T N1.5) and OpenVLA-OFT's
programs; the tokenizer is a stand-in whose words are single characters.

    python benchmarks/full_size/folders.py pi0 /tmp/pi0 [--layers 8]
"""

from __future__ import annotations

import argparse
import json
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from torch import Tensor, nn

from pushcut.policies.networks.context_block import BlockSizes
from pushcut.policies.networks.dit import DiTSizes
from pushcut.policies.networks.gemma import GemmaSizes
from pushcut.policies.networks.groot import GrootNetwork, GrootSizes
from pushcut.policies.networks.llama import LlamaSizes
from pushcut.policies.networks.meta_init import meta_init
from pushcut.policies.networks.openvla import OpenVLANetwork, OpenVLASizes
from pushcut.policies.networks.pi0 import Pi0Network, Pi0Sizes
from pushcut.policies.networks.qwen3 import Qwen3Sizes
from pushcut.policies.networks.siglip import SiglipSizes
from pushcut.policies.networks.smolvla import SmolVLANetwork, SmolVLASizes
from pushcut.policies.networks.vit import ViTSizes
from pushcut.policies.released.options import ReleasedNetwork

SHARD_BYTES = 5_000_000_000
"""A file of OpenVLA's weights is about this large."""

BLOCK = 1 << 22
"""Random numbers that are drawn; larger tensors repeat them."""

WORD_TABLE = "paligemma_with_expert.paligemma.model.language_model.embed_tokens.weight"
"""Stored once, as the output's words."""

TINY = 0
"""Instead of a number of layers: a network of a few thousand weights, to try the code."""

TINY_PI0 = Pi0Sizes(
    vision=SiglipSizes(width=32, depth=2, mlp=48, heads=16, image_size=28, patch_size=14),
    vlm=GemmaSizes(width=32, depth=2, mlp=48, heads=2, head_dim=16),
    expert=GemmaSizes(width=24, depth=2, mlp=32, heads=2, head_dim=16),
    vocab_size=160,
)
TINY_SMOLVLA = SmolVLASizes(
    vision=SiglipSizes(width=64, depth=2, mlp=48, heads=1, image_size=16, patch_size=4),
    pixel_shuffle=2,
    vlm=BlockSizes(32, 2, 48, heads=2, kv_heads=1, head_dim=64),
    expert=BlockSizes(24, 2, 32, heads=2, kv_heads=1, head_dim=64),
    vocab_size=160,
    image_size=16,
)
TINY_OPENVLA = OpenVLASizes(
    dino=ViTSizes(width=64, depth=3, heads=1, mlp=96, prefix_tokens=5),
    siglip=ViTSizes(width=32, depth=3, heads=16, mlp=48),
    llm=LlamaSizes(hidden=64, intermediate=96, layers=2, heads=4, kv_heads=4, vocab_padded=448),
    patch_size=56,
    vocab_size=384,
)

TINY_GROOT = GrootSizes(
    vision=TINY_PI0.vision,
    llm=Qwen3Sizes(64, 48, layers=2, heads=4, kv_heads=2, head_dim=16, vocab_size=160),
    vl=DiTSizes(heads=1, head_dim=64, depth=1),
    dit=DiTSizes(heads=1, head_dim=48, depth=2),
    dit_output=24,
    hidden=16,
    future_tokens=3,
    positions=20,
)

DTYPES = {torch.bfloat16: "BF16", torch.float32: "F32"}


@dataclass(frozen=True)
class Stored:
    """A tensor of the folder: how it lies in the file."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def numbers(self) -> int:
        return int(torch.Size(self.shape).numel())

    @property
    def nbytes(self) -> int:
        return self.numbers * self.dtype.itemsize


def tokenizer(bos: str, *whole: str) -> bytes:
    """A tokenizer.json with single characters as words, and tokens that no text splits."""
    characters = [chr(code) for code in range(32, 127)] + ["\n"]
    words = {word: index for index, word in enumerate(["<pad>", "<unk>", bos, *characters, *whole])}
    made = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    made.add_special_tokens(list(whole))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    return made.to_str().encode()


def statistics(size: int) -> dict[str, list[float]]:
    """Of a vector whose numbers lie in [-1, 1]."""
    rows = {"mean": 0.0, "std": 0.5, "q01": -1.0, "q99": 1.0, "min": -1.0, "max": 1.0}
    return {name: [value] * size for name, value in rows.items()}


def write_safetensors(path: Path, tensors: Iterable[Stored]) -> None:
    """Random weights of a scale at which activations stay finite, tensor by tensor."""
    tensors, offset = list(tensors), 0
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    for tensor in tensors:
        place = [offset, offset := offset + tensor.nbytes]
        kind = DTYPES[tensor.dtype]
        header[tensor.name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": place}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    block = torch.randn(BLOCK, generator=torch.Generator().manual_seed(0))
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors:
            for piece in pieces(tensor, block):
                file.write(piece.view(torch.uint8).numpy().data)


def pieces(tensor: Stored, block: Tensor) -> Iterator[Tensor]:
    """The numbers of a tensor in its dtype, ``BLOCK`` at a time."""
    fan = tensor.numbers // tensor.shape[0] if len(tensor.shape) > 1 else 1
    scale = fan**-0.5 if len(tensor.shape) > 1 else 0.1
    values = (block * scale).to(tensor.dtype)
    for start in range(0, tensor.numbers, BLOCK):
        yield values[: min(BLOCK, tensor.numbers - start)]


def stored(network: nn.Module, dtype_of: Callable[[str], torch.dtype]) -> list[Stored]:
    """The network's tensors by the names of its own."""
    return [
        Stored(name, tuple(x.shape), dtype_of(name)) for name, x in network.state_dict().items()
    ]


def bfloat16_but(*parts: str) -> Callable[[str], torch.dtype]:
    """The dtype of a tensor by its name: float32 where the name holds one of the parts."""
    return lambda name: torch.float32 if any(part in name for part in parts) else torch.bfloat16


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2))


def write_pi0(folder: Path, layers: int | None) -> None:
    """As LeRobot 0.5 and later: bfloat16, vision, projector and norms in float32."""
    sizes = pi0_sizes(layers, pi05=False)
    config = lerobot_features(224) | {
        "type": "pi0",
        "dtype": "bfloat16",
        "chunk_size": sizes.chunk,
        "n_action_steps": 5,
        "max_state_dim": sizes.state_dim,
        "max_action_dim": sizes.action_dim,
        "num_inference_steps": 10,
        "paligemma_variant": "gemma_2b",
        "action_expert_variant": "gemma_300m",
        "tokenizer_max_length": 48,
    }
    write_json(folder / "config.json", config)
    write_processors(folder, "pi0_new_line_processor")
    with meta_init():
        network = Pi0Network(sizes)
    kept = bfloat16_but("vision_tower", "multi_modal_projector", "norm")
    weights = [
        replace(x, name=f"model.{x.name}") for x in stored(network, kept) if x.name != WORD_TABLE
    ]
    write_safetensors(folder / "model.safetensors", weights)
    (folder / "tokenizer.json").write_bytes(tokenizer("<bos>"))


def write_smolvla(folder: Path, layers: int | None) -> None:
    """As lerobot/smolvla_base: bfloat16, projections and keys of cross attention in float32."""
    sizes = TINY_SMOLVLA if layers == TINY else SmolVLASizes()
    if layers:
        vlm, expert = replace(sizes.vlm, depth=layers), replace(sizes.expert, depth=layers)
        sizes = replace(sizes, vlm=vlm, expert=expert)
    config = lerobot_features(256) | {
        "type": "smolvla",
        "chunk_size": sizes.chunk,
        "n_action_steps": 5,
        "max_state_dim": sizes.state_dim,
        "max_action_dim": sizes.action_dim,
        "num_steps": 10,
        "resize_imgs_with_padding": [sizes.image_size] * 2,
        "attention_mode": "cross_attn",
        "self_attn_every_n_layers": sizes.self_attention_every,
        "num_vlm_layers": sizes.vlm.depth,
        "tokenizer_max_length": 48,
        "vlm_model_name": "HuggingFaceTB/SmolVLM2-500M-Video-Instruct",
    }
    write_json(folder / "config.json", config)
    write_processors(folder, "smolvla_new_line_processor")
    with meta_init():
        network = SmolVLANetwork(sizes)
    cross = [
        f"lm_expert.layers.{i}.self_attn.{part}_proj"
        for i in range(sizes.expert.depth)
        if not sizes.sees_actions(i)
        for part in "kv"
    ]
    outside = ("state_proj", "action_in_proj", "action_out_proj", "action_time_mlp")
    weights = [
        replace(x, name=f"model.{x.name}") for x in stored(network, bfloat16_but(*cross, *outside))
    ]
    write_safetensors(folder / "model.safetensors", weights)
    (folder / "tokenizer.json").write_bytes(tokenizer("<|im_start|>"))


def lerobot_features(image_size: int) -> dict[str, Any]:
    """Features of a LeRobot policy for LIBERO, and how they are scaled."""
    images = {
        f"observation.images.{camera}": {"type": "VISUAL", "shape": [3, image_size, image_size]}
        for camera in ("agentview", "wrist")
    }
    return {
        "input_features": images | {"observation.state": {"type": "STATE", "shape": [8]}},
        "output_features": {"action": {"type": "ACTION", "shape": [7]}},
        "normalization_mapping": dict(VISUAL="IDENTITY", STATE="MEAN_STD", ACTION="MEAN_STD"),
    }


def write_processors(folder: Path, prompt: str) -> None:
    """The steps before a LeRobot policy, with LIBERO's sizes, and their statistics."""
    state_file = "policy_preprocessor_step_5_normalizer_processor.safetensors"
    steps = [
        {"registry_name": "to_batch_processor", "config": {}},
        {"registry_name": prompt, "config": {}},
        {"registry_name": "normalizer_processor", "config": {}, "state_file": state_file},
    ]
    write_json(folder / "policy_preprocessor.json", {"name": "policy_preprocessor", "steps": steps})
    numbers = {
        f"{feature}.{name}": torch.tensor(values)
        for feature, size in (("observation.state", 8), ("action", 7))
        for name, values in statistics(size).items()
    }
    save_file(numbers, folder / state_file)


def write_pi05(folder: Path, layers: int | None) -> None:
    """As openpi's conversion, with its assets beside the weights."""
    sizes = replace(pi0_sizes(layers, pi05=True), chunk=10)
    config = {
        "action_dim": sizes.action_dim,
        "action_horizon": sizes.chunk,
        "paligemma_variant": "gemma_2b",
        "action_expert_variant": "gemma_300m",
        "precision": "bfloat16",
    }
    write_json(folder / "config.json", config)
    assets = folder / "assets" / "someone" / "libero"
    assets.mkdir(parents=True)
    stats = {"norm_stats": {"state": statistics(8), "actions": statistics(7)}}
    write_json(assets / "norm_stats.json", stats)
    with meta_init():
        network = Pi0Network(sizes)
    kept = bfloat16_but("norm", "patch_embedding", "position_embedding")
    weights = [x for x in stored(network, kept) if x.name != WORD_TABLE]
    write_safetensors(folder / "model.safetensors", weights)
    (folder / "tokenizer.json").write_bytes(tokenizer("<bos>"))


def pi0_sizes(layers: int | None, *, pi05: bool) -> Pi0Sizes:
    sizes = replace(TINY_PI0 if layers == TINY else Pi0Sizes(), pi05=pi05)
    if layers is None or layers == TINY:
        return sizes
    vlm, expert = replace(sizes.vlm, depth=layers), replace(sizes.expert, depth=layers)
    return replace(sizes, vlm=vlm, expert=expert)


def write_openvla_oft(folder: Path, layers: int | None) -> None:
    """As OpenVLA-OFT's programs: bfloat16 in shards with an index."""
    sizes = TINY_OPENVLA if layers == TINY else OpenVLASizes()
    if layers:
        sizes = replace(sizes, llm=replace(sizes.llm, layers=layers))
    mask = [True] * (sizes.action_dim - 1) + [False]
    stats = {"action": statistics(sizes.action_dim) | {"mask": mask}}
    text = {"model_type": "llama", "vocab_size": sizes.llm.vocab_padded}
    config = {
        "architectures": ["OpenVLAForActionPrediction"],
        "model_type": "openvla",
        "n_action_bins": sizes.bins,
        "pad_to_multiple_of": sizes.llm.vocab_padded - sizes.vocab_size,
        "norm_stats": {"libero_spatial": stats},
        "text_config": text | {"num_attention_heads": sizes.llm.heads},
    }
    write_json(folder / "config.json", config)
    with meta_init():
        network = OpenVLANetwork(sizes)
    write_shards(folder, stored(network, lambda _: torch.bfloat16))
    (folder / "tokenizer.json").write_bytes(tokenizer("<s>"))


def write_groot(folder: Path, layers: int | None) -> None:
    """As NVIDIA's program: bfloat16 in shards with an index, the word table stored once."""
    sizes = TINY_GROOT if layers == TINY else GrootSizes()
    if layers:
        sizes = replace(sizes, llm=replace(sizes.llm, layers=layers))
    head = {
        "action_horizon": sizes.chunk,
        "num_inference_timesteps": 4,
        "diffusion_model_cfg": {"attention_head_dim": sizes.dit.head_dim},
        "vl_self_attention_cfg": {"attention_head_dim": sizes.vl.head_dim},
    }
    config = {"model_type": "gr00t_n1_5", "action_head_cfg": head, "backbone_cfg": {}}
    write_json(folder / "config.json", config)
    parts = {"state": {"arm": 6, "gripper": 2}, "action": {"arm": 6, "gripper": 1}}
    video = dict.fromkeys(("image", "wrist_image"), {"resolution": [256, 256]})
    entry = {
        "statistics": {
            vector: {name: statistics(size) for name, size in own.items()}
            for vector, own in parts.items()
        },
        "modalities": {"video": video, **{vector: {} for vector in parts}},
    }
    (folder / "experiment_cfg").mkdir()
    write_json(folder / "experiment_cfg" / "metadata.json", {"libero_franka": entry})
    with meta_init():
        network = GrootNetwork(sizes)
    weights = stored(network, lambda _: torch.bfloat16)
    write_shards(folder, [x for x in weights if "lm_head" not in x.name])
    whole = ("<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>")
    (folder / "tokenizer.json").write_bytes(tokenizer("<|im_start|>", *whole))


def write_shards(folder: Path, tensors: Iterable[Stored]) -> None:
    """Files of about ``SHARD_BYTES`` and their index."""
    shards: list[list[Stored]] = [[]]
    for tensor in tensors:
        if sum(x.nbytes for x in shards[-1]) + tensor.nbytes > SHARD_BYTES:
            shards.append([])
        shards[-1].append(tensor)
    places: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        write_safetensors(folder / name, shard)
        places |= {tensor.name: name for tensor in shard}
    total = sum(x.nbytes for shard in shards for x in shard)
    index = {"metadata": {"total_size": total}, "weight_map": places}
    write_json(folder / "model.safetensors.index.json", index)


WRITERS: dict[ReleasedNetwork, Callable[[Path, int | None], None]] = {
    "pi0": write_pi0,
    "pi05": write_pi05,
    "smolvla": write_smolvla,
    "openvla-oft": write_openvla_oft,
    "groot": write_groot,
}


def write(network: ReleasedNetwork, folder: Path, layers: int | None = None) -> Path:
    """Writes the folder; ``layers`` of the language model (and the expert): fewer than released."""
    folder.mkdir(parents=True)
    WRITERS[network](folder, layers)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", choices=WRITERS)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--layers", type=int, help="of the language model; default: as released, 0: tiny"
    )
    options = parser.parse_args()
    write(options.network, options.folder, options.layers)


if __name__ == "__main__":
    main()
