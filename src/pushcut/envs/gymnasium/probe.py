"""What a gymnasium environment is, found out by making it once in a process of its own.

The trainer so knows sizes and bounds without importing a simulator, and whether episodes of the
environment can be started again exactly before anything is built on that.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path

from pushcut.envs.gymnasium.making import Facts, Making
from pushcut.envs.gymnasium.success import SuccessRule
from pushcut.envs.isolated.simulators import own_launch
from pushcut.errors import UserError

TIMEOUT_S = 180.0


@lru_cache(maxsize=64)
def probe(making: Making, success: SuccessRule, check_steps: int) -> Facts:
    """Makes the environment of a task elsewhere, once per process that asks.

    Args:
        making: What to make.
        success: Must find what it looks for in a step's info.
        check_steps: Steps for which restarts are compared; 0 compares none.

    Raises UserError, in one line, where it cannot be made, drawn, acted in or restarted exactly.
    """
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer"
        try:
            done = subprocess.run(
                [sys.executable, "-P", "-m", f"{__name__}_process", str(answer)],
                input=pickle.dumps((making, success, check_steps)),
                env=dict(own_launch().environment),
                capture_output=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise UserError(f"{making.id} was not made and played in {TIMEOUT_S:g} s") from None
        if not answer.exists():
            last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise UserError(
                f"cannot make {making.id}: its process ended with code {done.returncode} "
                f"({' '.join(last)})"
            )
        found = pickle.loads(answer.read_bytes())
    if isinstance(found, str):
        raise UserError(found)
    return found
