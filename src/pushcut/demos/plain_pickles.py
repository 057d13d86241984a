"""Reads pickles of arrays, texts and numbers, as ``np.save`` leaves them, and executes nothing.

A pickle is a program: it names functions and calls them. Here it may name those alone with which
numpy writes an array, and what is called in their place notes what it was given. Arrays are made of
the notes when all of it was read, so that not even numpy's own functions see what a file says
unchecked.
"""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from pushcut.errors import UserError

_OF_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
"""Where numpy 1 and 2 say that the functions are."""
_NAMES: Mapping[tuple[str, str], str] = {
    **{(module, "_reconstruct"): "array" for module in _OF_NUMPY},
    **{(module, "scalar"): "scalar" for module in _OF_NUMPY},
    ("numpy", "ndarray"): "type",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "bytes",  # protocol 2 writes bytes so, and none of them as a type
    ("__builtin__", "bytes"): "bytes",
}
"""What a pickle may name -> what it is noted as."""

_DTYPE = re.compile(r"[biuf][1248]|U\d{1,6}|O8?")
"""Truth values, numbers, texts, and whatever else is in a list."""


def read_plain(file: Path) -> Any:
    """What ``np.save`` wrote: an array; for an object its arrays, texts, numbers and containers.

    Containers are tuples, lists and dicts; an array of objects of one dimension comes as a list.
    UserError, in one line, for a file that holds anything else, or is damaged.
    """
    try:
        with file.open("rb") as stream:
            version = npy.read_magic(stream)
            header = npy.read_array_header_1_0 if version[0] == 1 else npy.read_array_header_2_0
            _, _, dtype = header(stream)
            if not dtype.hasobject:
                stream.seek(0)
                return np.load(stream, allow_pickle=False)
            return _Values().of(_Reader(stream).load())
    except FileNotFoundError:
        raise UserError(f"{file} is missing") from None
    # Damaged and hostile files raise many kinds of errors, MemoryError among them.
    except Exception as error:
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(
            f"{file} holds more than arrays, texts, numbers, tuples, lists and dicts, or is "
            f"damaged ({what}); it could run any code and was not executed: take the file as it "
            "was published"
        ) from None


class _Reader(pickle.Unpickler):
    """Lets a pickle name nothing but what numpy's arrays consist of."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        kind = _NAMES.get((module_name, global_name))
        if kind is None:
            raise pickle.UnpicklingError(f"it names {module_name}.{global_name}")
        return _Named(kind)


@dataclass(frozen=True)
class _Named:
    """Stands for what a pickle names; a call is noted."""

    kind: str

    def __call__(self, *arguments: Any) -> _Call:
        return _Call(self.kind, arguments)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it changes a function")


class _Call:
    """A call of what a pickle named, and the state that it was given then."""

    def __init__(self, kind: str, arguments: tuple[Any, ...]) -> None:
        self.kind, self.arguments = kind, arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Values:
    """Makes values of notes, each once however often it is referred to."""

    def __init__(self) -> None:
        self._made: dict[int, Any] = {}
        self._begun: set[int] = set()

    def of(self, noted: Any) -> Any:
        """The value of a note; ValueError for anything that is not plain."""
        if noted is None or isinstance(noted, (bool, int, float, str, bytes)):
            return noted
        key = id(noted)  # notes live as long as the pickle's result, so ids are not given twice
        if key not in self._made:
            if key in self._begun:
                raise ValueError("a container holds itself")
            self._begun.add(key)
            self._made[key] = self._make(noted)
        return self._made[key]

    def _make(self, noted: Any) -> Any:
        if type(noted) in (list, tuple):
            return type(noted)(map(self.of, noted))
        if type(noted) is dict:
            return {self.of(key): self.of(value) for key, value in noted.items()}
        if isinstance(noted, _Call):
            make = {"array": self._array, "scalar": self._scalar, "bytes": _bytes}
            if noted.kind in make:
                return make[noted.kind](noted)
        raise ValueError(f"{type(noted).__name__} is not plain")

    def _array(self, noted: _Call) -> Any:
        _, shape, kind, by_columns, content = noted.state
        dtype = _dtype(kind)
        if not all(type(size) is int and size >= 0 for size in shape):
            raise ValueError(f"an array has shape {shape}")
        if dtype.hasobject:
            if len(shape) > 1 or len(content) != math.prod(shape):
                raise ValueError(f"an array of objects has shape {shape}")
            return self.of(content if shape else content[0])
        values = _numbers(self.of(content), dtype, math.prod(shape))
        return values.reshape(shape, order="F" if by_columns else "C")

    def _scalar(self, noted: _Call) -> Any:
        kind, content = noted.arguments
        dtype = _dtype(kind)
        if dtype.hasobject:
            raise ValueError("a number is an object")
        return _numbers(self.of(content), dtype, 1)[0].item()


def _numbers(content: Any, dtype: np.dtype, count: int) -> np.ndarray:
    """So many numbers of a type, of exactly as many bytes as they take."""
    if type(content) is not bytes or len(content) != count * dtype.itemsize:
        raise ValueError(f"{count} numbers of {dtype} have other bytes")
    return np.frombuffer(content, dtype) if count else np.zeros(0, dtype)


def _dtype(noted: Any) -> np.dtype:
    """The type of an array's numbers; records and the like are refused."""
    if not isinstance(noted, _Call) or noted.kind != "dtype":
        raise ValueError("an array has no type")
    code = noted.arguments[0]
    order, *parts = (noted.state or (3, "|", None, None, None))[1:5]
    plain = order in ("<", ">", "|", "=") and all(part is None for part in parts)
    if not _DTYPE.fullmatch(code) or not plain:
        raise ValueError(f"an array is of type {code}")
    return np.dtype("O" if code[0] == "O" else order + code)


def _bytes(noted: _Call) -> bytes:
    if not noted.arguments:
        return b""
    text, encoding = noted.arguments
    if encoding != "latin1":
        raise ValueError(f"bytes are encoded as {encoding}")
    return text.encode("latin1")
