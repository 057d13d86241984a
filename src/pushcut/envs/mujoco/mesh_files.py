"""Simplified meshes kept on disk, named after their content: made once on a machine.

Any number of processes may read and write at once. A file that is damaged is made again.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np

from pushcut.envs.mujoco.simplify import FEW_FACES, Surface, simplified

VERSION = 1
"""Counts changes of ``simplify`` that change its results: what was made before is not used."""

DIGEST = hashlib.sha256().digest_size


def kept_simplified(surface: Surface, detail: float) -> Surface:
    """As ``simplified``, from a file where this was asked before."""
    if len(surface.faces) <= FEW_FACES:
        return surface
    path = folder() / f"{_key(surface, detail)}.mesh"
    found = _read(path)
    if found is None:
        found = simplified(surface, detail)
        _write(path, found)
    return found


def folder() -> Path:
    """Where the files are: a folder that may be deleted at any time."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "pushcut" / "meshes"


def _key(surface: Surface, detail: float) -> str:
    digest = hashlib.sha256(f"{VERSION} {detail!r}".encode())
    for array in (surface.vertices, surface.faces, surface.corners):
        digest.update(f" {array.dtype} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _read(path: Path) -> Surface | None:
    """The surface in a file; None where there is none, or not what was written."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, payload = content[:DIGEST], content[DIGEST:]
    if hashlib.sha256(payload).digest() != digest:
        return None
    with np.load(io.BytesIO(payload), allow_pickle=False) as arrays:
        return Surface(arrays["vertices"], arrays["faces"], arrays["corners"])


def _write(path: Path, surface: Surface) -> None:
    """Writes a file that is there as a whole or not at all; a read-only place is no error."""
    buffer = io.BytesIO()
    np.savez(buffer, **vars(surface))
    payload = buffer.getvalue()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
            temporary = Path(file.name)
        try:
            temporary.write_bytes(hashlib.sha256(payload).digest() + payload)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
