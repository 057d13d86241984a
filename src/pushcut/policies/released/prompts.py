"""Prompts of released VLAs, and the tokens of their own tokenizers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from pushcut.errors import UserError

EMPTY_TOKEN = 29871
"""Llama's token for a lone space: OpenVLA's prompts end with it."""

LENGTHS = 32
"""Left-padded prompts are a multiple of so many tokens long."""

IMAGE_PLACE = "<IMG_CONTEXT>"
"""GR00T's token in whose place a token of an image stands."""

KNOWN_TEXTS = 32_768
"""Prompts whose tokens are remembered; with a state in them each is another."""

STATE_BINS = np.linspace(-1, 1, 257)[:-1]
"""Lower edges of the 256 bins in which pi0.5 writes a state."""


@dataclass(frozen=True)
class Prompts:
    """A batch of token sequences."""

    ids: Int64[Tensor, "b l"]
    mask: Bool[Tensor, "b l"]
    """False at padding."""


def read_words(content: bytes, source: str) -> Any:
    """The library's tokenizer of a tokenizer.json; UserError in one line where that is none."""
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise UserError(
            "released VLAs need the library tokenizers: pip install 'pushcut[vla]'"
        ) from None
    try:
        tokenizer: Any = Tokenizer.from_str(content.decode())
    except Exception as error:  # the library raises bare exceptions
        raise UserError(f"{source} is not a tokenizer.json: {error}") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


class PromptTokenizer:
    """Text to tokens, never from the network."""

    def __init__(self, content: bytes, *, source: str, bos: str | None) -> None:
        """``content`` of a tokenizer.json; ``bos``: the token that prompts begin with, if any."""
        tokenizer = read_words(content, source)
        self._id_of, self._source = tokenizer.token_to_id, source
        self._first = [] if bos is None else [self.id_of(bos)]
        self.own_size = int(tokenizer.get_vocab_size(with_added_tokens=False))
        """Words without those that were added to its vocabulary."""
        added = tokenizer.get_added_tokens_decoder()
        ordinary = [number for number, token in added.items() if not token.special]
        self.size = max([self.own_size, *(number + 1 for number in ordinary)])
        """Words that a text is written with: added ones count, special ones do not."""
        self._known: int | None = None

        @lru_cache(maxsize=KNOWN_TEXTS)
        def tokens(text: str) -> tuple[int, ...]:
            found = tuple(tokenizer.encode(text, add_special_tokens=False).ids)
            if self._known is not None and max(found, default=0) >= self._known:
                strange = next(number for number in found if number >= self._known)
                raise UserError(
                    f"the prompt {text!r} holds {tokenizer.id_to_token(strange)!r}, a word that "
                    "the network does not know: say it otherwise"
                )
            return found

        self._tokens = tokens

    def check_fits(self, words: int) -> None:
        """UserError where texts are written with more words than a network knows.

        Special tokens may go beyond: PaliGemma's ``<image>`` is number 257,152, and pi0 knows as
        many words, from 0 on. A text that holds one is refused when it is written.
        """
        if self.size > words:
            raise UserError(
                f"the tokenizer has {self.size} words, the network {words}: is it the tokenizer of "
                "another model?"
            )
        self._known = words

    def id_of(self, token: str) -> int:
        """The number of a token; UserError where there is no such one."""
        found = self._id_of(token)
        if found is None:
            raise UserError(
                f"{self._source} has no token {token!r}: is it the tokenizer of another model?"
            )
        return int(found)

    @property
    def bos(self) -> int:
        """The token that prompts begin with; IndexError where there is none."""
        return self._first[0]

    def encode(self, text: str) -> list[int]:
        """Tokens of a text, BOS first where prompts begin with one."""
        return [*self._first, *self.plain(text)]

    def plain(self, text: str) -> list[int]:
        """Tokens of a text, without BOS; each text is looked at once."""
        return list(self._tokens(text))


def openvla_prompt(instruction: str) -> str:
    """OpenVLA's prompt for an instruction."""
    return f"In: What action should the robot take to {instruction.lower()}?\nOut:"


def clean(instruction: str) -> str:
    """Cleans an instruction as openpi's pi0 and pi0.5 do: one line, spaces between words."""
    return instruction.strip().replace("_", " ").replace("\n", " ")


def without_newline(instruction: str) -> str:
    """Keeps an instruction as LeRobot's pi0 does: unchanged, for one newline follows."""
    return instruction.removesuffix("\n")


def state_prompt(instruction: str, state: Float32[np.ndarray, " s"]) -> str:
    """Task and scaled state, which is written in 256 bins; below -1 is bin -1 (pi0-FAST)."""
    digits = np.digitize(state, STATE_BINS) - 1
    return f"Task: {clean(instruction)}, State: {' '.join(map(str, digits))};\n"


def pi05_prompt(instruction: str, state: Float32[np.ndarray, " s"]) -> str:
    """pi0.5's prompt, which ends with the beginning of the answer."""
    return f"{state_prompt(instruction, state)}Action: "


def groot_prompt(text: str, *, images: int, patches: int) -> str:
    """GR00T N1.5's prompt after its first token; each image has its places before the text."""
    places = "".join(
        f"<image {number}><img>{IMAGE_PLACE * patches}</img>" for number in range(1, images + 1)
    )
    return (
        "system\nYou are a helpful assistant.<|im_end|>\n"
        f"<|im_start|>user\n{places}{text}<|im_end|>\n<|im_start|>assistant\n"
    )


def pad_right(rows: list[list[int]], length: int) -> Prompts:
    """Pads prompts to one length: longer ones lose their end, shorter ones get zeros."""
    ids, mask = np.zeros((len(rows), length), dtype=np.int64), np.zeros((len(rows), length), bool)
    for row, tokens in enumerate(rows):
        kept = tokens[:length]
        ids[row, : len(kept)], mask[row, : len(kept)] = kept, True
    return Prompts(torch.from_numpy(ids), torch.from_numpy(mask))


def pad_left(rows: list[list[int]], pad: int) -> Prompts:
    """Pads prompts in front to the length of the longest, rounded up.

    So that a batch hardly ever has another shape than the next one.
    """
    length = -(-max(map(len, rows)) // LENGTHS) * LENGTHS
    ids = np.full((len(rows), length), pad, dtype=np.int64)
    mask = np.zeros((len(rows), length), bool)
    for row, tokens in enumerate(rows):
        ids[row, length - len(tokens) :], mask[row, length - len(tokens) :] = tokens, True
    return Prompts(torch.from_numpy(ids), torch.from_numpy(mask))
