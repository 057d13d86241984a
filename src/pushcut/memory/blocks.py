"""Bytes of one decision in one block, written out from the shapes.

Letters: ``T`` tokens of the decision, ``d`` width, ``f`` width inside the MLP, ``H`` heads of
size ``c``, ``kv`` heads with keys of their own, ``P`` tokens of a context, ``e`` bytes of an
element (4 or 2), ``s`` those of the residual stream, ``r`` rank of adapters. Flags:

- ``w`` = 1 where the block's own weights are trained ("full"), else 0;
- ``i`` = 1 where linear layers keep their inputs ("full", "lora"), else 0: the gradient of a
  frozen weight does not need them;
- ``n(k)`` copies of an input that k linear layers share: i, but k where each casts it for itself
  (autocast does not remember casts of activations).

Counted are the tensors that autograd saves (parameters apart), each storage once. Attention is
``scaled_dot_product_attention`` in a fused kernel: it saves queries, keys, values, outputs, a
float32 number per query and head, and the mask as numbers, never the weights of attention. That
holds for torch's kernel on the CPU (where the tests compare) and for CUDA's flash (no mask) and
memory-efficient (mask) kernels; the plain kernel, which CUDA takes for shapes that the others
refuse, saves 2 H T (P + T) e more. Two more differences on CUDA: its fused root-mean-square norm
saves 4 T d less for a Gemma norm that is trained, and its autocast computes layer norms in
float32, 4 T d more for one in bfloat16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pushcut.policies.networks.gemma import GemmaSizes
from pushcut.policies.networks.llama import LlamaSizes
from pushcut.policies.networks.siglip import SiglipSizes
from pushcut.policies.networks.vit import ViTSizes

Weights = Literal["frozen", "lora", "full"]


@dataclass(frozen=True)
class Training:
    """What is trained of a part, and how it computes."""

    weights: Weights
    element: int
    """Bytes of an activation (e)."""
    rank: int = 0
    """Of the adapters."""
    autocast: bool = False
    """Whether trained weights are float32 and cast on the way."""

    @property
    def w(self) -> int:
        """1 where weights are trained."""
        return int(self.weights == "full")

    @property
    def i(self) -> int:
        """1 where linear layers keep their inputs."""
        return int(self.weights != "frozen")

    @property
    def r(self) -> int:
        """Numbers that an adapter keeps of a token."""
        return self.rank if self.weights == "lora" else 0

    @property
    def adapted(self) -> int:
        """1 where there are adapters."""
        return int(self.weights == "lora")

    @property
    def cast_adapters(self) -> int:
        """1 where each adapter casts its input for itself."""
        return self.adapted * int(self.autocast)

    @property
    def casts(self) -> int:
        """1 where float32 cosines and sines are cast anew in each block."""
        return int(self.element < 4)

    @property
    def stream(self) -> int:
        """Bytes of the residual stream where it begins with trained float32 embeddings (s)."""
        return 4 if self.autocast and self.weights == "full" else self.element

    def copies(self, linears: int, *, stream: int) -> int:
        """Copies that so many linear layers keep of an input of the stream's type: n(k).

        An adapter's input goes through float32, whatever it was.
        """
        cast = self.autocast and stream > self.element
        return self.i * (linears if cast or self.cast_adapters else 1)


@dataclass(frozen=True)
class Block:
    """Bytes of one decision in one block."""

    saved: int
    """By autograd, from forward to backward."""
    inputs: int
    """The block's inputs: what is left of ``saved`` with gradient checkpointing."""
    backward: int
    """Temporaries of the largest operation of its backward pass."""
    forward: int
    """Most that is alive at once without gradients."""


def vit_block(sizes: SiglipSizes | ViTSizes, tokens: int, how: Training) -> Block:
    """SigLIP or DINOv2.

    saved = T [2 s d + n(3 or 1) e d + n(1) e d + 4 e d + e (1 + i) f] + 4 T (H + 4):
    the inputs of both norms; their outputs, as the linear layers keep them (three before attention,
    in timm's towers one); q, k, v and the output of attention (again where an adapter casts it);
    the MLP before and after its GELU; with DINOv2's trained scales 2 w e T d, what they scale;
    and 6 r e T of adapters (4 in timm's towers).
    """
    e, d, f = how.element, sizes.width, sizes.mlp
    before_attention = 1 if isinstance(sizes, ViTSizes) else 3
    copies = sum(how.copies(count, stream=how.stream) for count in (before_attention, 1))
    copies += how.cast_adapters
    saved = 2 * how.stream * d + e * (copies + 4) * d + e * (1 + how.i) * f
    saved += e * (3 + before_attention) * how.r
    if isinstance(sizes, ViTSizes) and sizes.is_dino:
        saved += 2 * how.w * e * d
    return Block(
        saved=tokens * saved + 4 * tokens * (sizes.heads + 4),
        inputs=how.stream * tokens * d,
        backward=e * tokens * (f + 2 * d),
        forward=e * tokens * max((2 + how.adapted) * f + 3 * d, 7 * d),
    )


def llama_block(sizes: LlamaSizes, tokens: int, how: Training) -> Block:
    """Llama.

    saved = norms + attention + MLP, with
    norms = T [2 (4 (d + 1) + s w d) + (n(3) + n(2)) e d]: the input in float32, the normed tokens,
    the outputs as the linear layers keep them;
    attention = e T [(2 H + 2 kv) c + H c (a copy for the next layer, where heads share keys or it
    is cast) + 4 c (casts)] + 4 T H: q, k, v, the output, cosines and sines cast to bfloat16;
    MLP = e T (3 + i) f: before the SiLU, after it, the other factor, the product;
    and 7 r e T of adapters.
    """
    e, d, f, c = how.element, sizes.hidden, sizes.intermediate, sizes.head_dim
    heads, kv = sizes.heads, sizes.kv_heads
    copies = sum(how.copies(count, stream=how.stream) for count in (3, 2))
    norms = tokens * (2 * (4 * (d + 1) + how.stream * how.w * d) + copies * e * d)
    copied = how.i * heads * c if heads > kv or how.cast_adapters else 0
    attention = e * tokens * (2 * (heads + kv) * c + copied + 4 * c * how.casts)
    attention += 4 * tokens * heads
    mlp = e * tokens * (3 + how.i) * f
    return Block(
        saved=norms + attention + mlp + 7 * how.r * e * tokens,
        inputs=how.stream * tokens * d,
        backward=e * tokens * ((2 + how.adapted) * f + 2 * d),
        forward=e * tokens * max((3 + how.adapted) * f + 3 * d, 7 * d + 2 * kv * c),
    )


def gemma_block(
    sizes: GemmaSizes,
    tokens: int,
    how: Training,
    *,
    context: int = 0,
    masked_queries: int = 1,
    adaptive: Literal["no", "one condition", "many conditions"] = "no",
) -> Block:
    """Gemma, whose stream is in e; of the VLM, or of the expert with a context of P tokens.

    saved = norms + attention + MLP, with
    norms = T [2 (4 (d + 1) + 4 w d) + (n(3) + n(2)) e d]: the input and the normed tokens in
    float32, the outputs as the linear layers keep them;
    attention = e [(2 + i) T H c + 2 (P + T) kv c + 4 T c (casts) + Q (P + T)] + 4 T H:
    q, the output and its copy in the order of heads; keys and values, *those of the context copied
    beside the block's own*; the mask of Q queries (1: the same for all; else H / kv T);
    MLP = e T (3 + i) f;
    adaptive norms: 2 e T d more, for what the gates multiply; with many conditions (points of a
    chain) also 2 T d (4 + g), scale and gate of each token, where g = e, but 3 e where the gate is
    a third of what is kept: in float32 and under autocast;
    and 7 r e T of adapters.

    The inputs that checkpointing keeps contain the context's keys and values: 2 P kv c e.
    """
    e, d, f, c = how.element, sizes.width, sizes.mlp, sizes.head_dim
    heads, kv, seen = sizes.heads, sizes.kv_heads, context + tokens
    copies = sum(how.copies(count, stream=e) for count in (3, 2))
    norms = tokens * (2 * (4 * (d + 1) + 4 * how.w * d) + copies * e * d)
    if adaptive != "no":
        norms += 2 * e * tokens * d
    if adaptive == "many conditions":
        gate = 3 * e if e == 4 or how.autocast else e
        norms += 2 * tokens * d * (4 + gate)
    copied = how.i * heads * c if heads > kv or how.cast_adapters else 0
    attention = e * tokens * (2 * heads * c + copied + 4 * c * how.casts) + 4 * tokens * heads
    attention += e * seen * (2 * kv * c + masked_queries)
    mlp = e * tokens * (3 + how.i) * f
    of_attention = tokens * (3 * d + 4 * heads * c) + 2 * seen * kv * c
    of_mlp = tokens * ((3 + how.adapted) * f + 3 * d + (heads + 2 * kv) * c)
    return Block(
        saved=norms + attention + mlp + 7 * how.r * e * tokens,
        inputs=e * (tokens * d + 2 * context * kv * c),
        backward=e
        * max(tokens * ((2 + how.adapted) * f + 2 * d), 3 * tokens * heads * c + 2 * seen * kv * c),
        forward=e * max(of_mlp, of_attention),
    )
