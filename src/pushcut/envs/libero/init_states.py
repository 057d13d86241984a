"""Reads files of initial states without ever executing anything in them.

The package keeps its own as ``.npz``. LIBERO's original ``.pruned_init`` files are pickles
inside zip archives, as ``torch.save`` writes them; a pickle is a program, so here it can call
nothing but the recorders below, which keep what they are given.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from pushcut.errors import UserError

LARGEST = 64 * 2**20
"""Bytes of the largest file that is read; the benchmark's own are below 0.1 MB."""


def read_init_states(path: Path, count: int, size: int) -> Float64[np.ndarray, "{count} {size}"]:
    """Initial states (time, positions, velocities) of one task, a row each.

    Raises UserError for a file that is missing, is something else, or wants to be executed.
    """
    try:
        states = _read_numpy(path) if path.suffix in (".npz", ".npy") else _read_torch(path)
    except Exception as error:  # whatever a broken file can make of a reader
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{path} is no file of initial states: {reason}; "
            "what is read is .npz (array 'states'), .npy and LIBERO's .pruned_init"
        ) from error
    if states.dtype != np.float64 or states.shape != (count, size):
        found = f"{states.dtype} {list(states.shape)}"
        raise UserError(f"{path} holds {found}; this task needs float64 {[count, size]}")
    if not np.isfinite(states).all():
        raise UserError(f"{path} holds values that are no finite numbers")
    return states


def _read_numpy(path: Path) -> np.ndarray:
    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return loaded
    with loaded:
        return loaded["states"]


def _read_torch(path: Path) -> np.ndarray:
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.split("/")[-1] == "data.pkl"]
        if len(names) != 1:
            raise ValueError("the archive has no single data.pkl")
        if archive.getinfo(names[0]).file_size > LARGEST:
            raise ValueError(f"data.pkl is larger than {LARGEST} bytes")
        return _ArrayPickle(io.BytesIO(archive.read(names[0]))).array()


class _Recorded:
    """Stands for an object of the pickle; keeps what would have made it."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Array(_Recorded):
    """An array; its state is (version, shape, dtype, column order, bytes)."""


class _Dtype(_Recorded):
    """A dtype; its state begins with (version, byte order)."""


class _ArrayPickle(pickle.Unpickler):
    """A pickle that may hold one array of numbers and nothing else."""

    _ALLOWED: dict[str, Callable] = {
        "numpy.ndarray": _Recorded,
        "numpy.dtype": _Dtype,
        "numpy.core.multiarray._reconstruct": _Array,
        "numpy._core.multiarray._reconstruct": _Array,
        "_codecs.encode": lambda text, encoding: str(text).encode("latin1"),
    }

    def find_class(self, module: str, name: str) -> Any:
        """Gives out a recorder, or refuses."""
        if f"{module}.{name}" not in self._ALLOWED:
            raise ValueError(f"it wants to call {module}.{name}, which is refused")
        return self._ALLOWED[f"{module}.{name}"]

    def array(self) -> np.ndarray:
        """Reads the pickle and makes the array of what was recorded."""
        found = self.load()
        if not isinstance(found, _Array):
            raise ValueError(f"it holds a {type(found).__name__}, not an array")
        _, shape, dtype, column_order, data = found.state
        kind = dtype.arguments[0]
        if kind not in ("f8", "f4"):
            raise ValueError(f"it holds elements of kind {kind!r}, not numbers")
        if len(data) > LARGEST or len(data) != math.prod(shape) * int(kind[1]):
            raise ValueError(f"{len(data)} bytes do not make an array of shape {shape}")
        order = "F" if column_order else "C"
        byte_order = ">" if dtype.state[1] == ">" else "<"
        values = np.frombuffer(data, dtype=byte_order + kind).reshape(shape, order=order)
        return values.astype(np.float64)
