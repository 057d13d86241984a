"""Bytes of one decision in a whole network: its blocks, and what lies around them."""

from __future__ import annotations

from dataclasses import dataclass

from pushcut.memory.blocks import (
    Block,
    Training,
    Weights,
    gemma_block,
    llama_block,
    vit_block,
)
from pushcut.memory.workload import Workload
from pushcut.policies.networks.gemma import GemmaSizes
from pushcut.policies.networks.openvla import OpenVLASizes
from pushcut.policies.networks.pi0 import Pi0Sizes

FLOAT32 = 4
"""Bytes of what is always in float32."""


@dataclass(frozen=True)
class Stack:
    """Equal blocks, one after the other."""

    depth: int
    block: Block


@dataclass(frozen=True)
class Footprint:
    """Bytes of one decision."""

    stacks: tuple[Stack, ...]
    """All blocks that gradients flow through; none of a frozen VLM."""
    outside: int
    """Saved by autograd outside of blocks."""
    prefix: int
    """Keys and values that the observation leaves for the expert; 0 where there is none."""
    encode: int
    """Most that is alive while the observation is read without gradients, ``prefix`` apart."""
    act: int
    """The same while actions are denoised."""

    def saved(self, *, checkpointing: bool) -> int:
        """From forward to backward: what autograd saves, or the inputs of blocks."""
        per_block = [s.depth * (s.block.inputs if checkpointing else s.block.saved)
                     for s in self.stacks]  # fmt: skip
        return self.outside + sum(per_block)

    @property
    def recomputed(self) -> int:
        """Of the block that is computed again with gradient checkpointing."""
        return max(stack.block.saved for stack in self.stacks)

    @property
    def backward(self) -> int:
        """Temporaries of the largest operation of the backward pass."""
        return max(stack.block.backward for stack in self.stacks)

    @property
    def forward(self) -> int:
        """Most that is alive without gradients."""
        return self.prefix + max(self.encode, self.act)


def footprint(workload: Workload, sizes: Pi0Sizes | OpenVLASizes) -> Footprint:
    """Of the network with these sizes."""
    if isinstance(sizes, Pi0Sizes):
        return pi0_footprint(workload, sizes)
    return openvla_footprint(workload, sizes)


def pi0_footprint(workload: Workload, sizes: Pi0Sizes) -> Footprint:
    """pi0 or pi0.5.

    The VLM's tokens are P = images x patches + prompt, the expert's T = points x (chunk, and the
    state with pi0). A frozen VLM saves nothing, but each block of the expert saves a copy of P keys
    and values. The last block of the VLM makes keys and values only: its norm is all that it saves.
    """
    seeing, reading = training(workload, "vision"), training(workload, "language")
    seen = workload.images * sizes.vision.patches
    context = seen + workload.prompt
    vision = vit_block(sizes.vision, seen, seeing)
    vlm = gemma_block(sizes.vlm, context, reading)
    expert = _expert_block(workload, sizes, context, workload.points)
    outside, stacks = _around_expert(workload, sizes), [Stack(sizes.expert.depth, expert)]
    if seeing.i or reading.i:  # gradients flow through the language model, trained or not
        outside += _last_vlm_block(sizes, context, reading)
        stacks.append(Stack(sizes.vlm.depth - 1, vlm))
    if seeing.i:
        outside += _around_vision(sizes, workload.images, seeing)
        stacks.append(Stack(sizes.vision.depth, vision))
    pictures = FLOAT32 * workload.images * 3 * sizes.vision.image_size**2
    return Footprint(
        stacks=tuple(stacks),
        outside=outside,
        prefix=2 * workload.element * context * sizes.vlm.depth * _keys(sizes.vlm),
        encode=pictures + max(vision.forward, vlm.forward),
        act=_expert_block(workload, sizes, context, 1).forward,
    )


def training(workload: Workload, part: str) -> Training:
    """How a part of the network is trained."""
    rank = workload.ranks.get(part, 0)
    weights: Weights = "lora" if rank else "frozen"
    if not rank and (workload.trained == "all" or part == "expert"):
        weights = "full"
    return Training(weights, workload.element, rank, autocast=workload.master_weights)


def _keys(sizes: GemmaSizes) -> int:
    return sizes.kv_heads * sizes.head_dim


def _expert_block(workload: Workload, sizes: Pi0Sizes, context: int, points: int) -> Block:
    tokens = points * _tokens_per_point(sizes)
    many = "many conditions" if points > 1 else "one condition"
    return gemma_block(
        sizes.expert,
        tokens,
        training(workload, "expert"),
        context=context,
        masked_queries=sizes.expert.heads // sizes.expert.kv_heads * tokens,
        adaptive=many if sizes.pi05 else "no",
    )


def _tokens_per_point(sizes: Pi0Sizes) -> int:
    return sizes.chunk + (0 if sizes.pi05 else 1)


def _around_expert(workload: Workload, sizes: Pi0Sizes) -> int:
    """Projections of actions, state and time (in float32), the last norm, the features.

    pi0 mixes each action with its time in an MLP: 4 d per action; in pi0.5 the time has an MLP of
    its own: 5 d per point.
    """
    d, points = sizes.expert.width, workload.points
    actions, tokens = points * sizes.chunk, points * _tokens_per_point(sizes)
    mixing = 5 * d * points if sizes.pi05 else 4 * d * actions + sizes.state_dim
    norm = tokens * (2 * d + 1)
    if sizes.pi05 and points > 1:
        norm += tokens * d  # the scale of each token
    features = d * (tokens if workload.element == FLOAT32 else actions)
    rotations = 2 * sizes.expert.head_dim * tokens
    return FLOAT32 * (sizes.action_dim * actions + mixing + norm + features + rotations)


def _last_vlm_block(sizes: Pi0Sizes, context: int, how: Training) -> int:
    """Its first norm, what its two projections keep, and the rotations of all blocks."""
    d, e, c = sizes.vlm.width, how.element, sizes.vlm.head_dim
    norm = 4 * (d + 1) + 4 * how.w * d + how.copies(2, stream=e) * e * d
    return context * (norm + e * (2 * c * how.casts + 2 * how.r) + FLOAT32 * 2 * c)


def _around_vision(sizes: Pi0Sizes, images: int, how: Training) -> int:
    """The tower's last norm; the images and what the projector keeps, where they are trained."""
    vision = sizes.vision
    pictures = FLOAT32 * how.w * images * 3 * vision.image_size**2
    kept = how.stream + how.w * how.element
    return pictures + images * vision.patches * (kept * vision.width + 16)


def openvla_footprint(workload: Workload, sizes: OpenVLASizes) -> Footprint:
    """OpenVLA-OFT: two towers (without their last block), the projector, Llama, the action words.

    Llama's tokens are T = images x patches (+ 1 with the state) + prompt + h a slots + 1.
    """
    seeing, reading = training(workload, "vision"), training(workload, "language")
    e, d, images = workload.element, sizes.llm.hidden, workload.images
    seen = images * sizes.patches
    tokens = seen + bool(sizes.proprio_dim) + workload.prompt + sizes.slots + 1
    towers = [
        Stack(tower.depth - 1, vit_block(tower, seen + images * tower.prefix_tokens, seeing))
        for tower in (sizes.dino, sizes.siglip)
    ]
    llama = Stack(sizes.llm.layers, llama_block(sizes.llm, tokens, reading))
    norm = sizes.slots * (4 * (d + 1) + reading.w * (reading.stream + e) * d)
    rotations = FLOAT32 * 2 * sizes.llm.head_dim * tokens
    pictures = 2 * images * 3 * sizes.image_size**2
    kept_images = e * seeing.w * pictures
    embeddings = e * (tokens + seen) * d + rotations
    return Footprint(
        stacks=(*towers, llama) if seeing.i else (llama,),
        outside=norm + rotations + kept_images + _openvla_projector(workload, sizes),
        prefix=0,
        # Beside a block there are the images, the embeddings that Llama began with, rotations.
        encode=FLOAT32 * pictures
        + max(*(tower.block.forward for tower in towers), llama.block.forward + embeddings),
        act=0,
    )


def _openvla_projector(workload: Workload, sizes: OpenVLASizes) -> int:
    """The inputs of its three layers, and what its two GELUs are given."""
    how, d = training(workload, "projector"), sizes.llm.hidden
    if not (how.i or training(workload, "vision").i):
        return 0
    wide = sizes.dino.width + sizes.siglip.width
    kept = how.i * (5 * wide + d) + 4 * wide + d + 3 * how.r
    return how.element * workload.images * sizes.patches * kept


def loss_bytes(workload: Workload, sizes: Pi0Sizes | OpenVLASizes) -> int:
    """What the log-probability of a decision keeps, in float32.

    Of logits: scaled, their log-softmax, its exponential and their product; of a flow's points:
    about eight numbers for each of an action's.
    """
    if isinstance(sizes, OpenVLASizes):
        return 4 * FLOAT32 * sizes.slots * sizes.bins
    return 8 * FLOAT32 * workload.points * sizes.chunk * sizes.action_dim
