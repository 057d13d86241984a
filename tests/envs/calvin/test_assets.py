"""Where CALVIN's files are looked for, and what is said where they are not."""

from pathlib import Path

import pytest

from pushcut.envs.calvin import assets
from pushcut.envs.calvin.env import CalvinConfig
from pushcut.envs.calvin.tasks import TASKS
from pushcut.errors import UserError


def checkout(root: Path, data: str, sentences: str) -> Path:
    for file in assets.needed("D"):
        path = root / data / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("<robot/>")
    lines = [f'{name}: ["do {name}",\n    "please do {name}"]' for name in TASKS]
    file = root / sentences / assets.WORDINGS["training"]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("# made up\n" + "\n".join(lines) + "\n")
    return root


@pytest.mark.parametrize(
    ("data", "sentences", "chosen"),
    [
        (".", "annotations", "."),
        ("calvin_env/data", "calvin_models/conf/annotations", "."),
        ("calvin_env/data", "calvin_models/conf/annotations", "calvin_env"),
        ("calvin_env/data", "calvin_models/conf/annotations", "calvin_env/data"),
    ],
)
def test_a_checkout_and_its_parts_will_do(tmp_path: Path, data: str, sentences: str, chosen: str):
    root = str(checkout(tmp_path, data, sentences) / chosen)
    assert assets.data_folder(root, "D").resolve() == (tmp_path / data).resolve()
    told = assets.sentences(root, "training")
    assert told and told["open_drawer"] == ("do open_drawer", "please do open_drawer")
    assert assets.sentences(root, "validation") is None
    with pytest.raises(UserError, match="new_playtable_validation.yaml.*git clone"):
        assets.check_sentences(root, "validation")
    with pytest.raises(UserError, match=r"lacks calvin_table_A.*git clone.*github.com/mees/calvin"):
        assets.data_folder(root, "AD")


def test_training_has_several_sentences_for_a_sub_task(tmp_path: Path):
    root = str(checkout(tmp_path, ".", "annotations"))
    config = CalvinConfig(("open_drawer",), assets=root, wording="training")
    assert config.spec.wordings == {"open_drawer": ("do open_drawer", "please do open_drawer")}
    assert len(CalvinConfig(assets=root, wording="training").spec.wordings["chain"]) == 2 * 34


def test_a_missing_checkout_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(assets.VARIABLE, raising=False)
    with pytest.raises(UserError, match=r"git clone .*set --env.assets or CALVIN_ASSETS"):
        CalvinConfig().build()
    with pytest.raises(UserError, match="no checkout of CALVIN"):
        CalvinConfig(assets=str(tmp_path)).check_drawing(films=False)


def test_a_file_without_all_sub_tasks_is_refused(tmp_path: Path):
    root = checkout(tmp_path, ".", "annotations")
    (root / "annotations" / assets.WORDINGS["training"]).write_text('open_drawer: ["open it"]\n')
    with pytest.raises(UserError, match="no sentence for rotate_red_block_right"):
        assets.sentences(str(root), "training")


def test_the_part_of_yaml_that_is_used_is_read():
    text = '# a: ["no"]\na: [ "go, push" ]\nb: ["x",\n    "y"]\n\n# end\nc: ["z"]\n'
    assert assets.parse(text) == {"a": ("go, push",), "b": ("x", "y"), "c": ("z",)}
