"""Masks that are made once for many layers, and what stays float32 in bfloat16."""

import torch

from pushcut.policies.networks.attention import attention, mask_of_heads
from pushcut.policies.networks.gemma import AdaptiveRMSNorm


def test_a_mask_for_heads_that_share_a_key_is_zero_where_they_may_look():
    mask = torch.tensor([[True, False, True], [True, True, False]]).view(1, 1, 2, 3)
    inf = float("inf")
    want = torch.tensor([[0.0, -inf, 0.0], [0.0, 0.0, -inf]] * 2).view(1, 1, 4, 3)
    got = mask_of_heads(mask, 2, torch.float32)
    assert torch.equal(got, want)
    assert got.stride(2) == 8  # a row begins where a GPU's kernels want it


def test_attention_with_such_a_mask_is_the_same_to_the_bit():
    torch.manual_seed(0)
    for dtype in (torch.float32, torch.bfloat16):
        query, key = torch.randn(2, 8, 5, 16).to(dtype), torch.randn(2, 1, 9, 16).to(dtype)
        mask = torch.rand(2, 1, 5, 9) > 0.3
        mask[..., 0] = True
        want = attention(query, key, key, mask)
        assert torch.equal(attention(query, key, key, mask_of_heads(mask, 8, dtype)), want)


def test_a_mask_that_is_true_everywhere_is_the_same_as_none_to_the_bit():
    torch.manual_seed(0)
    query, key = torch.randn(2, 4, 40, 16), torch.randn(2, 4, 40, 16)
    want = attention(query, key, key, torch.ones(2, 1, 1, 40, dtype=torch.bool))
    assert torch.equal(attention(query, key, key, None), want)


def test_adaptive_norms_compute_their_condition_in_float32_under_autocast():
    torch.manual_seed(0)
    norm, x, condition = AdaptiveRMSNorm(64), torch.randn(2, 3, 64), torch.randn(2, 1, 64)
    want, gate = norm(x, condition)
    with torch.autocast("cpu", torch.bfloat16):
        got, gate_under_autocast = norm(x, condition)
        rounded = norm.dense(condition).float()
    assert torch.equal(got, want) and torch.equal(gate_under_autocast, gate)
    # In bfloat16 the condition alone would be off by this much.
    assert float((rounded - norm.dense(condition)).detach().abs().max()) > 1e-4
