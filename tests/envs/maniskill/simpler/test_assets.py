"""SIMPLER's files: which are missing, what the user is told, and what stands in for them."""

from pathlib import Path

import pytest

from pushcut.envs.maniskill.simpler.assets import (
    BRIDGE,
    ROBOT,
    VARIABLE,
    asset_folder,
    check,
    missing,
    task_files,
    with_stand_ins,
)
from pushcut.envs.maniskill.simpler.tasks import TASKS
from pushcut.errors import UserError
from tests.envs.maniskill.simpler.made_up import HALF, tasks_with_models, write_assets

CARROT, EGGPLANT = "PutCarrotOnPlateInScene-v1", "PutEggplantInBasketScene-v1"
TABLE = BRIDGE / "stages/bridge_table_1_v1.glb"


@pytest.fixture
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The ``data`` folder of what is made up."""
    monkeypatch.setenv(VARIABLE, str(write_assets(tmp_path / "assets")))
    return tmp_path / "assets/data"


def test_every_model_is_made_up():
    assert tasks_with_models() == set(HALF)


def test_the_folder_is_where_maniskill_looks():
    assert asset_folder({VARIABLE: "/some/where"}) == Path("/some/where/data")
    assert asset_folder({}) == Path.home() / ".maniskill/data"


def test_what_is_missing_is_known_by_task(assets: Path):
    assert missing(task_files([CARROT], assets), assets) == [TABLE]
    model = BRIDGE / "custom/models/bridge_carrot_generated_modified"
    (assets / model / "collision.obj").unlink()
    (assets / model / "textured.obj").unlink()
    assert missing(task_files([CARROT], assets), assets) == [
        TABLE,
        model / "collision.obj",
        model / "textured.dae",
    ]
    assert missing(task_files([EGGPLANT], assets), assets) == [
        BRIDGE / "stages/bridge_table_1_v2.glb"
    ]


def test_the_line_names_files_the_command_and_the_way_out(assets: Path):
    with pytest.raises(UserError) as caught:
        check(task_files([CARROT], assets), stand_ins=False, python="/sims/python")
    said = str(caught.value)
    assert str(TABLE) in said
    assert str(assets) in said
    assert "type: /sims/python -m mani_skill.utils.download_asset -y bridge_v2_real2sim; or" in said
    assert "--env.stand-ins" in said
    assert len(said.splitlines()) == 1
    check(task_files([CARROT], assets), stand_ins=True)


def test_no_stand_in_is_offered_for_what_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(UserError, match=r"wx250s\.urdf.*and \d+ more") as caught:
        check(task_files(TASKS, asset_folder()), stand_ins=True, python="py")
    get = "py -m mani_skill.utils.download_asset -y"  # it takes one name at a time
    assert f"{get} widowx250s && {get} bridge_v2_real2sim" in str(caught.value)
    assert "--env.stand-ins" not in str(caught.value)


def test_stand_ins_lie_beside_links_to_the_users_files(assets: Path, tmp_path: Path):
    before = sorted(assets.rglob("*"))
    (assets / BRIDGE / "custom/models/eggplant/textured.obj").unlink()
    made = []

    def make(file: Path, folder: Path) -> None:
        assert folder == assets
        file.write_text("a box")
        made.append(file.name)

    needed = task_files([CARROT, EGGPLANT], assets)
    place = with_stand_ins(needed, tmp_path / "cache", make)
    assert with_stand_ins(needed, tmp_path / "cache", make) == place  # all there
    assert len(made) == 3  # two tables, one eggplant
    assert not missing(task_files([CARROT, EGGPLANT], place / "data"), place / "data")
    link = place / "data" / ROBOT / "wx250s.urdf"
    assert link.is_symlink()
    assert link.read_text() == (assets / ROBOT / "wx250s.urdf").read_text()
    assert set(assets.rglob("*")) < set(before)  # the user's own folder is left alone


def test_a_whole_folder_is_taken_as_it_is(assets: Path, tmp_path: Path):
    (assets / TABLE).parent.mkdir(parents=True)
    (assets / TABLE).write_text("a table")

    def make(file: Path, folder: Path) -> None:
        raise AssertionError("nothing is missing")

    assert with_stand_ins(task_files([CARROT], assets), tmp_path / "cache", make) == assets.parent
    assert not (tmp_path / "cache").exists()
