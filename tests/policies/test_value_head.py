"""The critic's network: sizes, how it starts, what an older checkpoint has."""

import pytest
import torch
from torch import nn

from pushcut.policies.value_head import CriticConfig, ValueHead, make_value_head


def linears(head: ValueHead) -> list[nn.Linear]:
    return [layer for layer in head.mlp if isinstance(layer, nn.Linear)]


@pytest.mark.parametrize(
    ("config", "shapes"),
    [
        (CriticConfig(), [(512, 8), (256, 512), (128, 256), (1, 128)]),
        (CriticConfig(hidden=(1024, 512, 256)), [(1024, 8), (512, 1024), (256, 512), (1, 256)]),
        (CriticConfig(layers=1), [(1, 8)]),
    ],
)
def test_the_layers_have_the_sizes_that_are_asked_for(config, shapes):
    assert [tuple(layer.weight.shape) for layer in linears(ValueHead(8, config))] == shapes


def test_kaiming_starts_with_variance_two_by_outputs_and_the_last_layer_at_0_02():
    layers = linears(make_value_head(1024, CriticConfig(init="kaiming"), seed=0))
    # sqrt(2 / 512) = 0.0625, sqrt(2 / 256) = 0.0884, sqrt(2 / 128) = 0.125.
    want = [0.0625, 0.0884, 0.125, 0.02]
    assert [float(layer.weight.detach().std()) for layer in layers] == pytest.approx(want, rel=0.15)
    assert not any(bool(layer.bias.any()) for layer in layers)


def test_a_plain_start_is_that_of_earlier_versions():
    torch.manual_seed(0)
    sizes = (8, 512, 256, 128, 1)
    old = [nn.Linear(a, b) for a, b in zip(sizes, sizes[1:], strict=False)]
    new = linears(make_value_head(8, CriticConfig(), seed=0))
    for before, after in zip(old[:3], new[:3], strict=True):
        assert torch.equal(before.weight, after.weight) and torch.equal(before.bias, after.bias)


def test_a_critic_of_an_earlier_version_fits_the_default_and_no_other_size():
    old = make_value_head(8, CriticConfig(), seed=3).state_dict()
    make_value_head(8, CriticConfig(init="kaiming"), seed=0).load_state_dict(old)
    with pytest.raises(RuntimeError, match="size mismatch"):
        make_value_head(8, CriticConfig(hidden=(1024, 512, 256)), seed=0).load_state_dict(old)


def test_a_hidden_layer_of_nothing_is_refused():
    with pytest.raises(ValueError, match="hidden sizes"):
        CriticConfig(hidden=(512, 0, 128))
