import numpy as np
import pytest
import torch

from pushcut.policies.tokens.head import ActionTokenizer, ActionTokens, draw


def test_bins_are_the_intervals_between_edges_as_in_openvla():
    tokenizer = ActionTokenizer(bins=5)
    # edges -1, -0.5, 0, 0.5, 1; each interval holds its left edge; 1 alone is the last bin
    action = torch.tensor([-3.0, -1.0, -0.51, -0.5, 0.0, 0.99, 1.0, 2.0])
    assert tokenizer.encode(action).tolist() == [0, 0, 0, 1, 2, 3, 4, 4]


def test_decoding_gives_centres_and_the_last_bin_shares_the_last_centre():
    got = ActionTokenizer(bins=5).decode(torch.tensor([0, 1, 2, 3, 4]))
    torch.testing.assert_close(got, torch.tensor([-0.75, -0.25, 0.25, 0.75, 0.75]))


def test_encode_equals_numpy_digitize_with_256_bins():
    action = torch.linspace(-1.2, 1.2, 999)
    edges = np.linspace(-1, 1, 256, dtype=np.float32)
    want = np.digitize(np.clip(action.numpy(), -1, 1), edges) - 1
    assert ActionTokenizer().encode(action).tolist() == want.tolist()


def test_an_action_comes_back_within_half_a_bin():
    action = torch.linspace(-1, 1, 1001)
    tokenizer = ActionTokenizer()
    error = (tokenizer.decode(tokenizer.encode(action)) - action).abs().max().item()
    assert error <= 1 / 255 + 1e-6


def test_drawing_inverts_the_cdf():
    logits = torch.tensor([0.5, 0.25, 0.25]).log().expand(5, 3)
    uniform = torch.tensor([0.0, 0.49, 0.51, 0.76, 0.9999999])
    assert draw(logits, uniform).tolist() == [0, 0, 1, 2, 2]


def test_drawn_frequencies_are_the_probabilities():
    logits = torch.tensor([0.1, 0.2, 0.7]).log().expand(30000, 3)
    uniform = torch.rand(30000, generator=torch.Generator().manual_seed(0))
    frequency = torch.bincount(draw(logits, uniform), minlength=3) / 30000
    torch.testing.assert_close(frequency, torch.tensor([0.1, 0.2, 0.7]), rtol=0, atol=0.01)


def tokens_at(temperature: float) -> ActionTokens:
    return ActionTokens(ActionTokenizer(bins=8), temperature)


def test_logprobs_are_those_of_logits_over_the_temperature():
    tokens = tokens_at(2.0)
    logits = torch.tensor([0.0, 2.0] + [-1e9] * 6).expand(1, 1, 1, 8)
    got = tokens.evaluate(logits, torch.ones(1, 1, 1, dtype=torch.int16))
    # softmax([0, 1]): p = e/(1+e) = 0.7310586; entropy 0.5822
    assert got.logprob.exp().item() == pytest.approx(0.7310586, abs=1e-6)
    assert got.entropy.item() == pytest.approx(0.5822, abs=1e-4)


def test_greedy_takes_the_largest_logit_at_any_temperature():
    logits = torch.randn(2, 3, 4, 8, generator=torch.Generator().manual_seed(1))
    got = tokens_at(5.0).sample(logits, None)
    assert torch.equal(got.trace["bins"].long(), logits.argmax(-1))


def test_a_tokenizer_needs_two_bins():
    with pytest.raises(ValueError, match="bins must be >= 2"):
        ActionTokenizer(bins=1)


def test_bins_beside_the_demonstrated_one_are_nearly_right():
    """With spread 1: exp(-1/2) = 0.6065 one bin away, exp(-2) = 0.1353 two, exp(-9/2) = 0.0111."""
    tokens = ActionTokens(ActionTokenizer(bins=6), spread=1.0)
    got = tokens.targets(torch.tensor([1, 4, 5]))
    # The last bin shares the centre of the one before it, and is as right.
    weights = torch.tensor(
        [
            [0.6065, 1.0, 0.6065, 0.1353, 0.0111, 0.0111],
            [0.000335, 0.0111, 0.1353, 0.6065, 1.0, 1.0],
            [0.000335, 0.0111, 0.1353, 0.6065, 1.0, 1.0],
        ]
    )
    torch.testing.assert_close(got, weights / weights.sum(-1, keepdim=True), rtol=0, atol=1e-4)


def test_the_loss_is_the_cross_entropy_with_the_targets():
    logits = torch.tensor([0.0, 1.0, 3.0, 0.0]).log_softmax(-1).expand(1, 1, 2, 4)
    index = torch.tensor([[[1, 2]]])
    plain = ActionTokens(ActionTokenizer(bins=4))
    # log(1 + e + e^3 + 1) = 3.2110
    got = plain.losses(logits, index).flatten().tolist()
    assert got == pytest.approx([2.2110, 0.2110], abs=1e-4)
    spread = ActionTokens(ActionTokenizer(bins=4), spread=0.5)
    # exp(-2) = 0.1353, exp(-8) = 0.0003; bins 2 and 3 share a centre.
    p = torch.tensor([0.1353, 1.0, 0.1353, 0.1353])
    q = torch.tensor([0.0003, 0.1353, 1.0, 1.0])
    want = [float((-logits[0, 0, 0] * w / w.sum()).sum()) for w in (p, q)]
    assert spread.losses(logits, index).flatten().tolist() == pytest.approx(want, abs=1e-3)
