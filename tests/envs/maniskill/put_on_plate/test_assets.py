"""PutOnPlate's files: which are missing, and what the user is told."""

import json
from pathlib import Path

import numpy as np
import pytest

from pushcut.envs.maniskill.put_on_plate.assets import (
    OBJECT,
    RECEPTACLE,
    TABLE,
    VARIABLE,
    asset_folder,
    check,
    model,
)
from pushcut.errors import UserError
from tests.envs.maniskill.put_on_plate.made_up import OBJECT_HALF, write_assets

ALL = {OBJECT: range(25), RECEPTACLE: range(17), TABLE: range(21)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_assets(tmp_path) / "carrot"


def test_the_files_are_small(folder: Path):
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 51_200


def test_the_folder_is_the_one_that_rlinf_uses():
    assert asset_folder({VARIABLE: "/some/where"}) == Path("/some/where/carrot")


def test_a_whole_folder_says_nothing_and_a_model_has_its_size(folder: Path):
    check(ALL, folder)
    bread = model(OBJECT, 2, folder)
    assert (bread.name, bread.folder.name) == ("bread", "003_bread_1")
    assert bread.visual.name == "textured.obj"
    np.testing.assert_allclose(bread.size, 2 * np.array(OBJECT_HALF), atol=1e-9)


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ("more_carrot/002_kitchen shovel_1/collision.obj", "lacks more_carrot/002_kitchen shovel"),
        ("more_plate/017_notepad_1/textured.obj", "lacks more_plate/017_notepad_1/textured.glb"),
        ("more_table/imgs/021_table_1.png", "lacks more_table/imgs/021_table_1.png"),
        ("more_table/textures/003.png", "lacks more_table/textures/003.png"),
        ("more_plate/model_db.json", "no more_plate/model_db.json"),
    ],
)
def test_the_line_names_what_is_missing_where_it_is_from_and_its_licence(
    folder: Path, lost: str, said: str
):
    (folder / lost).unlink()
    with pytest.raises(UserError) as caught:
        check(ALL, folder)
    text = str(caught.value)
    assert said in text
    assert "RL4VLA" in text
    assert "CC BY-NC" in text
    assert len(text.splitlines()) == 1
    if "notepad" in lost:
        check({**ALL, RECEPTACLE: ()}, folder)  # what is not used need not be there


def test_fewer_than_are_asked_for_is_one_line(folder: Path):
    file = folder / RECEPTACLE / "model_db.json"
    listed = json.loads(file.read_text())
    file.write_text(json.dumps(dict(list(listed.items())[:12])))
    with pytest.raises(UserError, match=r"lists 12, and number 13 of 17 is asked.*--env\.recep"):
        check(ALL, folder)
    file.write_text("{")
    with pytest.raises(UserError, match="is not valid JSON"):
        check(ALL, folder)
