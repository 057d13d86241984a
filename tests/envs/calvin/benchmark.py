"""Where pybullet and a checkout of the benchmark are: what tests of the simulator need."""

import importlib.util
import os
from pathlib import Path

import pytest

from pushcut.envs.calvin.assets import VARIABLE, data_folder
from pushcut.errors import UserError


def _missing() -> str:
    if importlib.util.find_spec("pybullet") is None:
        return "pybullet is not installed: pip install pybullet==3.2.7"
    try:
        data_folder("", "ABCD")
    except UserError as error:
        return str(error)
    return ""


NEEDS_CALVIN = pytest.mark.skipif(bool(_missing()), reason=_missing() or "all there")


def folder() -> Path:
    """The benchmark's data folder."""
    return data_folder(os.environ[VARIABLE], "ABCD")
