"""Our Llama against the one of transformers, the same random weights in both.

transformers masks the future unless it is given a mask of four dimensions, which it takes as it
is: there, all tokens see all that are no padding, as in OpenVLA-OFT. Ours returns what the last
block puts out; its norm is applied here.
"""

import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig
from transformers import LlamaModel as TransformersLlama

from pushcut.policies.networks.attention import rotation
from pushcut.policies.networks.llama import LlamaModel, LlamaSizes

B, T = 3, 11


def sizes_with(**values: int | float) -> LlamaSizes:
    return LlamaSizes(
        **{
            "hidden": 32,
            "intermediate": 44,
            "layers": 3,
            "heads": 4,
            "kv_heads": 4,
            "vocab_padded": 20,
            **values,
        }
    )


def transformers_llama(sizes: LlamaSizes) -> TransformersLlama:
    config = LlamaConfig(
        hidden_size=sizes.hidden,
        intermediate_size=sizes.intermediate,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        num_key_value_heads=sizes.kv_heads,
        rms_norm_eps=sizes.rms_norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": sizes.rope_theta},
        vocab_size=sizes.vocab_padded,
    )
    network = TransformersLlama(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim > 1:
                # Every layer passes on values of order 1, so that no part of the network hides.
                weight.normal_(std=weight.shape[1] ** -0.5, generator=generator)
            else:
                weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return network


@pytest.fixture(
    params=[{}, {"kv_heads": 2}, {"rope_theta": 500.0}, {"rms_norm_eps": 0.1}],
    ids=["like Llama-2", "shared keys", "other rotation", "other norm"],
)
def pair(request) -> tuple[LlamaModel, TransformersLlama, LlamaSizes]:
    sizes = sizes_with(**request.param)
    ours, theirs = LlamaModel(sizes), transformers_llama(sizes)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs, sizes


@pytest.fixture
def visible() -> Tensor:
    """Padding at the left, in the middle and nowhere."""
    mask = torch.ones(B, T, dtype=torch.bool)
    mask[0, :4] = False
    mask[1, 5:7] = False
    return mask


@pytest.fixture
def positions() -> Tensor:
    """In another order than the tokens, row by row, as where OpenVLA's patches stand before BOS."""
    return torch.rand(B, T, generator=torch.Generator().manual_seed(2)).argsort(dim=1)


@torch.no_grad()
def test_visible_tokens_that_see_each_other_have_the_same_outputs(pair, visible, positions):
    ours, theirs, sizes = pair
    x = torch.randn(B, T, sizes.hidden, generator=torch.Generator().manual_seed(1))
    by = rotation(positions, sizes.head_dim, sizes.rope_theta)
    got = ours.norm(ours(x, by, visible[:, None, None, :]))
    expected = theirs(
        inputs_embeds=x,
        attention_mask=visible[:, None, None, :].expand(B, 1, T, T),
        position_ids=positions,
    ).last_hidden_state
    torch.testing.assert_close(got[visible], expected[visible], rtol=0, atol=1e-5)


@torch.no_grad()
def test_words_have_the_same_embeddings(pair):
    ours, theirs, sizes = pair
    words = torch.arange(sizes.vocab_padded)
    assert torch.equal(ours.embed_tokens(words), theirs.get_input_embeddings()(words))
