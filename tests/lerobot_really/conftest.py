"""Calls LeRobot in its own environment; without one these tests are skipped."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.policies.released.folders import tokenizer

ROOT = Path(__file__).parents[2]
THEIRS = Path(__file__).with_name("theirs.py")

CallLeRobot = Callable[..., None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == THEIRS.parent:
            item.add_marker(pytest.mark.lerobot)


@pytest.fixture(scope="session")
def environment() -> Path:
    """The environment that scripts/setup_lerobot.sh made."""
    folder = ROOT / os.environ.get("LEROBOT_VENV", ".venv-lerobot")
    if (reason := folder / "missing.txt").exists():
        pytest.skip(reason.read_text().strip())
    if not (folder / "bin" / "python").exists():
        pytest.skip(f"no LeRobot in {folder}: make test-lerobot installs it")
    return folder


@pytest.fixture
def lerobot(environment, tmp_path) -> CallLeRobot:
    """Runs a function of theirs.py with arguments by name."""
    # Neither our sources nor a cache or a GPU of the user are its business.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub"), "CUDA_VISIBLE_DEVICES": ""}

    def call(command: str, **arguments: Any) -> None:
        words = [
            environment / "bin" / "python",
            THEIRS,
            command,
            json.dumps(arguments, default=str),
        ]
        result = subprocess.run(words, env=env, capture_output=True, text=True)
        assert result.returncode == 0, (result.stdout + result.stderr)[-3000:]

    return call


@pytest.fixture
def words(tmp_path) -> Path:
    """A tokenizer of single characters, for both programs."""
    file = tmp_path / "tokenizer.json"
    file.write_bytes(tokenizer("<bos>"))
    return file
