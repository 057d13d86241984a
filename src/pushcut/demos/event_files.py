"""Events of episodes in a parquet file: a row for each control step, one episode after another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pushcut.demos.frames import readable
from pushcut.envs.events import PER_OBJECT, Events
from pushcut.errors import UserError

SUFFIX = ".events.parquet"
MOST_MB = 200.0
"""A file takes no further episodes beyond this size, MB (10^6 bytes)."""
CONTROL_HZ = b"pushcut/control_hz"

EpisodeKey = tuple[str, int, int]
"""Task, seed of the initial state, repeat."""

SCHEMA = pa.schema(
    {
        "task": pa.dictionary(pa.int32(), pa.string()),
        "init_seed": pa.int64(),
        "repeat": pa.int32(),
        "step": pa.int32(),
        "objects": pa.list_(pa.string()),
        "hand": pa.list_(pa.float32()),
        "opening": pa.float32(),
        "pose": pa.list_(pa.float32()),
        "touch": pa.list_(pa.float32()),
        "fingers": pa.list_(pa.uint8()),
        "rest": pa.list_(pa.float32()),
        "action": pa.list_(pa.float32()),
    }
)
"""Lists have the numbers of all objects, in the order of ``objects``; see ``Events``."""


def events_file(result: Path) -> Path:
    """Where the events of the result at ``result`` lie."""
    return result.with_suffix(SUFFIX)


def write_events(
    path: Path,
    episodes: Mapping[EpisodeKey, Events],
    *,
    control_hz: float,
    most_mb: float = MOST_MB,
) -> int:
    """Writes episodes in their order, as many as ``most_mb`` hold; returns how many.

    The file appears when it is complete.
    """
    unfinished = path.with_name(f".{path.name}.tmp")
    schema = SCHEMA.with_metadata({CONTROL_HZ: str(control_hz).encode()})
    written = 0
    try:
        with pq.ParquetWriter(unfinished, schema, compression="zstd") as writer:
            for key, events in episodes.items():
                if unfinished.stat().st_size > most_mb * 1e6:
                    break
                writer.write_table(_table(key, events, schema))
                written += 1
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return written


def read_events(path: Path) -> tuple[dict[EpisodeKey, Events], float]:
    """Episode -> its events, in the order of the file; and control steps per second.

    Raises UserError where the file is missing, damaged or another one.
    """
    if not path.exists():
        raise UserError(f"{path} is missing: evaluate with --events")
    with readable(path), pq.ParquetFile(path) as file:
        hz = float(file.schema_arrow.metadata[CONTROL_HZ])
        groups = range(file.num_row_groups)
        return dict(_episode(file.read_row_group(group)) for group in groups), hz


def _table(key: EpisodeKey, events: Events, schema: pa.Schema) -> pa.Table:
    count = len(events)
    task, seed, repeat = key
    columns = {
        "task": pa.array([task] * count).dictionary_encode(),
        "init_seed": pa.array(np.full(count, seed, np.int64)),
        "repeat": pa.array(np.full(count, repeat, np.int32)),
        "step": pa.array(np.arange(count, dtype=np.int32)),
        "objects": _lists(np.tile(np.array(events.objects, object), count), count),
        "opening": pa.array(events.opening),
        **{n: _lists(getattr(events, n), count) for n in ("hand", *PER_OBJECT, "action")},
    }
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _lists(values: np.ndarray, count: int) -> pa.Array:
    """A list in each of ``count`` rows."""
    flat = values.reshape(-1)
    kind = pa.string() if flat.dtype == object else None
    offsets = np.linspace(0, len(flat), count + 1).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(flat, kind))


def _episode(table: pa.Table) -> tuple[EpisodeKey, Events]:
    count = len(table)
    objects = tuple(table["objects"][0].as_py())
    shapes = {"pose": (count, len(objects), 7), "hand": (count, 3)}
    shapes |= dict.fromkeys(PER_OBJECT[1:], (count, len(objects)))
    arrays = {
        name: table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        for name in (*shapes, "action")
    }
    arrays = {n: x.reshape(shapes.get(n, (count, len(x) // count))) for n, x in arrays.items()}
    key = tuple(table[name][0].as_py() for name in ("task", "init_seed", "repeat"))
    opening = table["opening"].to_numpy()
    return key, Events(objects=objects, opening=opening, **arrays)
