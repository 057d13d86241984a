"""Every policy acts, learns and is saved on a device whose tensors refuse the host's."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.policies.builders import POLICIES
from tests.policies.released.builders import SOURCES
from tests.pretend_gpu.cases import CASES, OF_TRAINED

pytestmark = pytest.mark.heavy

ROOT = Path(__file__).parents[2]
ALL = [(name, case) for name in POLICIES for case in CASES]
ALL += [(f"trained {name}", case) for name in SOURCES for case in OF_TRAINED]


@pytest.fixture(scope="session")
def found(make_once) -> dict[str, dict[str, str]]:
    """What went wrong, by policy and case; torch can be told of a device once in a process."""

    def run(out: Path) -> Path:
        command = [sys.executable, "-m", "tests.pretend_gpu.run", str(out)]
        path = os.pathsep.join([str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return out

    return json.loads(make_once("pretend-gpu.json", run).read_text())


@pytest.mark.parametrize(("policy", "case"), ALL)
def test_it_works_on_a_device_that_refuses_the_hosts_tensors(found, policy, case):
    if case not in found[policy]:
        assert "expert" in case
        assert policy.removeprefix("trained ").startswith(("tiny", "openvla", "pi0-fast"))
        pytest.skip("a policy of action tokens has no expert that a critic could look at")
    assert found[policy][case] == ""
