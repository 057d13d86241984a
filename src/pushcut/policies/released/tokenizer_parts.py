"""Tokenizers in parts, as Qwen's are released, put together into a tokenizer.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pushcut.errors import UserError
from pushcut.policies.released.files import read_json
from pushcut.system.git_lfs import FETCH, is_pointer

VOCABULARY, MERGES, ADDED = PARTS = ("vocab.json", "merges.txt", "added_tokens.json")
"""Byte-level BPE: words, the order in which pieces are joined, tokens that no text splits."""

WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""What Qwen2 and Qwen3 split a text into before they join bytes."""


def assembled(folder: Path) -> bytes:
    """The tokenizer.json of the parts in a folder; UserError where one is damaged."""
    vocabulary, added = read_json(folder / VOCABULARY), read_json(folder / ADDED)
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False}
    split = {"type": "Split", "pattern": {"Regex": WORDS}, "behavior": "Isolated", "invert": False}
    # Added tokens keep their numbers only if they are words, too.
    model = {"type": "BPE", "vocab": vocabulary | added, "merges": _merges(folder / MERGES)}
    content: dict[str, Any] = {
        "version": "1.0",
        "added_tokens": [_added(token, number) for token, number in sorted(added.items(), key=_id)],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [split, {**byte_level, "use_regex": False}],
        },
        "decoder": {**byte_level, "use_regex": False},
        "model": model,
    }
    return json.dumps(content, ensure_ascii=False).encode()


def _id(pair: tuple[str, Any]) -> int:
    return int(pair[1])


def _added(token: str, number: int) -> dict[str, Any]:
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": token, **plain, "special": True}


def _merges(file: Path) -> list[list[str]]:
    """Pairs of pieces, the first joined first."""
    if is_pointer(file):
        raise UserError(f"{file} {FETCH}")
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is no text: {error}") from None
    pairs = [line.split(" ") for line in lines if line and not line.startswith("#version")]
    if wrong := next((pair for pair in pairs if len(pair) != 2), None):
        raise UserError(f"{file} is damaged: {' '.join(wrong)!r} is no pair of pieces")
    return pairs
