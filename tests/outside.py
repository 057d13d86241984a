"""Packages with parts of pushcut, written for a test: a folder is a package that is installed."""

import textwrap
from pathlib import Path

ROBOT = """
from dataclasses import dataclass
from pushcut.envs.point_mass import PointMassConfig

@dataclass(frozen=True)
class {name}(PointMassConfig):
    '''A robot of a lab.'''
    wheels: int = 4
    '''How many it has.'''
"""


def install(folder: Path, package: str, entries: str, **modules: str) -> None:
    """Writes a package with entry points; whoever has the folder on its path has it installed."""
    (folder / package).mkdir(parents=True)
    (folder / package / "__init__.py").touch()
    for name, text in modules.items():
        (folder / package / f"{name}.py").write_text(text)
    about = folder / f"{package}-0.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.1\n")
    (about / "entry_points.txt").write_text(textwrap.dedent(entries))
