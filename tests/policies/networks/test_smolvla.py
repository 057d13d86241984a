"""SmolVLA's network against numbers that LeRobot 0.4.2 computed on transformers 5.24.

The two files are of tiny instances with random weights: one sees images of the size that its tower
was made for and attends to actions in every second block, the other images of 6 by 6 patches where
the tower knows 8 by 8, in every third block.
"""

from __future__ import annotations

import ast
from typing import Any

import pytest
import torch
from torch import Tensor

from pushcut.policies.networks.pi0 import PrefixCache
from pushcut.policies.networks.smolvla import SmolVLANetwork, SmolVLASizes
from pushcut.policies.released.images import fitted_values
from tests.policies.networks.parity_sizes import FOLDER, TOLERANCE, read, smolvla_sizes

Instance = tuple[SmolVLANetwork, dict[str, Any], dict[str, Tensor]]


@pytest.fixture(params=["smolvla_tiny", "smolvla_other_size_tiny"])
def smolvla(request) -> Instance:
    config, weights, io = read(request.param)
    network = SmolVLANetwork(smolvla_sizes(config))
    network.load_state_dict(weights)
    return network, config, io


def encoded(network: SmolVLANetwork, io: dict[str, Tensor], *, output: bool = False) -> PrefixCache:
    names = ("images", "image_mask", "token_ids", "token_mask", "state")
    return network.encode(*(io[name] for name in names), output=output)


@torch.no_grad()
def test_it_embeds_images_prompt_and_state_as_the_reference_does(smolvla: Instance):
    network, _, io = smolvla
    names = ("images", "image_mask", "token_ids", "token_mask", "state")
    embedded, visible = network.embed(*(io[name] for name in names))
    torch.testing.assert_close(embedded, io["prefix_embedding"], **TOLERANCE)
    assert torch.equal(visible, io["prefix_visible"])


@torch.no_grad()
def test_the_vlm_makes_of_every_visible_token_what_the_reference_makes_of_it(smolvla: Instance):
    network, _, io = smolvla
    prefix = encoded(network, io, output=True)
    assert prefix.output is not None
    there = prefix.visible
    torch.testing.assert_close(prefix.output[there], io["vl_features"][there], **TOLERANCE)


@torch.no_grad()
def test_it_has_the_velocity_and_the_loss_of_the_reference(smolvla: Instance):
    network, _, io = smolvla
    t = io["time"][:, None, None]
    x = t * io["noise"] + (1 - t) * io["action"]
    got = network.denoise(encoded(network, io), x[:, None], io["time"][:, None]).velocity[:, 0]
    torch.testing.assert_close(got, io["velocity"], **TOLERANCE)
    loss = (got - (io["noise"] - io["action"])) ** 2
    torch.testing.assert_close(loss, io["loss_elementwise"], **TOLERANCE)


@torch.no_grad()
def test_it_samples_the_actions_that_the_reference_sampled(smolvla: Instance):
    network, config, io = smolvla
    prefix, steps = encoded(network, io), config["denoise_steps"]
    x = io["noise"][:, None]
    for step in range(steps):
        t = x.new_full(x.shape[:2], 1 - step / steps)
        x = x - network.denoise(prefix, x, t).velocity / steps
    torch.testing.assert_close(x[:, 0], io["sampled_actions"], **TOLERANCE)


@torch.no_grad()
def test_several_points_of_a_chain_side_by_side_are_the_points_one_by_one(smolvla: Instance):
    network, config, io = smolvla
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 4, config["chunk"], config["action_dim"], generator=generator)
    t = torch.rand(3, 4, generator=generator)
    prefix = encoded(network, io)
    together = network.denoise(prefix, x, t).velocity
    apart = [network.denoise(prefix, x[:, [i]], t[:, [i]]).velocity for i in range(4)]
    torch.testing.assert_close(together, torch.cat(apart, dim=1), rtol=0, atol=1e-5)


@torch.no_grad()
def test_an_action_does_not_see_those_after_it(smolvla: Instance):
    network, _, io = smolvla
    prefix, t = encoded(network, io), io["time"][:, None]
    first = network.denoise(prefix, io["noise"][:, None], t).velocity
    other = io["noise"].clone()
    other[:, 4:] += 1
    second = network.denoise(prefix, other[:, None], t).velocity
    torch.testing.assert_close(second[:, :, :4], first[:, :, :4], rtol=0, atol=1e-6)
    assert (second - first)[:, :, 4:].abs().max() > 0.1


def test_images_that_are_no_squares_lie_at_the_right_and_at_the_bottom():
    _, _, io = read("smolvla_tiny")
    got = fitted_values(io["levels"], 16, corner=True)
    torch.testing.assert_close(got, io["fitted"], rtol=0, atol=1e-6)
    # 6 x 10 pixels become 9 x 16: seven rows of padding above, black.
    assert bool((got[:, :, :7] == -1).all()) and bool((got[:, :, 7:] > -1).any())


def test_at_full_size_names_and_shapes_are_those_of_smolvla_base():
    lines = (FOLDER / "keys_SmolVLA.txt").read_text().splitlines()
    pairs = (line.split("\t") for line in lines)
    released = {name: ast.literal_eval(shape) for name, shape in pairs}
    with torch.device("meta"):
        own = {n: tuple(x.shape) for n, x in SmolVLANetwork(SmolVLASizes()).state_dict().items()}
    assert own == released
    # What users of the checkpoint counted in its file.
    assert (len(own), sum(torch.Size(s).numel() for s in own.values())) == (500, 450_046_176)
