"""Files in the layout of PutOnPlate's, made up: boxes, and pictures of a few pixels.

Less than 50 KB. The arm and the table are those that SIMPLER's tests make up.
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from pushcut.envs.maniskill.put_on_plate.assets import OBJECT, RECEPTACLE, TABLE
from pushcut.envs.maniskill.put_on_plate.names import OBJECTS, RECEPTACLES, TABLES
from tests.envs.maniskill.simpler.made_up import write_model

OBJECT_HALF = (0.03, 0.013, 0.014)
TALL_HALF = (0.013, 0.013, 0.035)
RECEPTACLE_HALF = (0.055, 0.055, 0.004)
"""Half edges, metres."""


def write_assets(folder: Path) -> Path:
    """Writes objects, receptacles and tables; for $MANISKILL_ASSET_DIR."""
    carrot = folder / "carrot"
    for kind, names in ((OBJECT, OBJECTS), (RECEPTACLE, RECEPTACLES)):
        listed = {}
        for number, name in enumerate(names):
            half = RECEPTACLE_HALF if kind == RECEPTACLE else OBJECT_HALF
            half = TALL_HALF if name == "travel cup" else half
            place = f"{number + 1:03}_{name}_1"
            listed[place] = {"name": name, **write_model(carrot / kind / place, half)}
        (carrot / kind / "model_db.json").write_text(json.dumps(listed))
    _write_tables(carrot / TABLE)
    return folder


def grey_of(table: int) -> int:
    """What a table's photograph shows, everywhere."""
    return 60 + 5 * table


def _write_tables(folder: Path) -> None:
    for part in ("imgs", "textures"):
        (folder / part).mkdir(parents=True)
    listed = {}
    for number in range(TABLES):
        name, texture = f"{number + 1:03}_table_1.png", f"{number + 1:03}.png"
        Image.fromarray(np.full((6, 8, 3), grey_of(number), np.uint8)).save(folder / "imgs" / name)
        stripes = np.zeros((6, 8, 3), np.uint8)
        stripes[:, ::2] = 255
        Image.fromarray(stripes).save(folder / "textures" / texture)
        listed[name] = {"name": "table", "texture": texture, "mix": float(number > 0)}
    (folder / "model_db.json").write_text(json.dumps(listed))
