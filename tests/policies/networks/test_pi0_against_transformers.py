"""Our pi0 against the one of transformers, the same random weights in both.

What transformers does otherwise than openpi, and what that means here (5.23):

- Its processor leaves a masked camera out of the sequence, whose rows then have different numbers
  of image tokens before the prompt; openpi and we keep the camera's place and hide it. Tokens see
  positions counted over visible tokens only, so nothing else may change: embeddings are compared
  at visible tokens. Its model takes openpi's layout as well; both are tested.
- It counts positions over visible tokens only if it is given ``attention_mask``. Without one it
  counts the prefix from 1, as PaliGemma does, and the state has the position of the last prompt
  token: not pi0, and not compared.
- It computes the angles of the time in float32, openpi and we in float64. The largest angle is
  1571, where neighbours in float32 are 1.2e-4 apart: the embeddings of the time are compared up to
  that (1.2e-4 here, 2.1e-4 at the released width), and for the rest it gets ours. With its own, the
  actions of a single step are 1.1e-4 apart; with ours, 6e-7.
- It has no output words; it knows the released ones of the expert as input words nobody uses.

Scaling of image features (none) and of words (square root of the width), the masks and the Euler
steps are openpi's. All is float32: what openpi rounds to bfloat16 is not looked at here.
"""

import pytest
import torch
from torch import Tensor
from transformers import PI0Config, PI0ForConditionalGeneration

from pushcut.policies.networks.gemma import GemmaSizes
from pushcut.policies.networks.pi0 import Pi0Network, Pi0Sizes
from pushcut.policies.networks.siglip import SiglipSizes
from pushcut.policies.networks.times import time_embedding
from tests.policies.networks.pi0_calls import sample_actions, velocity

ATTENTION = {"heads": 4, "kv_heads": 1, "head_dim": 8}
SIZES = Pi0Sizes(
    vision=SiglipSizes(width=24, depth=2, mlp=40, heads=3, image_size=16, patch_size=8),
    vlm=GemmaSizes(width=32, depth=3, mlp=48, **ATTENTION),
    expert=GemmaSizes(width=16, depth=3, mlp=20, **ATTENTION),
    vocab_size=50,
    chunk=5,
    state_dim=6,
    action_dim=7,
)
IMAGE_TOKEN = SIZES.vocab_size
"""A word that its table does not have, as with the released sizes."""

OURS_BY_THEIRS = {
    "model.vlm.vision_tower.": "paligemma_with_expert.paligemma.model.vision_tower.vision_model.",
    "model.vlm.": "paligemma_with_expert.paligemma.model.",
    "model.dit.embed_tokens.": "paligemma_with_expert.gemma_expert.lm_head.",
    "model.dit.": "paligemma_with_expert.gemma_expert.model.",
    "embed_action_time.": "",
    "": "",
}
"""Beginnings of parameter names; the first that fits counts."""


def gemma_config(sizes: GemmaSizes) -> dict[str, object]:
    return {
        "model_type": "gemma",
        "hidden_size": sizes.width,
        "num_hidden_layers": sizes.depth,
        "intermediate_size": sizes.mlp,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.kv_heads,
        "head_dim": sizes.head_dim,
        "vocab_size": SIZES.vocab_size,
    }


def transformers_config() -> PI0Config:
    vision = {
        "model_type": "siglip_vision_model",
        "hidden_size": SIZES.vision.width,
        "num_hidden_layers": SIZES.vision.depth,
        "intermediate_size": SIZES.vision.mlp,
        "num_attention_heads": SIZES.vision.heads,
        "image_size": SIZES.vision.image_size,
        "patch_size": SIZES.vision.patch_size,
        "vision_use_head": False,
    }
    vlm = {
        "model_type": "paligemma",
        "text_config": gemma_config(SIZES.vlm),
        "vision_config": vision,
        "projection_dim": SIZES.vlm.width,
        "image_token_id": IMAGE_TOKEN,
    }
    return PI0Config(
        vlm_config=vlm,
        dit_config=gemma_config(SIZES.expert),
        chunk_size=SIZES.chunk,
        max_state_dim=SIZES.state_dim,
        max_action_dim=SIZES.action_dim,
    )


def assert_same(got: Tensor, expected: Tensor, *, atol: float = 1e-5) -> None:
    torch.testing.assert_close(got, expected, rtol=0, atol=atol)


def our_name(theirs: str) -> str:
    begin = next(begin for begin in OURS_BY_THEIRS if theirs.startswith(begin))
    return OURS_BY_THEIRS[begin] + theirs.removeprefix(begin)


@pytest.fixture(scope="module")
def theirs() -> PI0ForConditionalGeneration:
    network = PI0ForConditionalGeneration(transformers_config()).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim > 1:
                # Every layer passes on values of order 1, so that no part of the network hides.
                weight.normal_(std=weight[0].numel() ** -0.5, generator=generator)
            else:
                weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return network


@pytest.fixture
def same_angles(theirs, monkeypatch) -> None:
    """Takes the rounding of the time's angles out of the comparison."""
    monkeypatch.setattr(
        theirs.embed_action_time.sinusoid_embeds,
        "forward",
        lambda time: time_embedding(time, SIZES.expert.width),
    )


@pytest.fixture(scope="module")
def ours(theirs) -> Pi0Network:
    network = Pi0Network(SIZES)
    network.tie()
    weights = {our_name(name): x for name, x in theirs.state_dict().items()}
    words = "paligemma_with_expert.paligemma.model.language_model.embed_tokens.weight"
    weights["paligemma_with_expert.paligemma.lm_head.weight"] = weights[words]
    network.load_state_dict(weights)
    return network


@pytest.fixture(scope="module")
def seen() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two cameras, of which two rows miss one, and prompts of 6, 4 and 2 words."""
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(3, 2, 3, 16, 16, generator=generator) * 2 - 1
    image_mask = torch.tensor([[True, True], [False, True], [True, False]])
    token_ids = torch.randint(1, SIZES.vocab_size, (3, 6), generator=generator)
    token_mask = torch.arange(6) < torch.tensor([[6], [4], [2]])
    return images, image_mask, token_ids * token_mask, token_mask


@pytest.fixture(scope="module")
def acted() -> tuple[Tensor, Tensor, Tensor]:
    """States, actions of pure noise, and times."""
    generator = torch.Generator().manual_seed(2)
    state = torch.randn(3, SIZES.state_dim, generator=generator)
    noise = torch.randn(3, SIZES.chunk, SIZES.action_dim, generator=generator)
    return state, noise, torch.tensor([0.001, 0.37, 1.0])


@pytest.fixture(scope="module", params=["masked cameras left out", "masked cameras hidden"])
def their_input(request, seen) -> dict[str, Tensor]:
    """What transformers reads: words and image tokens in one sequence, padded on the right."""
    images, image_mask, token_ids, token_mask = seen
    shown = image_mask.repeat_interleave(SIZES.vision.patches, dim=1)
    ids = torch.cat((torch.full(shown.shape, IMAGE_TOKEN), token_ids), dim=1)
    mask = torch.cat((shown, token_mask), dim=1)
    if request.param == "masked cameras left out":
        visible_first = mask.int().argsort(dim=1, descending=True, stable=True)
        mask = mask.gather(1, visible_first)
        ids = ids.gather(1, visible_first) * mask
    else:
        image_mask = torch.ones_like(image_mask)
    return {
        "input_ids": ids,
        "attention_mask": mask.long(),
        "pixel_values": images,
        "pixel_attention_mask": image_mask,
    }


@torch.no_grad()
def test_visible_tokens_of_images_and_prompt_have_the_same_embeddings(
    ours, theirs, seen, their_input
):
    got, visible = ours.embed(*seen)
    expected = theirs.model.embed_prefix(**their_input)
    assert visible.sum(1).tolist() == [8 + 6, 4 + 4, 4 + 2]
    assert_same(got[visible], expected[their_input["attention_mask"].bool()])


@pytest.mark.usefixtures("same_angles")
@torch.no_grad()
def test_the_velocity_is_the_same(ours, theirs, seen, acted, their_input):
    state, x, t = acted
    expected = theirs(state=state, noise=x, timestep=t, **their_input).logits
    assert_same(velocity(ours, seen, *acted), expected)


@pytest.mark.usefixtures("same_angles")
@pytest.mark.parametrize("num_steps", [1, 4, 10])
def test_the_same_noise_becomes_the_same_actions(ours, theirs, seen, acted, their_input, num_steps):
    state, noise, _ = acted
    expected = theirs.sample_actions(state=state, noise=noise, num_steps=num_steps, **their_input)
    got = sample_actions(ours, seen, state, noise, num_steps)
    assert_same(got, expected)


@torch.no_grad()
def test_times_have_the_same_embeddings_up_to_the_rounding_of_angles(theirs):
    times = torch.linspace(0, 1, 1001)
    got = time_embedding(times, SIZES.expert.width)
    expected = theirs.embed_action_time.sinusoid_embeds(times)
    # The largest angle is 2 pi / 0.004 = 1571. From 1024 to 2048 float32 has steps of 2 ** -13 =
    # 1.2e-4, and rounds to half a step; period, frequency and their product are rounded.
    assert_same(got, expected, atol=3e-4)
