"""The benchmark's files: where they are, what is missing, and the models' sizes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from pushcut.envs.maniskill.put_on_plate.names import OBJECTS, RECEPTACLES, TABLES
from pushcut.envs.maniskill.simpler.assets import VISUAL
from pushcut.errors import UserError

VARIABLE = "MANISKILL_ASSET_DIR"
"""The folder that holds ``carrot``, as RLinf has it."""

OBJECT, RECEPTACLE, TABLE = "more_carrot", "more_plate", "more_table"
LISTED = {OBJECT: len(OBJECTS), RECEPTACLE: len(RECEPTACLES), TABLE: TABLES}
WHERE = (
    "they are ManiSkill/mani_skill/assets/carrot of github.com/gen-robot/RL4VLA, or "
    "huggingface.co/datasets/RLinf/maniskill_assets (for non-commercial use: CC BY-NC 4.0)"
)


@dataclass(frozen=True)
class Model:
    """What is known of a model."""

    name: str
    folder: Path
    density: float
    """kg/m³."""
    size: Float64[np.ndarray, " 3"]
    """Edges of its box, metres."""

    @property
    def visual(self) -> Path:
        """The file that is drawn."""
        return next(path for name in VISUAL if (path := self.folder / name).is_file())


def asset_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """The benchmark's folder."""
    return Path(environment.get(VARIABLE) or "~/.maniskill").expanduser() / "carrot"


def database(kind: str, folder: Path) -> dict[str, dict[str, Any]]:
    """The list of a kind of models, or of the tables, in the order that numbers follow."""
    file = folder / kind / "model_db.json"
    try:
        listed = json.loads(file.read_text())
    except OSError:
        raise UserError(
            f"PutOnPlate's files are not in {folder}: no {kind}/model_db.json; {WHERE}; set "
            f"{VARIABLE} to the folder above carrot"
        ) from None
    except ValueError as error:
        raise UserError(f"{file} is not valid JSON: {error}") from None
    return listed


def model(kind: str, place: int, folder: Path) -> Model:
    """The model at a place of a list."""
    name, entry = list(database(kind, folder).items())[place]
    low, high = (np.array(entry["bbox"][end], np.float64) for end in ("min", "max"))
    scale = float((entry.get("scales") or [1.0])[0])
    density = float(entry.get("density", 1000))
    return Model(entry["name"], folder / kind / name, density, (high - low) * scale)


def check(wanted: Mapping[str, Iterable[int]], folder: Path) -> None:
    """UserError in one line where the folder has not all that is ``wanted``: kind -> places."""
    for kind, places in wanted.items():
        listed = list(database(kind, folder).items())
        for place in places:
            if place >= len(listed):
                raise UserError(
                    f"{folder / kind} lists {len(listed)}, and number {place + 1} of "
                    f"{LISTED[kind]} is asked for: complete it, or ask for fewer (--env.objects, "
                    "--env.receptacles, --env.tables, other --env.tasks)"
                )
            if lacking := _lacking(kind, *listed[place], folder):
                raise UserError(f"{folder} lacks {lacking}; {WHERE}")


def _lacking(kind: str, name: str, entry: Mapping[str, Any], folder: Path) -> str:
    """The first file that is missing of one entry, relative to the folder."""
    if kind == TABLE:
        files = [f"{TABLE}/imgs/{name}", f"{TABLE}/textures/{entry['texture']}"]
    else:
        home = f"{kind}/{name}"
        drawn = next((n for n in VISUAL if (folder / home / n).is_file()), "textured.glb")
        files = [f"{home}/collision.obj", f"{home}/{drawn}"]
    return next((file for file in files if not (folder / file).is_file()), "")
