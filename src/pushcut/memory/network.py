"""The network of a workload without memory: what of it is trained, and its parameters in bytes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor, nn

from pushcut.errors import UserError
from pushcut.memory.workload import Workload
from pushcut.policies.networks.gradient_checkpointing import checkpoint_activations
from pushcut.policies.networks.meta_init import meta_init
from pushcut.policies.networks.openvla import OpenVLANetwork, OpenVLASizes
from pushcut.policies.networks.paligemma import PaliGemmaNetwork, VLMSizes, stays_float32
from pushcut.policies.networks.pi0 import Pi0Network, Pi0Sizes
from pushcut.policies.networks.pi0_fast import Pi0FastNetwork
from pushcut.policies.value_head import ValueHead

Network = Pi0Network | Pi0FastNetwork | OpenVLANetwork
Sizes = Pi0Sizes | VLMSizes | OpenVLASizes


def released_sizes(workload: Workload) -> Sizes:
    """The released network, with the workload's horizon and images."""
    horizon = workload.released.horizon
    if workload.network == "openvla-oft":
        return OpenVLASizes(
            num_images=workload.images,
            chunk=horizon or workload.chunk,
            action_dim=workload.train.env.spec.action_size,
        )
    if workload.network == "pi0-fast":
        return VLMSizes()
    return Pi0Sizes(chunk=horizon or Pi0Sizes().chunk, pi05=workload.network == "pi05")


def build(workload: Workload, sizes: Sizes) -> Network:
    """The network on the meta device, as a policy prepares it for training."""
    with meta_init():
        if isinstance(sizes, OpenVLASizes):
            network = OpenVLANetwork(sizes)
        elif isinstance(sizes, Pi0Sizes):
            network = Pi0Network(sizes)
        else:
            network = Pi0FastNetwork(sizes)
    prepare(network, workload)
    return network


def prepare(network: Network, workload: Workload) -> None:
    """Freezes, adapts and casts a network as the policies do."""
    is_pi0, has_paligemma = isinstance(network, Pi0Network), isinstance(network, PaliGemmaNetwork)
    if isinstance(network, PaliGemmaNetwork):
        network.tie()
    if is_pi0:
        network.vlm.requires_grad_(workload.trains_all)
    if workload.phase == "eval" or not (is_pi0 or workload.trains_all):
        network.requires_grad_(False)
    if workload.phase == "sft" and not workload.trains_all:
        network.requires_grad_(False)
    parts = network.adaptable
    for part, rank in workload.lora_ranks.items():
        if part not in parts:
            raise UserError(f"no part {part!r} for adapters; this policy has {', '.join(parts)}")
        with meta_init():
            adapt(parts[part], rank)
    workload.released.compute.cast(network, stays_float32 if has_paligemma else lambda name: False)
    checkpoint_activations(network, workload.released.gradient_checkpointing)


class AdaptedLinear(nn.Module):
    """A frozen linear layer with a low-rank adapter that computes as peft's does.

    The plan needs neither peft nor the seconds that it takes to import.
    """

    def __init__(self, base_layer: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.lora_A = nn.Linear(base_layer.in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, base_layer.out_features, bias=False)

    @property
    def weight(self) -> Tensor:
        """Weight of the frozen layer."""
        return self.base_layer.weight

    def forward(self, x: Tensor) -> Tensor:
        """The layer, and what the adapter adds."""
        result = self.base_layer(x)
        x = x.to(self.lora_A.weight.dtype)  # alive until the end, as in peft
        return result + self.lora_B(self.lora_A(x)) * 1.0


def adapt(module: nn.Module, rank: int) -> None:
    """Freezes a module and puts an adapter on each of its linear layers."""
    module.requires_grad_(False)
    for parent in list(module.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.Linear):
                setattr(parent, name, AdaptedLinear(layer, rank))


@dataclass(frozen=True)
class Parameters:
    """Bytes of a network's parameters and its critic's, all of them on one GPU."""

    trained: int
    frozen: int
    numbers: int
    """How many numbers are trained, without the critic."""
    critic: int
    """The critic's share of what is trained."""
    block: int
    """All of the largest block, in what it computes in: FSDP's unit."""
    root: int
    """All outside of blocks, as they are kept: FSDP gathers them so."""
    acting: int
    """Everything, the blocks in what they compute in."""
    adapted: int = 0
    """Bytes that layers with adapters take more once these are merged, in float32."""


def count_parameters(network: Network, workload: Workload) -> Parameters:
    """Counts the parameters of a network that is prepared for the workload."""
    everything, critic = list(network.parameters()), critic_bytes(workload, network.sizes)
    blocks = [block for stack in stacks(network) for block in stack]
    inside = {id(p): p for block in blocks for p in block.parameters()}
    root = sum(p.nbytes for p in everything if id(p) not in inside)
    return Parameters(
        trained=critic + sum(p.nbytes for p in everything if p.requires_grad),
        frozen=sum(p.nbytes for p in everything if not p.requires_grad),
        numbers=sum(p.numel() for p in everything if p.requires_grad),
        critic=critic,
        block=max(computing_bytes(block.parameters(), workload) for block in blocks),
        root=root,
        acting=root + computing_bytes(inside.values(), workload) + critic,
        adapted=sum(
            4 * x.weight.numel() - x.weight.nbytes
            for x in network.modules()
            if isinstance(x, AdaptedLinear)
        ),
    )


def stacks(network: nn.Module) -> list[nn.ModuleList]:
    """The stacks of equal transformer blocks."""
    return [module for module in network.modules() if isinstance(module, nn.ModuleList)]


def critic_bytes(workload: Workload, sizes: Sizes) -> int:
    """The value head, in float32, where the algorithm has one."""
    train = workload.train
    if not train.algorithm.needs_critic:
        return 0
    if isinstance(sizes, OpenVLASizes):
        width = sizes.llm.hidden
    elif isinstance(sizes, Pi0Sizes) and train.critic.placement == "expert":
        width = sizes.expert.width
    else:
        width = sizes.vlm.width
    with meta_init():
        return sum(p.nbytes for p in ValueHead(width, train.critic).parameters())


def computing_bytes(parameters: Iterable[Tensor], workload: Workload) -> int:
    """Bytes in the type that is computed in, masters cast."""
    element = 2 if workload.released.compute.has_masters else 4
    return sum(p.numel() * min(p.element_size(), element) for p in parameters)
