"""Runs a script of these tests in ManiSkill's own interpreter."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np

import pushcut
from pushcut.envs.isolated.simulators import installed

SOURCE = Path(pushcut.__file__).parents[1]


def numbers_of(script: str, *arguments: str) -> dict[str, np.ndarray]:
    """The arrays that a script beside this file prints in its last line, as JSON lists."""
    found = installed("maniskill")
    assert found is not None
    run = subprocess.run(
        [found.python, str(Path(__file__).parent / script), *arguments],
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout.strip().splitlines()[-1])
    return {name: np.array(values) for name, values in told.items()}
