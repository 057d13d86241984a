"""Building networks without memory."""

import subprocess
import sys

from torch import nn

from pushcut.policies.networks.meta_init import meta_init


def test_a_bare_module_has_shapes_and_no_memory():
    with meta_init():
        layer, words = nn.Linear(3, 4), nn.Embedding(5, 6)
    assert layer.weight.is_meta and words.weight.is_meta
    assert (layer.weight.shape, layer.bias.shape, words.weight.shape) == ((4, 3), (4,), (5, 6))


def test_afterwards_modules_are_as_ever():
    with meta_init():
        nn.Linear(3, 4)
    assert not nn.Linear(3, 4).weight.is_meta


def test_building_bare_modules_does_not_load_the_compiler():
    code = """
import sys
from torch import nn
from pushcut.policies.networks.meta_init import meta_init
with meta_init():
    nn.Embedding(3, 3), nn.Linear(3, 3), nn.LayerNorm(3)
assert "torch._dynamo" not in sys.modules
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
