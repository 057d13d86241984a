"""GR00T N1.5 against numbers that NVIDIA's and RLinf's programs computed."""

import ast
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from pushcut.policies.flow.moments import gaussian_logprob, sde_moments
from pushcut.policies.networks.dit import angles
from pushcut.policies.networks.groot import GrootContext, GrootNetwork, GrootSizes
from pushcut.policies.networks.meta_init import meta_init
from pushcut.policies.value_head import CriticConfig, ValueHead
from tests.policies.networks.parity_sizes import groot_sizes

FOLDER = Path(__file__).parents[2] / "parity"
TOLERANCE: Any = {"rtol": 0.0, "atol": 1e-4}


class Instance:
    """A network with what went in and came out, and the embodiment of each row."""

    def __init__(self) -> None:
        with safe_open(FOLDER / "gr00t_n15_tiny.safetensors", "pt") as file:
            self.sizes = groot_sizes(file.metadata())
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        self.io = {k[3:]: x for k, x in tensors.items() if k.startswith("io.")}
        weights = {k[8:]: x for k, x in tensors.items() if k.startswith("weights.")}
        self.critic = {k[11:]: x for k, x in tensors.items() if k.startswith("value_head.")}
        self.network = GrootNetwork(self.sizes)
        self.network.tie()
        words = "backbone.eagle_model.language_model."
        weights[f"{words}lm_head.weight"] = weights[f"{words}model.embed_tokens.weight"]
        self.network.load_state_dict(weights)
        self.network.requires_grad_(False)
        self.rows = self.io["embodiment_id"].tolist()

    def encode(self, extra: int = 0) -> Tensor:
        """Eagle's output, with some more rows of padding on the right."""
        ids, mask = (
            torch.nn.functional.pad(self.io[name], (0, extra))
            for name in ("input_ids", "attention_mask")
        )
        images = self.io["pixel_values"].unflatten(0, (len(ids), -1))
        return self.network.encode(images, ids, mask.bool())

    def contexts(self, features: Tensor) -> list[GrootContext]:
        """One for each row, for each has an embodiment of its own."""
        state = self.io["state"].squeeze(1)
        return [
            self.network.context(features[[i]], state[[i]], embodiment, visible=None)
            for i, embodiment in enumerate(self.rows)
        ]

    def velocity(self, contexts: list[GrootContext], x: Tensor, bucket: Tensor) -> Tensor:
        """Velocity of points x [b, m, h, a] in buckets [b, m]."""
        outputs = [
            self.network.denoise(context, x[[i]], bucket[[i]], self.rows[i]).velocity
            for i, context in enumerate(contexts)
        ]
        return torch.cat(outputs)

    def sampled(self, contexts: list[GrootContext]) -> Tensor:
        """The chain of four Euler steps from t = 0."""
        chain = [self.io["start_noise"]]
        for step in range(4):
            bucket = torch.full((len(self.rows), 1), 250 * step)
            x = chain[-1].unsqueeze(1)
            chain.append((x + self.velocity(contexts, x, bucket) / 4).squeeze(1))
        return torch.stack(chain, dim=1)


@pytest.fixture(scope="module")
def groot() -> Instance:
    return Instance()


def test_images_are_tokens_as_in_the_reference(groot):
    eagle = groot.network.vlm
    seen = eagle.mlp1(eagle.vision_model.vision_model(groot.io["pixel_values"]))
    torch.testing.assert_close(seen, groot.io["vision_tokens"], **TOLERANCE)


def test_eagle_and_padding_have_the_outputs_of_flash_attention(groot):
    torch.testing.assert_close(groot.encode(), groot.io["backbone_features"], **TOLERANCE)
    padded = groot.encode(extra=4)
    torch.testing.assert_close(padded, groot.io["backbone_features_right_padded"], **TOLERANCE)


def test_the_action_heads_own_blocks_see_padding_as_the_reference_does(groot):
    for extra, name in ((0, ""), (4, "_right_padded")):
        contexts = groot.contexts(groot.encode(extra))
        vl = torch.cat([context.vl for context in contexts])
        torch.testing.assert_close(vl, groot.io[f"vl_embeddings{name}"], **TOLERANCE)
        state = torch.stack([context.state for context in contexts])
        torch.testing.assert_close(state, groot.io["state_features"], **TOLERANCE)


def test_times_are_encoded_as_in_the_reference(groot):
    buckets, head = groot.io["buckets"], groot.network.action_head
    got = head.model.timestep_encoder(buckets)
    torch.testing.assert_close(got, groot.io["bucket_embedding_dit"], **TOLERANCE)
    half = groot.sizes.dit.width // 2
    angle = angles(buckets, half, last=half)
    got = torch.cat((angle.sin(), angle.cos()), dim=-1)
    torch.testing.assert_close(got, groot.io["bucket_encoding_action"], **TOLERANCE)


def test_velocity_and_samples_are_those_of_the_reference(groot):
    contexts = groot.contexts(groot.encode())
    chain = groot.sampled(contexts)
    torch.testing.assert_close(chain, groot.io["chain"], **TOLERANCE)
    torch.testing.assert_close(chain[:, -1], groot.io["sampled_actions"], **TOLERANCE)
    first = groot.velocity(contexts, groot.io["start_noise"][:, None], torch.zeros(3, 1).long())
    torch.testing.assert_close(first[:, 0], groot.io["velocity_first_step"], **TOLERANCE)


def test_more_padding_gives_other_actions_the_same_as_the_reference(groot):
    chain = groot.sampled(groot.contexts(groot.encode(extra=4)))
    torch.testing.assert_close(chain[:, -1], groot.io["sampled_actions_right_padded"], **TOLERANCE)
    assert (chain[:, -1] - groot.io["sampled_actions"]).abs().max() > 0.01


def test_padding_that_is_not_seen_changes_nothing(groot):
    """As if each prompt ran alone: which rows are padded has no say."""
    state = groot.io["state"].squeeze(1)
    bucket, x = torch.zeros(1, 1).long(), groot.io["start_noise"][[2], None]
    images = groot.io["pixel_values"].unflatten(0, (3, -1))[[2]]
    ids, mask = groot.io["input_ids"][[2]], groot.io["attention_mask"][[2]].bool()
    velocities = []
    for kept in (slice(None), mask[0]):
        seen = mask[:, kept]
        features = groot.network.encode(images, ids[:, kept], seen)
        context = groot.network.context(features, state[[2]], 4, visible=seen)
        velocities.append(groot.network.denoise(context, x, bucket, 4).velocity)
    assert not bool(mask.all())
    torch.testing.assert_close(*velocities, rtol=0, atol=1e-5)


def test_loss_is_that_of_the_reference(groot):
    io = groot.io
    t = io["time"][:, None, None]
    x = (1 - t) * io["noise"] + t * io["action"]
    contexts = groot.contexts(groot.encode())
    got = groot.velocity(contexts, x[:, None], io["time_bucket"][:, None]).squeeze(1)
    torch.testing.assert_close(got, io["velocity_at_time"], **TOLERANCE)
    loss = (got - io["loss_target"]) ** 2
    torch.testing.assert_close(loss, io["loss_elementwise"], **TOLERANCE)
    mean = (loss * io["action_mask"]).sum() / io["action_mask"].sum()
    torch.testing.assert_close(mean, io["loss"].squeeze(), **TOLERANCE)


def test_flow_sde_has_the_moments_and_log_probabilities_of_rlinf(groot):
    """Our time runs the other way: t = 1 - i/4, and our velocity points at the noise."""
    io, contexts = groot.io, groot.contexts(groot.encode())
    points, bucket = io["chain"][:, :-1], torch.arange(4).expand(3, 4) * 250
    velocity = -groot.velocity(contexts, points, bucket)
    t = (1 - torch.arange(4) / 4).view(1, 4, 1, 1)
    mean, std = sde_moments(points, velocity, t, 0.25, noise_level=0.5, num_steps=4)
    torch.testing.assert_close(mean, io["sde_mean"], **TOLERANCE)
    torch.testing.assert_close(std.expand_as(mean), io["sde_std"], **TOLERANCE)
    after = mean + std * io["sde_noise"]
    got = gaussian_logprob(after, mean, std)
    torch.testing.assert_close(got, io["sde_log_prob"], **TOLERANCE)


def test_several_points_of_a_chain_side_by_side_are_the_points_one_by_one(groot):
    contexts, points = groot.contexts(groot.encode()), groot.io["chain"][:, :-1]
    bucket = torch.arange(4).expand(3, 4) * 250
    together = groot.velocity(contexts, points, bucket)
    apart = [groot.velocity(contexts, points[:, [i]], bucket[:, [i]]) for i in range(4)]
    torch.testing.assert_close(together, torch.cat(apart, dim=1), rtol=0, atol=1e-5)


def test_the_critic_sees_the_mean_of_all_rows_and_the_states_token_as_in_rlinf(groot):
    width = groot.sizes.llm.hidden + groot.sizes.dit.width
    head = ValueHead(width, CriticConfig(hidden=(24, 16, 8)))
    head.load_state_dict(groot.critic)
    for extra, name in ((0, "value"), (4, "value_right_padded")):
        contexts = groot.contexts(groot.encode(extra))
        seen = [torch.cat((context.vl.mean(1), context.state), dim=1) for context in contexts]
        torch.testing.assert_close(head(torch.cat(seen)), groot.io[name], **TOLERANCE)


def test_at_full_size_every_name_and_shape_is_the_released_one():
    lines = (FOLDER / "keys_GR00T_N1_5.txt").read_text().splitlines()
    pairs = (line.split("\t") for line in lines)
    released = {name: ast.literal_eval(shape) for name, shape in pairs}
    with meta_init():
        network = GrootNetwork(GrootSizes())
    assert {name: tuple(x.shape) for name, x in network.state_dict().items()} == released
    network.tie()
    millions = sum(x.numel() for x in network.parameters()) / 1e6
    head = sum(x.numel() for x in network.action_head.parameters()) / 1e6
    assert (round(millions, 1), round(head, 1)) == (2413.5, 1068.8)
