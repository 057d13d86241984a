"""The released networks against numbers that the public implementations computed."""

import ast
from typing import Any

import pytest
import torch
from torch import Tensor

from pushcut.policies.networks.openvla import OpenVLANetwork, OpenVLASizes
from pushcut.policies.networks.pi0 import Pi0Network, Pi0Sizes
from pushcut.policies.tokens.head import ActionTokenizer
from tests.policies.networks.parity_sizes import (
    FOLDER,
    TOLERANCE,
    openvla_sizes,
    pi0_sizes,
    read,
)
from tests.policies.networks.pi0_calls import sample_actions, velocity


@pytest.fixture(params=["pi0_tiny", "pi05_tiny"])
def pi0(request) -> tuple[Pi0Network, dict[str, Any], dict[str, Tensor]]:
    config, weights, io = read(request.param)
    network = Pi0Network(pi0_sizes(config))
    network.load_state_dict(weights)
    return network, config, io


def seen(io: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return io["images"], io["image_mask"], io["token_ids"], io["token_mask"]


def test_pi0_embeds_images_and_prompt_as_the_reference_does(pi0):
    network, _, io = pi0
    with torch.no_grad():
        embedded, _ = network.embed(*seen(io))
    torch.testing.assert_close(embedded, io["prefix_embedding"], **TOLERANCE)


def test_pi0_samples_the_actions_that_the_reference_sampled(pi0):
    network, config, io = pi0
    got = sample_actions(network, seen(io), io["state"], io["noise"], config["denoise_steps"])
    torch.testing.assert_close(got, io["sampled_actions"], **TOLERANCE)


def test_pi0_has_the_loss_that_the_reference_had(pi0):
    network, _, io = pi0
    t = io["time"][:, None, None]
    x = t * io["noise"] + (1 - t) * io["action"]
    with torch.no_grad():
        got = velocity(network, seen(io), io["state"], x, io["time"])
    loss = (got - (io["noise"] - io["action"])) ** 2
    torch.testing.assert_close(loss, io["loss_elementwise"], **TOLERANCE)


def test_several_points_of_a_chain_side_by_side_are_the_points_one_by_one(pi0):
    network, config, io = pi0
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 4, config["chunk"], config["action_dim"], generator=generator)
    t = torch.rand(3, 4, generator=generator)
    with torch.no_grad():
        prefix = network.encode(*seen(io))
        together = network.denoise(prefix, io["state"], x, t).velocity
        apart = [
            network.denoise(prefix, io["state"], x[:, [i]], t[:, [i]]).velocity for i in range(4)
        ]
    torch.testing.assert_close(together, torch.cat(apart, dim=1), rtol=0, atol=1e-5)


def test_a_image_that_is_masked_may_as_well_be_left_out(pi0):
    network, _, io = pi0
    images, _, ids, mask = seen(io)
    masked = torch.tensor([[True, False]] * 3)
    rest = (io["state"], io["noise"], 2)
    with_both = sample_actions(network, (images, masked, ids, mask), *rest)
    alone = sample_actions(network, (images[:, :1], masked[:, :1], ids, mask), *rest)
    torch.testing.assert_close(with_both, alone, rtol=0, atol=1e-5)


@pytest.fixture(params=["openvla_oft_tiny", "openvla_oft_proprio_tiny"])
def openvla(request) -> tuple[OpenVLANetwork, dict[str, Any], dict[str, Tensor]]:
    config, weights, io = read(request.param)
    network = OpenVLANetwork(openvla_sizes(config))
    network.load_state_dict(weights)
    return network, config, io


def logits_of(network: OpenVLANetwork, io: dict[str, Tensor]) -> Tensor:
    proprio = io["proprio"].float() if "proprio" in io else None
    with torch.no_grad():
        return network(io["pixel_values"], io["input_ids"], io["attention_mask"], proprio).logits


def test_openvla_projects_patches_and_state_as_the_reference_does(openvla):
    network, _, io = openvla
    proprio = io["proprio"].float() if "proprio" in io else None
    with torch.no_grad():
        patches = network.patch_embeddings(io["pixel_values"], proprio)
    torch.testing.assert_close(patches, io["patch_embeddings"], **TOLERANCE)


def test_openvla_has_the_logits_and_greedy_tokens_of_the_reference(openvla):
    network, config, io = openvla
    logits = logits_of(network, io)
    torch.testing.assert_close(logits, io["logits"], **TOLERANCE)
    tokens = logits.argmax(-1) + config["first_action_token"]
    assert torch.equal(tokens, io["greedy_tokens"])


def test_openvla_has_the_log_probabilities_and_entropies_of_the_reference(openvla):
    network, config, io = openvla
    log_probs = (logits_of(network, io) / config["temperature"]).log_softmax(-1)
    chosen = (io["response_tokens"] - config["first_action_token"]).unsqueeze(-1)
    got = log_probs.gather(-1, chosen).squeeze(-1)
    torch.testing.assert_close(got, io["response_log_prob"], **TOLERANCE)
    entropy = -(log_probs.exp() * log_probs).sum(-1)
    torch.testing.assert_close(entropy, io["entropy"], **TOLERANCE)


def test_bins_are_those_of_the_reference_counted_from_the_other_end(openvla):
    """Its token is vocab_size - 1 - our bin; both bins at the low end of its ids decode alike."""
    _, config, io = openvla
    bins, last = ActionTokenizer(config["n_action_bins"]), config["vocab_size"] - 1
    encoded = last - bins.encode(io["encode_values"])
    assert torch.equal(encoded, io["encode_tokens"])
    every_token = torch.arange(config["first_action_token"], config["vocab_size"])
    decoded = bins.decode(last - every_token)
    torch.testing.assert_close(decoded, io["decode_all_bins"].float(), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("file", "network"),
    [
        ("keys_openvla.txt", lambda: OpenVLANetwork(OpenVLASizes())),
        ("keys_PI0Pytorch.txt", lambda: Pi0Network(Pi0Sizes())),
        ("keys_PI05Pytorch.txt", lambda: Pi0Network(Pi0Sizes(pi05=True))),
    ],
)
def test_at_full_size_every_name_and_shape_is_the_released_one(file, network):
    lines = (FOLDER / file).read_text().splitlines()
    pairs = (line.split("\t") for line in lines)
    released = {name: ast.literal_eval(shape) for name, shape in pairs}
    with torch.device("meta"):
        own = {name: tuple(x.shape) for name, x in network().state_dict().items()}
    assert own == released
