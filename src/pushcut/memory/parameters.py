"""Bytes of parameters, counted on networks that are built without memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from pushcut.memory.workload import Workload
from pushcut.policies.networks.gemma import GemmaBlock
from pushcut.policies.networks.llama import LlamaBlock
from pushcut.policies.networks.meta_init import meta_init
from pushcut.policies.networks.openvla import OpenVLANetwork, OpenVLASizes
from pushcut.policies.networks.pi0 import Pi0Network, Pi0Sizes, stays_float32
from pushcut.policies.networks.siglip import SiglipBlock
from pushcut.policies.networks.vit import ViTBlock
from pushcut.policies.precision import Compute
from pushcut.policies.value_head import CriticConfig, ValueHead

BLOCKS = (GemmaBlock, LlamaBlock, SiglipBlock, ViTBlock)

Network = Pi0Network | OpenVLANetwork
Sizes = Pi0Sizes | OpenVLASizes


@dataclass(frozen=True)
class Parameters:
    """Bytes of a network's parameters, all of them on one GPU."""

    trained: int
    frozen: int
    learning: int
    """Of the trained ones, those that the loss depends on: they have gradients and AdamW's
    moments, of their own type."""
    copies: int
    """What autocast makes of trained float32 weights of linear layers and convolutions."""
    largest: int
    """The largest weight inside the blocks that has a gradient."""
    embedding: int
    """The largest weight with a gradient outside of blocks."""
    block: int
    """All of the largest block, in what it computes in: FSDP's unit."""
    root: int
    """All outside of blocks, as they are kept: FSDP gathers them so."""
    acting: int
    """Everything, the blocks in what they compute in."""


def released_sizes(workload: Workload) -> Sizes:
    """The released network, with the workload's horizon and images."""
    if workload.network == "openvla-oft":
        return OpenVLASizes(
            num_images=workload.images,
            chunk=workload.horizon or workload.chunk,
            action_dim=workload.action_size,
        )
    horizon = workload.horizon or Pi0Sizes().chunk
    return Pi0Sizes(chunk=horizon, pi05=workload.network == "pi05")


def count_parameters(workload: Workload, sizes: Sizes) -> Parameters:
    """Counts on the meta device, in the types and with the gradients of the workload."""
    network = meta_network(workload, sizes)
    named = dict(network.named_parameters())
    idle = set(never_learning(network))
    trained = {name: p for name, p in named.items() if p.requires_grad}
    learning = {name: p for name, p in trained.items() if name not in idle}
    inside = {id(p) for block in blocks_of(network) for p in block.parameters()}
    adapters = adapter_bytes(network, workload)
    critic = critic_bytes(workload.critic_width)
    root = sum(size_of(p) for p in named.values() if id(p) not in inside)
    return Parameters(
        trained=adapters + critic + sum(map(size_of, trained.values())),
        frozen=sum(size_of(p) for p in named.values() if not p.requires_grad),
        learning=adapters + critic + sum(map(size_of, learning.values())),
        copies=cast_copies(network, workload, idle) + adapters // 2 * workload.master_weights,
        largest=max((size_of(p) for p in learning.values() if id(p) in inside), default=0),
        embedding=max((size_of(p) for p in learning.values() if id(p) not in inside), default=0),
        block=max(computing_bytes(block.parameters(), workload) for block in blocks_of(network)),
        root=root,
        acting=root
        + computing_bytes((p for p in named.values() if id(p) in inside), workload)
        + adapters // (1 + workload.master_weights)
        + critic,
    )


def meta_network(workload: Workload, sizes: Sizes) -> Network:
    """The network without memory, cast as a policy casts it; adapters are left out."""
    compute = Compute(workload.dtype, workload.master_weights)
    backbone = workload.trained == "all"
    with meta_init():
        network = OpenVLANetwork(sizes) if isinstance(sizes, OpenVLASizes) else Pi0Network(sizes)
    if isinstance(network, OpenVLANetwork):
        if not backbone:
            network.requires_grad_(False)
        compute.cast(network, lambda _: False)
        return network
    network.tie()
    network.vlm.requires_grad_(backbone)
    if "expert" in workload.ranks:
        network.expert.layers.requires_grad_(False)
    compute.cast(network, stays_float32)
    return network


def never_learning(network: Network) -> Iterator[str]:
    """Names of trained parameters that no action depends on.

    Of pi0's VLM the last block only makes keys and values.
    """
    if isinstance(network, OpenVLANetwork):
        return
    language = network.vlm.model.language_model
    last = f"layers.{len(language.layers) - 1}."
    unused = ("self_attn.q_proj", "self_attn.o_proj", "mlp", "post_attention_layernorm")
    ends = (*(last + part for part in unused), "norm.")
    path = "paligemma_with_expert.paligemma.model.language_model."
    for name, _ in language.named_parameters():
        if name.startswith(ends):
            yield path + name


def blocks_of(network: nn.Module) -> list[nn.Module]:
    """All transformer blocks."""
    return [module for module in network.modules() if isinstance(module, BLOCKS)]


def adapter_bytes(network: Network, workload: Workload) -> int:
    """A linear layer's adapter has rank x (inputs + outputs) numbers, of the layer's type."""
    parts, total = adaptable(network), 0
    for part, rank in workload.ranks.items():
        for layer in (layer for module in parts[part] for layer in module.modules()):
            if isinstance(layer, nn.Linear):
                element = 4 if workload.master_weights else layer.weight.element_size()
                total += element * rank * (layer.in_features + layer.out_features)
    return total


def adaptable(network: Network) -> dict[str, list[nn.Module]]:
    """What can have adapters, as in the policies."""
    if isinstance(network, Pi0Network):
        model = network.vlm.model
        return {
            "language": [model.language_model.layers],
            "vision": [model.vision_tower.vision_model.encoder],
            "expert": [network.expert.layers],
        }
    vision = network.vision_backbone
    towers = (vision.featurizer, vision.fused_featurizer)
    used = [block for tower in towers for block in tower.used_blocks]
    llama = network.language_model.model.layers
    return {"language": [llama], "vision": used, "projector": [network.projector]}


def critic_bytes(width: int) -> int:
    """A value head of four layers, in float32."""
    if width == 0:
        return 0
    with meta_init():
        return sum(map(size_of, ValueHead(width, CriticConfig()).parameters()))


def cast_copies(network: Network, workload: Workload, idle: set[str]) -> int:
    """Half the bytes of trained float32 weights that autocast casts."""
    if not workload.master_weights:
        return 0
    total = 0
    for path, module in network.named_modules():
        # Of the action words only some are cast; a head that is tied is not used.
        if not isinstance(module, nn.Linear | nn.Conv2d) or path.endswith("lm_head"):
            continue
        for name, parameter in module.named_parameters(prefix=path, recurse=False):
            if parameter.requires_grad and name not in idle:
                total += size_of(parameter) // 2
    return total


def size_of(parameter: torch.Tensor) -> int:
    """Its bytes."""
    return parameter.numel() * parameter.element_size()


def computing_bytes(parameters: Iterator[nn.Parameter], workload: Workload) -> int:
    """Bytes in the type that is computed in, masters cast."""
    cast = workload.element if workload.master_weights else 4
    return sum(p.numel() * min(p.element_size(), cast) for p in parameters)
