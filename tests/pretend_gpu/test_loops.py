"""Whole commands on a device whose tensors refuse the host's: they do there what they do here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pretend_gpu.loops import LOOPS

pytestmark = pytest.mark.heavy

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def found(make_once) -> dict[str, str]:
    """What went wrong, by case; torch can be told of a device once in a process."""

    def run(out: Path) -> Path:
        command = [sys.executable, "-m", "tests.pretend_gpu.run_loops", str(out)]
        path = os.pathsep.join([str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return out

    return json.loads(make_once("pretend-gpu-loops.json", run).read_text())


@pytest.mark.parametrize("case", LOOPS)
def test_a_command_does_on_the_device_what_it_does_on_the_host(found, case):
    assert found[case] == ""
