"""What ``meta/info.json`` says of a LeRobot dataset: its version, rate, cameras and vectors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pushcut.demos.dialects import joined
from pushcut.demos.frames import CameraInfo
from pushcut.demos.lerobot import layout
from pushcut.demos.lerobot.layout import Storage
from pushcut.errors import UserError

EPISODES_V2 = "meta/episodes.jsonl"

AROUND = "observation.environment_state"
"""Feature of what the simulator knows beside the robot's state."""
_PREFIXES = (layout.CAMERA_PREFIX, "observation.", "images.")
"""What names of cameras begin with; ``observation.image`` (as pusht has) is ``image``."""

_NUMBERS = ("float", "int", "uint", "bool")
"""What types of features begin with whose values are numbers."""


@dataclass(frozen=True)
class StoredCamera(CameraInfo):
    """Where the images of a camera are stored."""

    key: str
    """The feature's full name, for example ``observation.images.corner2``."""
    storage: Storage


def version_of(path: Path, raw: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The layout, "v2" or "v3", as the folder has it, and what to say if it says otherwise."""
    told = raw.get("codebase_version")
    number = str(told or "").lower().removeprefix("v").split(".")[0]
    if number not in ("", "2", "3"):
        raise UserError(
            f"{path} is a LeRobot dataset of version {told}; this reads v2.x and v3.x: convert it "
            "with lerobot's scripts"
        )
    lists = {
        "2": (path / EPISODES_V2).is_file(),
        "3": bool(parquet_files(path / layout.EPISODES_FOLDER)),
    }
    found = [name for name, is_there in lists.items() if is_there]
    if number in found or (number and not found):
        return f"v{number}", []
    if not found:
        raise UserError(
            f"{path / layout.INFO_PATH} has no codebase_version, and neither {EPISODES_V2} nor "
            f"{layout.EPISODES_FOLDER} tells it: the dataset is incomplete"
        )
    said = f"codebase_version {told}" if told else "no codebase_version"
    has = EPISODES_V2 if found[0] == "2" else layout.EPISODES_FOLDER
    return f"v{found[0]}", [
        f"{layout.INFO_PATH} says {said}, but episodes are listed in {has}: it is read as version "
        f"{found[0]}"
    ]


def parquet_files(folder: Path) -> list[Path]:
    """The tables below a folder, without the hidden files that some systems put beside them."""
    return sorted(file for file in folder.rglob("*.parquet") if not file.name.startswith("."))


def rate_of(file: Path, raw: Mapping[str, Any]) -> float:
    """Frames per second; UserError for a rate that no recording has."""
    try:
        rate = float(raw["fps"])
    except (TypeError, ValueError):
        rate = math.nan
    if not 0 < rate < math.inf:
        raise UserError(f"{file} says fps {raw['fps']}, frames per second are a number above 0")
    return rate


def vector_of(
    path: Path, features: Mapping[str, Any], flag: str, asked: Sequence[str], *usual: str
) -> dict[str, int]:
    """Features that make up the state or the action -> how many numbers each has.

    Those that the user asks for, joined in their order; else the first usual one; else none.
    """
    if asked:
        return joined(path, flag, asked, _rows_of_numbers(features))
    found = [name for name in usual if name in features][:1]
    return {name: size_of(path, features, name) for name in found}


def _rows_of_numbers(features: Mapping[str, Any]) -> dict[str, int]:
    """Features that are numbers in one row, or a single one, but for those that count frames."""
    found = {}
    for key, feature in features.items():
        shape = feature.get("shape")
        shape = [shape] if isinstance(shape, int) else shape
        if (
            key not in layout.PER_FRAME
            and str(feature.get("dtype")).startswith(_NUMBERS)
            and isinstance(shape, list)
            and len(shape) <= 1
            and all(isinstance(size, int) for size in shape)
        ):
            found[key] = math.prod(shape)
    return found


def joined_names(features: Mapping[str, Any], sizes: Mapping[str, int]) -> tuple[str, ...]:
    """Names of the numbers of joined features; none where one of them has no names."""
    named = [names_of(features[key]) for key in sizes]
    if len(named) > 1 and any(
        len(names) != size for names, size in zip(named, sizes.values(), strict=True)
    ):
        return ()
    return tuple(name for names in named for name in names)


def without_state(features: Mapping[str, Any]) -> list[str]:
    """One line where frames have no state though some features are called so."""
    others = [
        name
        for name, feature in features.items()
        if "state" in name and name != AROUND and feature.get("dtype") not in ("image", "video")
    ]
    if not others:
        return []
    return [
        f"no feature is called {layout.STATE}: its frames have no state "
        f"(--data.state {' '.join(others)} would read one)"
    ]


def cameras_of(path: Path, features: Mapping[str, Any]) -> dict[str, StoredCamera]:
    """The cameras with colours, by the short names of their features."""
    cameras: dict[str, StoredCamera] = {}
    for key, feature in features.items():
        if feature["dtype"] not in ("image", "video") or why_not(feature):
            continue
        first, middle, last = _shape(path, key, feature)
        channels_first = first == 3 and last != 3
        height, width = (middle, last) if channels_first else (first, middle)
        name = short_name(key)
        if name in cameras:
            raise UserError(f"{path}: {cameras[name].key} and {key} are both called {name!r}")
        cameras[name] = StoredCamera(height, width, key, feature["dtype"])
    return cameras


def not_cameras(features: Mapping[str, Any]) -> dict[str, str]:
    """Features of images that are no pictures in colours, by name -> what they are instead."""
    return {
        short_name(key): why
        for key, feature in features.items()
        if feature["dtype"] in ("image", "video") and (why := why_not(feature))
    }


def why_not(feature: Mapping[str, Any]) -> str:
    """What makes a feature of images no camera with colours; nothing where it is one."""
    shape = feature.get("shape")
    told = [feature, feature.get("info") or {}, feature.get("video_info") or {}]
    names = ("is_depth_map", "video.is_depth_map")
    if any(isinstance(one, Mapping) and one.get(name) for one in told for name in names):
        return "is a depth map, not a picture in colours"
    if not isinstance(shape, list | tuple) or len(shape) not in (2, 3):
        return f"has shape {shape}, that of an image has three numbers"
    if len(shape) == 2 or 1 in (shape[0], shape[-1]):
        return f"has one channel (shape {list(shape)}), not three colours"
    return ""


def short_name(key: str) -> str:
    """What a camera is called, without what all of its dataset begin with."""
    for prefix in _PREFIXES:
        key = key.removeprefix(prefix)
    return key


def size_of(path: Path, features: Mapping[str, Any], key: str) -> int:
    """Length of a vector; UserError for a matrix."""
    shape = _shape(path, key, features[key])
    if len(shape) > 1:
        raise UserError(
            f"{path / layout.INFO_PATH}: {key} has shape {shape}, a row of numbers has one"
        )
    return math.prod(shape)


def _shape(path: Path, key: str, feature: Mapping[str, Any]) -> list[int]:
    shape = feature.get("shape")
    try:
        return [int(size) for size in ([shape] if isinstance(shape, int) else list(shape or ""))]
    except (TypeError, ValueError):
        raise UserError(
            f"{path / layout.INFO_PATH}: the shape of {key} is {shape}, not a list of numbers"
        ) from None


def names_of(feature: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the dimensions, one for each; none where they are nested in another way.

    Older datasets nest them as {"motors": [...]}, some as {"motors": {name: place}} or [[...]].
    """
    names = feature.get("names") or ()
    while isinstance(names, Mapping) and names:
        values = list(names.values())
        if all(isinstance(value, int) for value in values):
            names = sorted(names, key=lambda name: names[name])
        else:
            names = values[0]
    while isinstance(names, list | tuple) and len(names) == 1 and isinstance(names[0], list):
        names = names[0]
    if not isinstance(names, list | tuple):
        return ()
    return tuple(map(str, names))
