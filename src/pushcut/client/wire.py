"""Messages as openpi's servers and clients write them: msgpack, and numpy arrays in it.

An array is a map with the byte strings ``__ndarray__`` (true), ``data`` (its bytes in C order),
``dtype`` (as ``dtype.str``) and ``shape``; a single number with a dtype is one with
``__npgeneric__``, ``data`` and ``dtype``. Nothing is pickled: an array of objects is refused.
"""

from __future__ import annotations

import math
from typing import Any, TypeGuard

import msgpack
import numpy as np

from pushcut.errors import UserError

PLAIN_KINDS = "biuf"
"""Kinds of numpy dtypes that travel: booleans, integers and floats."""


class WireError(UserError):
    """Bytes that are no message, or a value that cannot be in one."""


def pack(message: Any) -> bytes:
    """The bytes of a message: dicts, lists, text, numbers and numpy arrays.

    Raises:
        WireError: Where something in it cannot travel.
    """
    try:
        packed = msgpack.packb(message, default=_plain)
    except (TypeError, ValueError, OverflowError) as error:
        raise WireError(f"this cannot be sent: {error}") from None
    assert packed is not None
    return packed


def unpack(content: bytes) -> Any:
    """The message in some bytes; its arrays are views of them and cannot be written to.

    Raises:
        WireError: Where they are damaged, or hold an array that is not what it says.
    """
    try:
        return msgpack.unpackb(content, object_hook=_array, timestamp=0)
    except WireError:
        raise
    # What msgpack raises for damaged bytes has several unrelated classes.
    except Exception as error:
        what = " ".join(str(error).split()) or type(error).__name__
        raise WireError(f"the message is no msgpack as openpi's clients write it: {what}") from None


def _plain(value: Any) -> Any:
    """What msgpack does not know, as it travels."""
    if isinstance(value, np.ndarray):
        _check(value.dtype)
        return {
            b"__ndarray__": True,
            b"data": value.tobytes(),
            b"dtype": value.dtype.str,
            b"shape": value.shape,
        }
    if isinstance(value, np.generic):
        _check(value.dtype)
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    raise TypeError(f"{type(value).__name__} is neither text, number, list, dict nor numpy array")


def _array(found: dict[Any, Any]) -> Any:
    """A map, or the array or number that it stands for."""
    if b"__ndarray__" in found:
        dtype, data, shape = _dtype(found), found.get(b"data"), found.get(b"shape")
        if not isinstance(data, bytes) or not _is_shape(shape):
            raise WireError("an array in the message lacks its data or its shape")
        if math.prod(shape) * dtype.itemsize != len(data):
            raise WireError(
                f"an array in the message has {len(data)} bytes, {dtype} of shape {list(shape)} "
                f"would be {math.prod(shape) * dtype.itemsize}"
            )
        return np.frombuffer(data, dtype).reshape(shape)
    if b"__npgeneric__" in found:
        return _dtype(found).type(found.get(b"data"))
    return found


def _dtype(found: dict[Any, Any]) -> np.dtype:
    name = found.get(b"dtype")
    if not isinstance(name, str):
        raise WireError("an array in the message does not say its dtype")
    dtype = np.dtype(name)
    _check(dtype)
    return dtype


def _check(dtype: np.dtype) -> None:
    if dtype.kind not in PLAIN_KINDS:
        raise WireError(f"arrays of dtype {dtype} do not travel: send booleans, integers or floats")


def _is_shape(shape: Any) -> TypeGuard[list[int]]:
    return isinstance(shape, list) and all(type(size) is int and size >= 0 for size in shape)
