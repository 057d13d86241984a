"""Small tokenizers for pi0-FAST: single characters with room for codes, and a fitted FAST."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import scipy.fft
from benchmarks.full_size.folders import tokenizer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SCALE, VOCABULARY = 4, 64
SKIP, CODES = 2, VOCABULARY + 2
SPECIAL = ["<eos>"]
CHARACTERS = len(json.loads(tokenizer("<bos>"))["model"]["vocab"]) + len(SPECIAL)
"""Words of a tokenizer of characters, with <eos>."""


def tokenizer_with_codes(codes: int = CODES) -> bytes:
    """Single characters, <eos>, and so many words at the end that no text has."""
    content = json.loads(tokenizer("<bos>"))
    words = content["model"]["vocab"]
    for word in [*SPECIAL, *(f"<code{i}>" for i in range(codes))]:
        words[word] = len(words)
    return json.dumps(content).encode()


def smooth_chunks(rows: int, horizon: int, size: int, seed: int = 0) -> np.ndarray:
    """Random chunks [rows, horizon, size] in [-1, 1] with two frequencies."""
    generator = np.random.default_rng(seed)
    levels = np.zeros((rows, horizon, size))
    levels[:, :2] = generator.uniform(-1, 1, (rows, 2, size))
    return np.asarray(scipy.fft.idct(levels, axis=1, norm="ortho"), dtype=np.float32)


@cache
def fitted() -> tuple[bytes, int]:
    """A FAST tokenizer.json for chunks in about [-1, 1], and its lowest level."""
    lowest = -12
    texts = []
    for chunk in smooth_chunks(300, 6, 3):
        levels = np.around(np.asarray(scipy.fft.dct(chunk, axis=0, norm="ortho")) * SCALE) - lowest
        texts.append("".join(map(chr, levels.astype(int).flat)))
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    # The reference's alphabet is that of the levels themselves; bytes that no text has are lost.
    alphabet = sorted(set(pre_tokenizers.ByteLevel.alphabet()))
    levels = [x for x in alphabet if 0 <= decoded(x) <= -2 * lowest]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, min_frequency=2, show_progress=False, initial_alphabet=levels
    )
    made.train_from_iterator(texts, trainer)
    return made.to_str().encode(), lowest


def decoded(character: str) -> int:
    """The byte that a character of a byte-level vocabulary stands for; -1: more than one."""
    text = decoders.ByteLevel().decode([character])
    return ord(text) if len(text) == 1 and ord(text) < 128 else -1


def write_fast_tokenizer(folder: Path, **changed: object) -> Path:
    """A folder with the two files of a FAST tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    words, lowest = fitted()
    (folder / "tokenizer.json").write_bytes(words)
    settings = {
        "processor_class": "UniversalActionProcessor", "scale": SCALE, "min_token": lowest,
        "vocab_size": VOCABULARY, "action_dim": None, "time_horizon": None,
    }  # fmt: skip
    (folder / "processor_config.json").write_text(json.dumps(settings | changed))
    return folder
