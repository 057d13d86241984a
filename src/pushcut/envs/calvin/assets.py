"""The benchmark's files: where they are, what is missing, and its sentences."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from pushcut.envs.calvin.scenes import COLOURS, SCENES
from pushcut.envs.calvin.tasks import TASKS
from pushcut.errors import UserError

VARIABLE = "CALVIN_ASSETS"
"""A checkout of the benchmark: of mees/calvin, of its part mees/calvin_env, or its data folder."""

ROBOT = "franka_panda/panda_longer_finger.urdf"
PLANE = "plane/plane.urdf"
WORDINGS = {
    "validation": "new_playtable_validation.yaml",
    "training": "new_playtable.yaml",
}
"""Kind of sentences -> file."""

WHERE = (
    "git clone --recurse-submodules https://github.com/mees/calvin (or, without sentences, "
    "https://github.com/mees/calvin_env), and set --env.assets or "
    f"{VARIABLE} to that folder"
)
_DATA = (".", "data", "calvin_env/data")
_SENTENCES = (
    "annotations",
    "calvin_models/conf/annotations",
    "../calvin_models/conf/annotations",
    "../../calvin_models/conf/annotations",
)


def table(letter: str) -> str:
    """The play table of a scene."""
    return f"calvin_table_{letter}/urdf/calvin_table_{letter}.urdf"


def block(letter: str, colour: str) -> str:
    """A block of a scene."""
    return f"blocks/block_{colour}_{SCENES[letter].blocks[colour]}.urdf"


def needed(letters: str) -> list[str]:
    """Files that scenes need, relative to the data folder; what they refer to lies beside them."""
    files = [ROBOT, PLANE]
    for letter in letters:
        files += [table(letter), *(block(letter, colour) for colour in COLOURS)]
    return files


def root_of(chosen: str, environment: Mapping[str, str] = os.environ) -> Path | None:
    """The checkout: the one that is chosen, or $CALVIN_ASSETS; None where neither is."""
    folder = chosen or environment.get(VARIABLE, "")
    return Path(folder).expanduser() if folder else None


def data_folder(chosen: str, letters: str) -> Path:
    """The folder with tables, robot and blocks; UserError in one line where files are missing."""
    root = root_of(chosen)
    if root is None:
        raise UserError(f"CALVIN's files are not said to be anywhere: {WHERE}")
    folders = [root / part for part in _DATA]
    folder = next((one for one in folders if (one / ROBOT).is_file()), None)
    if folder is None:
        raise UserError(f"{root} is no checkout of CALVIN: it has no {ROBOT}; {WHERE}")
    lacking = [file for file in needed(letters) if not (folder / file).is_file()]
    if lacking:
        raise UserError(f"{folder} lacks {lacking[0]} ({len(lacking)} missing); {WHERE}")
    return folder


def sentences(chosen: str, wording: str) -> dict[str, tuple[str, ...]] | None:
    """Sub-task -> sentences, or None where no checkout has them.

    Raises UserError where the file does not have them all.
    """
    root = root_of(chosen)
    names = [] if root is None else [root / part / WORDINGS[wording] for part in _SENTENCES]
    file = next((one for one in names if one.is_file()), None)
    if file is None:
        return None
    found = parse(file.read_text(encoding="utf-8"))
    if lacking := [name for name in TASKS if not found.get(name)]:
        raise UserError(f"{file} has no sentence for {lacking[0]}; {WHERE}")
    return {name: found[name] for name in TASKS}


def check_sentences(chosen: str, wording: str) -> None:
    """UserError in one line where no checkout has the sentences."""
    if sentences(chosen, wording) is None:
        raise UserError(
            f"CALVIN's sentences ({WORDINGS[wording]}) are not in {root_of(chosen)}: {WHERE}"
        )


def parse(text: str) -> dict[str, tuple[str, ...]]:
    """Lists of quoted sentences by name: the part of YAML that the benchmark's files use."""
    text = re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)
    lists = re.findall(r"^(\w+):\s*\[(.*?)\]", text, flags=re.MULTILINE | re.DOTALL)
    return {name: tuple(re.findall(r'"([^"]*)"', items)) for name, items in lists}


def plain_words(task: str) -> str:
    """A sub-task's name as words, for where the benchmark's own sentences are not at hand."""
    return task.replace("_", " ")
