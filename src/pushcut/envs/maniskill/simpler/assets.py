"""SIMPLER's files: which a task needs, where they are, and what may stand in for three of them.

They are not part of any package. ManiSkill's own downloader puts them below ``$MS_ASSET_DIR``.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from pushcut.envs.maniskill.simpler.tasks import FLAT, TASKS
from pushcut.errors import UserError

VARIABLE = "MS_ASSET_DIR"
"""What ManiSkill reads, when it is imported."""

BRIDGE = Path("tasks/bridge_v2_real2sim_dataset")
ROBOT = Path("robots/widowx")
VISUAL = ("textured.obj", "textured.dae", "textured.glb")
"""Names of what is seen of a model; the first that is there is taken."""

TABLES = {FLAT: "bridge_table_1_v1.glb", "sink": "bridge_table_1_v2.glb"}
PHOTOGRAPHS = {FLAT: "bridge_real_eval_1.png", "sink": "bridge_sink.png"}

TABLE_TOP = 0.8695
"""Height of the stand-in for the table: on it lies what the tasks put down at rest, metres."""


def asset_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where ManiSkill looks for files."""
    return Path(environment.get(VARIABLE) or "~/.maniskill").expanduser() / "data"


def task_files(tasks: Iterable[str], folder: Path) -> list[Path]:
    """What SIMPLER's tasks need, relative to the folder; a model may be drawn from one of three."""
    needed: list[Path] = []
    for task in map(TASKS.__getitem__, tasks):
        needed += scene_files(task.scene)
        needed.append(BRIDGE / "real_inpainting" / PHOTOGRAPHS[task.scene])
        baked = task.models[0].startswith("baked_")
        name = "info_bridge_custom_baked_tex_v0.json" if baked else "info_bridge_custom_v0.json"
        needed.append(BRIDGE / "custom" / name)
        for model in task.models:
            home = BRIDGE / "custom" / "models" / model
            needed.append(home / "collision.obj")
            if not any((folder / home / name).is_file() for name in VISUAL):
                needed.append(home / "textured.dae")
    return needed


def scene_files(scene: str) -> list[Path]:
    """What every task over a table or a sink needs: the arm and the table."""
    return [ROBOT / "wx250s.urdf", BRIDGE / "stages" / TABLES[scene]]


def missing(needed: Iterable[Path], folder: Path) -> list[Path]:
    """Files that are needed and that the folder lacks, relative to it."""
    return [path for path in dict.fromkeys(needed) if not (folder / path).is_file()]


def can_be_stood_in_for(path: Path) -> bool:
    """Whether a file is one of those that a stand-in is made of: the tables, the eggplant."""
    return path.parent.name == "stages" or path.parent.name == "eggplant" and path.suffix == ".dae"


def check(needed: Iterable[Path], *, stand_ins: bool, python: str = sys.executable) -> None:
    """UserError that names the missing files and the command that fetches them.

    ``python``: the interpreter that has ManiSkill.
    """
    folder = asset_folder()
    lacking = missing(needed, folder)
    if stand_ins:
        lacking = [path for path in lacking if not can_be_stood_in_for(path)]
    if not lacking:
        return
    names = ", ".join(map(str, lacking[:3]))
    if len(lacking) > 3:
        names += f" and {len(lacking) - 3} more"
    parts = {ROBOT: "widowx250s", BRIDGE: "bridge_v2_real2sim"}
    fetch = " && ".join(
        f"{python} -m mani_skill.utils.download_asset -y {name}"
        for home, name in parts.items()
        if any(path.is_relative_to(home) for path in lacking)
    )
    also = ""
    if not stand_ins and all(map(can_be_stood_in_for, lacking)):
        also = "; or --env.stand-ins: a table that nobody sees, an eggplant of one colour"
    raise UserError(
        f"ManiSkill's files are not all in {folder}: {names}; type: {fetch}; or set {VARIABLE} to "
        f"the folder above data{also}"
    )


def with_stand_ins(needed: Iterable[Path], cache: Path, make: Callable[[Path, Path], None]) -> Path:
    """A folder for ``$MS_ASSET_DIR`` that has the user's files and stand-ins for what is missing.

    Args:
        needed: Files of what is to be played.
        cache: Where it is made; the user's own folder is left alone.
        make: Makes one stand-in: ``make(file, folder)``, ``folder`` being the user's.
    """
    folder = asset_folder().absolute()
    lacking = missing(needed, folder)
    if not lacking:
        return folder.parent
    key = hashlib.sha256("\n".join(map(str, [folder, *lacking])).encode()).hexdigest()[:16]
    ours = cache / key / "data"
    for path in folder.rglob("*"):
        if path.is_file():
            _linked(ours / path.relative_to(folder), path)
    for path in lacking:
        target = (ours / path).with_suffix(".glb")
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            aside = target.with_name(f".{os.getpid()}-{target.name}")
            make(aside, folder)
            aside.replace(target)
    return ours.parent


def _linked(link: Path, target: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):  # made by another process, or an earlier run
        link.symlink_to(target)
