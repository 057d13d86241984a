"""GR00T N1.5 as a policy: the released network with its own images, prompts and scales."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor, nn

from pushcut.errors import UserError
from pushcut.policies.flow.chains import Expert
from pushcut.policies.flow.transitions import DEFAULT_STEPS, Denoising, Velocity
from pushcut.policies.networks.groot import BUCKETS, GrootContext, GrootNetwork, GrootSizes
from pushcut.policies.normalisation import DataStats, NormStats, known
from pushcut.policies.precision import Compute
from pushcut.policies.released.flow import (
    ReleasedFlowPolicy,
    from_border,
    scaled_on_host,
    to_border,
)
from pushcut.policies.released.groot_folder import (
    LEROBOT_PREFIX,
    Layout,
    load_network,
    plain_name,
)
from pushcut.policies.released.images import bicubic_pixels, cropped_pixels, siglip_pixel_values
from pushcut.policies.released.prompts import Prompts, PromptTokenizer, groot_prompt, pad_right
from pushcut.policies.released.scaling import Scaling, ScalingKind
from pushcut.policies.released.tensors import TensorFolder, released_shapes
from pushcut.policies.value_head import CriticPlacement
from pushcut.transfers import to_device
from pushcut.types import Gripper, Observation

CROP = 0.95
"""Share of each side that NVIDIA's pictures keep: training crops at random to this size."""

LAST_TIME = 0.999
"""NVIDIA's noise_s: times of training are 1 - b / 0.999 for b from Beta(1.5, 1)."""


@dataclass(frozen=True)
class GrootConfig:
    """A GR00T N1.5 and everything about it that is not in its weights."""

    sizes: GrootSizes = GrootSizes()
    tag: str = "new_embodiment"
    """Embodiment, as its statistics are called."""
    embodiment: int = 31
    """Which set of weights for states and actions is the embodiment's."""
    cameras: tuple[str, ...] = ("image",)
    """Cameras of the environment, in the order of the network's images."""
    image_size: int = 256
    """Images of the environment, pixels."""
    state_size: int = 8
    action_size: int = 7
    chunk: int = 16
    """Steps that are executed."""
    num_steps: int = DEFAULT_STEPS
    """Denoising steps K, where nothing else is asked for."""
    rows: int = 570
    """Length that prompts are padded to, the places of images counted."""
    sees_padding: bool = False
    """Whether the action head sees padded rows too, as RLinf's does."""
    text_in_list: bool = False
    """Whether prompts hold the instruction as ['TEXT']."""
    gripper: Gripper | None = None
    """What the last number of an action means; None: it is no gripper's command."""
    whole_gripper: bool = False
    """Whether the gripper opens or closes fully."""
    layout: Layout = "nvidia"
    """Program whose layout of a folder is written."""
    scaling: Mapping[str, ScalingKind] = field(
        default_factory=lambda: {"state": "bounds", "action": "bounds"}
    )
    """How "state" and "action" are scaled; the gripper's command always by its bounds."""

    def __post_init__(self) -> None:
        if not self.cameras:
            raise ValueError("a GR00T needs at least one camera")
        if not 1 <= self.chunk <= self.sizes.chunk:
            raise ValueError(
                f"chunk must be in 1..{self.sizes.chunk}, the steps that the checkpoint predicts; "
                f"got {self.chunk}"
            )
        if self.action_size > self.sizes.action_dim or self.state_size > self.sizes.state_dim:
            raise ValueError(
                f"state and action sizes {self.state_size} and {self.action_size} are beyond the "
                f"network's {self.sizes.state_dim} and {self.sizes.action_dim}"
            )
        if not 0 <= self.embodiment < self.sizes.embodiments:
            raise ValueError(
                f"the network has weights for {self.sizes.embodiments} embodiments, counted from "
                f"0; asked are those of {self.embodiment}"
            )


@dataclass(frozen=True)
class GrootPrefix:
    """What is computed once for each decision."""

    features: Float[Tensor, "b l d"]
    """Eagle's output, padding too."""
    visible: Bool[Tensor, "b l"]
    """Which rows are no padding."""
    state: Float[Tensor, "b s"]
    """The state, scaled and padded."""
    context: GrootContext
    """What the action head makes of them."""
    mean: Float[Tensor, "b w"] | None
    """Mean of the rows that are seen, and the state's token: what a critic looks at."""

    def trace(self) -> dict[str, Tensor]:
        """The prefix as tensors that a rollout can keep, before the action head."""
        own = {"prefix_visible": self.visible, "prefix_state": self.state}
        return {"prefix": self.features} | own


class GrootPolicy(ReleasedFlowPolicy):
    """Eagle 2.5 and the DiT of a released checkpoint, or fresh ones of any size."""

    config: GrootConfig
    network: GrootNetwork
    fits_padding = False

    def __init__(
        self,
        config: GrootConfig,
        network: GrootNetwork,
        statistics: DataStats,
        tokenizer: PromptTokenizer,
        *,
        files: Mapping[str, bytes] | None = None,
        omitted: Collection[str] = (),
        sharded: bool = False,
        compute: Compute | None = None,
        origin: Path | None = None,
    ) -> None:
        """``files`` and all weights but the ``omitted`` are saved back as they were."""
        super().__init__()
        self.config, self.network, self.tokenizer = config, network, tokenizer
        self.statistics, self.files = dict(statistics), dict(files or {})
        self.omitted, self.sharded = frozenset(omitted), sharded
        self.aside |= network.take_unused_parts()
        self.compute, self.origin = compute or Compute(), origin
        self.cameras, self.image_size = config.cameras, config.image_size
        self.centre = CROP**2 if config.layout == "nvidia" else 1.0
        self.chunk, self.action_size = config.chunk, config.action_size
        self.state_size = config.state_size
        self.network_action_size = config.sizes.action_dim
        self.action_scaling = scaling_of(config, self.statistics, "action")
        # States are scaled on the host: no module, so that it stays there.
        self._state_scaling = (scaling_of(config, self.statistics, "state"),)
        if tokenizer.size > config.sizes.llm.vocab_size:
            raise UserError(
                f"the tokenizer has {tokenizer.size} words, the network "
                f"{config.sizes.llm.vocab_size}: is it the tokenizer of another model?"
            )
        self.explore(Denoising(num_steps=config.num_steps))

    @property
    def horizon(self) -> int:
        return self.config.sizes.chunk

    @property
    def encoder_parts(self) -> list[nn.Module]:
        """Eagle; the action head has blocks of its own on Eagle's output, which are trained."""
        return [self.network.vlm]

    @property
    def adaptable(self) -> dict[str, nn.Module]:
        return self.network.adaptable

    def width_at(self, placement: CriticPlacement) -> int:
        """A row of Eagle's and the state's token, or a token of the DiT's output."""
        sizes = self.config.sizes
        return sizes.llm.hidden + sizes.dit.width if placement == "vlm" else sizes.dit_output

    def drawn_times(self, generator: np.random.Generator, rows: int) -> Float64[np.ndarray, " b"]:
        """Times as NVIDIA draws them: those of pi0 but for the ends, which may pass 1."""
        return generator.beta(1.5, 1.0, size=rows) / LAST_TIME

    def prepare(self, obs: Observation) -> Observation:
        """Images of the cameras in use, in whole levels of the network's size."""
        if obs.prepared:
            return obs
        size, seen = self.config.sizes.vision.image_size, {}
        for camera in self.cameras:
            image = obs.images[camera]
            crops = self.config.layout == "nvidia"
            seen[camera] = (
                cropped_pixels(image, size, CROP) if crops else bicubic_pixels(image, size)
            )
        return replace(obs, images=seen, prepared=True)

    def encode(self, obs: Observation) -> GrootPrefix:
        """Images, prompt and state of a batch; once per decision."""
        seen = self.prepare(obs).images
        pixels = (torch.from_numpy(np.ascontiguousarray(seen[name])) for name in self.cameras)
        images = [siglip_pixel_values(to_device(x, self.device)) for x in pixels]
        prompts = self._prompts(obs)
        visible = to_device(prompts.mask, self.device)
        features = self.network.encode(
            torch.stack(images, dim=1), to_device(prompts.ids, self.device), visible
        )
        state = scaled_on_host(self._state_scaling[0], obs)
        state = F.pad(state, (0, self.config.sizes.state_dim - state.shape[1]))
        return self._prefix(features, visible, to_device(state, self.device))

    def prefix_of(self, trace: dict[str, Tensor]) -> GrootPrefix:
        return self._prefix(trace["prefix"], trace["prefix_visible"], trace["prefix_state"])

    def _prefix(
        self,
        features: Float[Tensor, "b l d"],
        visible: Bool[Tensor, "b l"],
        state: Float[Tensor, "b s"],
    ) -> GrootPrefix:
        shown = None if self.config.sees_padding else visible
        context = self.network.context(features, state, self.config.embodiment, visible=shown)
        mean = None
        if self.critic_sees_prefix:
            weight = torch.ones_like(visible) if shown is None else shown
            rows = context.vl.float() * weight.unsqueeze(-1)
            mean = torch.cat((rows.sum(1) / weight.sum(1, keepdim=True), context.state), dim=1)
        return GrootPrefix(features, visible, state, context, mean)

    def expert_on(self, prefix: GrootPrefix) -> Expert:

        def expert(x: Float[Tensor, "b m h a"], t: Float[Tensor, "b m"]) -> Velocity:
            output = self.network.denoise(prefix.context, x, bucket_of(t), self.config.embodiment)
            # NVIDIA's time runs from noise to data, ours from data to noise.
            return Velocity(-output.velocity, output.features)

        return expert

    def normalise(self, action: Float[Tensor, "b h a"], obs: Observation) -> Float[Tensor, "b h a"]:
        gripper = self.config.gripper
        return self.action_scaling.scale(
            action if gripper is None else from_border(action, gripper)
        )

    def denormalise(
        self, action: Float[Tensor, "b h a"], obs: Observation
    ) -> Float[Tensor, "b h a"]:
        action = self.action_scaling.unscale(action)
        if self.config.gripper is None:
            return action
        action = to_border(action, self.config.gripper)
        if self.config.whole_gripper:
            action[..., -1] = action[..., -1].sign()
        return action

    @property
    def prefix(self) -> str:
        """Prefix of the names in files of LeRobot."""
        return LEROBOT_PREFIX if self.config.layout == "lerobot" else ""

    def fill(self, path: Path) -> None:
        """Reads the weights of a folder into the network."""
        tensors, used = TensorFolder.open(path).renamed(plain_name), released_shapes(self.network)
        unused = self.aside.keys() - used.keys()
        load_network(self.network, tensors.renamed(lambda x: None if x in unused else x))

    def save_weights(self, path: Path) -> None:
        """Writes shards or one file, as they were read."""
        weights = self.released_weights()
        kept = {name: tensor for name, tensor in weights.items() if name not in self.omitted}
        self.write(kept, path, sharded=self.sharded)

    def _prompts(self, obs: Observation) -> Prompts:
        config = self.config
        images, patches = len(config.cameras), config.sizes.vision.patches
        rows = []
        for text in obs.instruction:
            text = str([text]) if config.text_in_list else text
            rows.append(self.tokenizer.encode(groot_prompt(text, images=images, patches=patches)))
            if len(rows[-1]) > config.rows:
                raise UserError(
                    f"the prompt for {text!r} has {len(rows[-1])} rows, prompts are padded to "
                    f"{config.rows}: --policy.released.padded-length"
                )
        return pad_right(rows, config.rows)


def bucket_of(t: Float[Tensor, "b m"]) -> Int[Tensor, "b m"]:
    """The network's bucket of a time of ours, which runs the other way; fractions are cut."""
    # A thousandth of a bucket more: 1 - 0.8 is 0.19999999 in float32.
    return ((1 - t.float()) * BUCKETS + 1e-3).long()


def scaling_of(config: GrootConfig, statistics: DataStats, name: str) -> Scaling:
    """How state or action is scaled; UserError where the statistics do not fit."""
    size = config.state_size if name == "state" else config.action_size
    if name not in statistics or statistics[name].size < size:
        found = statistics[name].size if name in statistics else 0
        raise UserError(
            f"the checkpoint's statistics of {name} have {found} numbers, {size} are needed: "
            "statistics of another robot?"
        )
    cut = statistics[name].first(size)
    try:
        scaling = _by(config.scaling[name], cut)
        if name == "action" and config.gripper is not None:
            arm = [i < size - 1 for i in range(size)]
            scaling = scaling.where(arm, otherwise=_by("bounds", cut))
    except ValueError as error:
        raise UserError(f"{error} ({config.scaling[name]} of {name})") from None
    return scaling


def _by(kind: ScalingKind, statistics: NormStats) -> Scaling:
    if kind == "identity":
        return Scaling.identity(statistics.size)
    if kind == "mean_std":
        return Scaling.by_mean(statistics, eps=0.0, eps_back=0.0).without_constants()
    pair = (
        (statistics.q01, statistics.q99)
        if kind == "quantiles"
        else (statistics.min, statistics.max)
    )
    names = ("q01", "q99") if kind == "quantiles" else ("min", "max")
    low, high = (known(values, name) for values, name in zip(pair, names, strict=True))
    return Scaling.by_range(low, high, eps=0.0).without_constants()
