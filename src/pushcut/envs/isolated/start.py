"""Runs a module of this pushcut in an interpreter where pushcut is not installed.

``python start.py MODULE ARGUMENT …``. The folder above the package is often somebody's
site-packages, so it never goes on the import path: the package is found by a finder of its
own, and everything else where this interpreter has it. Standard library only.
"""

import importlib.abc
import importlib.util
import runpy
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).absolute().parents[2]


class _OnlyThisPackage(importlib.abc.MetaPathFinder):
    """Finds ``pushcut``; its submodules are then found in the package's folder."""

    def find_spec(
        self, fullname: str, path: object = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As the import system asks."""
        if fullname != PACKAGE.name:
            return None
        return importlib.util.spec_from_file_location(
            fullname, PACKAGE / "__init__.py", submodule_search_locations=[str(PACKAGE)]
        )


def main() -> None:
    """Entry point of the process."""
    sys.meta_path.insert(0, _OnlyThisPackage())
    module, *sys.argv[1:] = sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
