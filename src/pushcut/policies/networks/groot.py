"""GR00T N1.5 (NVIDIA 2025), parameter names as released."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pushcut.policies.networks.dit import DiT, DiTSizes, SelfAttentionStack, angles
from pushcut.policies.networks.expert_output import ExpertOutput
from pushcut.policies.networks.qwen3 import Qwen3Model, Qwen3Sizes
from pushcut.policies.networks.siglip import PoolingHead, SiglipSizes, SiglipTower
from pushcut.policies.precision import full_precision

BUCKETS = 1000
"""Times that are told apart: t lies in bucket floor(1000 t)."""


@dataclass(frozen=True)
class GrootSizes:
    """Shape of a GR00T N1.5; the defaults are those of the released checkpoint."""

    vision: SiglipSizes = SiglipSizes()
    llm: Qwen3Sizes = Qwen3Sizes()
    image_token: int = 151669
    """Word in whose place a token of an image stands."""
    vl: DiTSizes = DiTSizes(heads=32, head_dim=64, depth=4)
    """The action head's own blocks on the VLM's output."""
    dit: DiTSizes = DiTSizes(heads=32, head_dim=48, depth=16)
    dit_output: int = 1024
    hidden: int = 1024
    """Inside of what encodes states and decodes actions."""
    embodiments: int = 32
    """Sets of weights for states and actions."""
    future_tokens: int = 32
    """Learnt tokens between state and actions."""
    positions: int = 1024
    """Rows of the table of positions; the first ``chunk`` are used."""
    chunk: int = 16
    """Steps that are predicted."""
    state_dim: int = 64
    action_dim: int = 32

    @property
    def vocab_size(self) -> int:
        """Words of the vision-language model."""
        return self.llm.vocab_size


class _Vision(nn.Module):
    def __init__(self, sizes: SiglipSizes) -> None:
        super().__init__()
        self.vision_model = SiglipTower(sizes)
        self.vision_model.head = PoolingHead(sizes)


class _Language(nn.Module):
    def __init__(self, sizes: Qwen3Sizes) -> None:
        super().__init__()
        self.model = Qwen3Model(sizes)
        self.lm_head = nn.Linear(sizes.hidden, sizes.vocab_size, bias=False)
        self.lm_head.requires_grad_(False)


class _Eagle(nn.Module):
    def __init__(self, sizes: GrootSizes) -> None:
        super().__init__()
        self.vision_model = _Vision(sizes.vision)
        self.mlp1 = nn.Sequential(nn.Linear(sizes.vision.width, sizes.llm.hidden))
        self.language_model = _Language(sizes.llm)


class _Backbone(nn.Module):
    def __init__(self, sizes: GrootSizes) -> None:
        super().__init__()
        self.eagle_model = _Eagle(sizes)


class _EmbodimentLinear(nn.Module):
    """A linear layer with weights for each embodiment, [in, out] each; computes in float32."""

    def __init__(self, embodiments: int, size_in: int, size_out: int) -> None:
        super().__init__()
        self.W = nn.Parameter(0.02 * torch.randn(embodiments, size_in, size_out))
        self.b = nn.Parameter(torch.zeros(embodiments, size_out))

    def forward(self, x: Float[Tensor, "*b d"], embodiment: int) -> Float[Tensor, "*b e"]:
        return x.float() @ self.W[embodiment].float() + self.b[embodiment].float()


class _EmbodimentMLP(nn.Module):
    def __init__(self, embodiments: int, size_in: int, hidden: int, size_out: int) -> None:
        super().__init__()
        self.layer1 = _EmbodimentLinear(embodiments, size_in, hidden)
        self.layer2 = _EmbodimentLinear(embodiments, hidden, size_out)

    def forward(self, x: Float[Tensor, "*b d"], embodiment: int) -> Float[Tensor, "*b e"]:
        return self.layer2(F.relu(self.layer1(x, embodiment)), embodiment)


class _ActionEncoder(nn.Module):
    def __init__(self, embodiments: int, action_dim: int, width: int) -> None:
        super().__init__()
        self.W1 = _EmbodimentLinear(embodiments, action_dim, width)
        self.W2 = _EmbodimentLinear(embodiments, 2 * width, width)
        self.W3 = _EmbodimentLinear(embodiments, width, width)

    def forward(
        self, x: Float[Tensor, "b m h a"], bucket: Int[Tensor, "b m"], embodiment: int
    ) -> Float[Tensor, "b m h d"]:
        actions = self.W1(x, embodiment)
        half = actions.shape[-1] // 2
        angle = angles(bucket, half, last=half)
        waves = torch.cat((angle.sin(), angle.cos()), dim=-1).unsqueeze(2).expand_as(actions)
        inner = self.W2(torch.cat((actions, waves), dim=-1), embodiment)
        return self.W3(F.silu(inner), embodiment)


class _ActionHead(nn.Module):
    def __init__(self, sizes: GrootSizes) -> None:
        super().__init__()
        e, width = sizes.embodiments, sizes.dit.width
        self.vlln = nn.LayerNorm(sizes.llm.hidden, eps=1e-5)
        self.vl_self_attention = SelfAttentionStack(sizes.vl)
        self.model = DiT(sizes.dit, context=sizes.llm.hidden, output=sizes.dit_output)
        self.state_encoder = _EmbodimentMLP(e, sizes.state_dim, sizes.hidden, width)
        self.action_encoder = _ActionEncoder(e, sizes.action_dim, width)
        self.action_decoder = _EmbodimentMLP(e, sizes.dit_output, sizes.hidden, sizes.action_dim)
        self.future_tokens = nn.Embedding(sizes.future_tokens, width)
        self.position_embedding = nn.Embedding(sizes.positions, width)


@dataclass(frozen=True)
class GrootContext:
    """What the DiT sees besides the actions."""

    vl: Float[Tensor, "b k d"]
    """Images and prompt, after the action head's own blocks."""
    state: Float[Tensor, "b w"]
    """The state's token."""
    visible: Bool[Tensor, "b k"] | None
    """Which rows of ``vl`` are seen; None: all, padding too."""


class GrootNetwork(nn.Module):
    """Eagle 2.5 reads images and prompt; a DiT denoises actions, looking at Eagle's output.

    Time: t = 0 is noise, t = 1 is data, in 1000 buckets; the velocity is action minus noise.
    """

    def __init__(self, sizes: GrootSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.backbone = _Backbone(sizes)
        self.action_head = _ActionHead(sizes)

    def tie(self) -> None:
        """Makes the output words the input words: one of the names is released, or both."""
        self.language.lm_head.weight = self.language.model.embed_tokens.weight

    def take_unused_parts(self) -> dict[str, Tensor]:
        """Removes the pooling of images, and output words of their own; returns them by name.

        Nobody computes them.
        """
        tower, language = self.vlm.vision_model.vision_model, self.language
        unused: dict[nn.Module, str] = {tower: "head"}
        if not self.is_tied:
            unused[language] = "lm_head"
        ends = tuple(f".{name}." for name in unused.values())
        taken = {
            name: x.data
            for name, x in self.named_parameters()
            if name.startswith("backbone.") and any(end in name for end in ends)
        }
        for module, name in unused.items():
            if hasattr(module, name):
                delattr(module, name)
        return taken

    @property
    def is_tied(self) -> bool:
        """Whether the output words are the input words."""
        language = self.language
        if not hasattr(language, "lm_head"):
            return False
        return language.lm_head.weight is language.model.embed_tokens.weight

    @property
    def vlm(self) -> _Eagle:
        """The vision-language model."""
        return self.backbone.eagle_model

    @property
    def language(self) -> _Language:
        """The language model in the vision-language model."""
        return self.vlm.language_model

    @property
    def adaptable(self) -> dict[str, nn.Module]:
        """What can have low-rank adapters: blocks of Eagle and of the action head."""
        head = self.action_head
        blocks = (*head.vl_self_attention.transformer_blocks, *head.model.transformer_blocks)
        return {
            "language": self.language.model.layers,
            "vision": self.vlm.vision_model.vision_model.encoder,
            "expert": nn.ModuleList(blocks),
        }

    def encode(
        self,
        images: Float[Tensor, "b n 3 s s"],
        token_ids: Int[Tensor, "b l"],
        token_mask: Bool[Tensor, "b l"],
    ) -> Float[Tensor, "b l d"]:
        """Eagle's output for images in [-1, 1] and prompts that have their places, padding too."""
        seen = self.vlm.mlp1(self.vlm.vision_model.vision_model(images.flatten(0, 1)))
        said = self.language.model.embed_tokens(token_ids)
        place = (token_ids == self.sizes.image_token).unsqueeze(-1)
        return self.language.model(said.masked_scatter(place, seen.to(said.dtype)), token_mask)

    def context(
        self,
        features: Float[Tensor, "b l d"],
        state: Float[Tensor, "b s"],
        embodiment: int,
        *,
        visible: Bool[Tensor, "b l"] | None,
    ) -> GrootContext:
        """What the action head makes of Eagle's output and the state, once per decision.

        ``visible``: the rows that are seen; None: padding acts like a token, as NVIDIA's program
        has it.
        """
        head = self.action_head
        vl = head.vl_self_attention(head.vlln(features), visible)
        with full_precision(state):
            return GrootContext(vl, head.state_encoder(state, embodiment), visible)

    def denoise(
        self,
        context: GrootContext,
        x: Float[Tensor, "b m h a"],
        bucket: Int[Tensor, "b m"],
        embodiment: int,
    ) -> ExpertOutput:
        """The DiT on m points of each row's chain, which do not see each other."""
        head, (b, m, h, _) = self.action_head, x.shape
        with full_precision(x):
            actions = head.action_encoder(x, bucket, embodiment)
        # Not their weights alone: layers may have to be gathered before they compute.
        place = torch.arange(h, device=x.device)
        actions = actions + head.position_embedding(place).float()
        future = head.future_tokens(torch.arange(self.sizes.future_tokens, device=x.device))
        parts = (context.state[:, None, None], future.float(), actions)
        tokens = torch.cat([part.expand(b, m, -1, -1) for part in parts], dim=2)
        tokens = tokens.flatten(0, 1).to(context.vl.dtype)
        out = head.model(tokens, bucket.flatten(), context.vl, context.visible)
        features = out[:, -h:].float().view(b, m, h, -1)
        with full_precision(x):
            return ExpertOutput(head.action_decoder(features, embodiment), features)
