"""GR00T N1.5's pictures, prompts, states and actions against NVIDIA's and RLinf's numbers."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from pushcut.errors import UserError
from pushcut.policies.released.images import bicubic_pixels, cropped_pixels, siglip_pixel_values
from pushcut.policies.released.prompts import PromptTokenizer, groot_prompt
from pushcut.policies.released.tokenizer_files import EAGLE, read_tokenizer

FOLDER = Path(__file__).parents[2] / "parity"
WORDS = FOLDER / "qwen3_words"
"""Those words of Qwen3's tokenizer, with their numbers, that the prompts below may need."""


@pytest.fixture(scope="module")
def processed() -> tuple[dict[str, str], dict[str, Tensor]]:
    with safe_open(FOLDER / "gr00t_processing.safetensors", "pt") as file:
        return file.metadata(), {key[3:]: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def test_pictures_are_cropped_and_resized_to_the_level(processed):
    _, io = processed
    images = io["image"].flatten(0, 1).numpy()
    got = cropped_pixels(images, 224, 0.95)
    assert np.array_equal(got, io["cropped_resized"].flatten(0, 1).numpy())
    values = siglip_pixel_values(torch.from_numpy(got[:2]))
    torch.testing.assert_close(values, io["pixel_values_first"], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "resize", [lambda x: cropped_pixels(x, 224, 0.95), lambda x: bicubic_pixels(x, 224)]
)
def test_a_picture_does_not_depend_on_its_batch(resize, processed):
    images = processed[1]["image"].flatten(0, 1).numpy()
    alone = [resize(image[None]) for image in images]
    assert np.array_equal(resize(images), np.concatenate(alone))


def test_prompts_have_the_tokens_of_the_reference(processed):
    metadata, io = processed
    content = read_tokenizer(Path("nowhere"), WORDS, model=EAGLE)
    tokenizer = PromptTokenizer(content, source="the parts", bos="<|im_start|>")
    for row, text in enumerate(json.loads(metadata["texts"])):
        want = io["input_ids"][row][io["attention_mask"][row].bool()].tolist()
        assert tokenizer.encode(groot_prompt(text, images=2, patches=256)) == want


def test_a_missing_tokenizer_is_named_with_the_files_that_are_to_be_had(tmp_path):
    with pytest.raises(UserError) as error:
        read_tokenizer(tmp_path, None, model=EAGLE)
    message = str(error.value)
    assert "\n" not in message
    assert f"hf download {EAGLE} vocab.json merges.txt added_tokens.json" in message


@pytest.mark.parametrize("part", ["vocab.json", "merges.txt", "added_tokens.json"])
def test_a_damaged_part_of_a_tokenizer_is_named(part, tmp_path):
    for file in WORDS.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / part).write_text("one two three\n")
    with pytest.raises(UserError, match=part):
        read_tokenizer(tmp_path, None, model=EAGLE)
    (tmp_path / part).unlink()
    with pytest.raises(UserError, match=r"tokenizer.json is missing"):
        read_tokenizer(tmp_path, None, model=EAGLE)
