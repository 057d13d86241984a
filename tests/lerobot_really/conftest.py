"""Calls LeRobot in its own environment; without one these tests are skipped."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Generator
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


@pytest.fixture(scope="session")
def lerobot(environment, tmp_path_factory) -> Generator[CallLeRobot, None, None]:
    """Runs a function of theirs.py with arguments by name, in one process for all tests."""
    folder = tmp_path_factory.mktemp("lerobot")
    # Neither our sources nor a cache or a GPU of the user are its business.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hub"), "CUDA_VISIBLE_DEVICES": ""}
    with (
        open(folder / "stderr.txt", "w+") as said,
        subprocess.Popen(
            [environment / "bin" / "python", THEIRS], env=env, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said,
        ) as process,
    ):  # fmt: skip

        def call(command: str, **arguments: Any) -> None:
            assert process.stdin is not None and process.stdout is not None
            words = json.dumps({"command": command, **arguments}, default=str)
            print(words, file=process.stdin, flush=True)
            answer = process.stdout.readline()
            if not answer:  # it died
                said.seek(0)
                answer = json.dumps(said.read()[-3000:])
            assert json.loads(answer) == "done", json.loads(answer)

        yield call
        process.kill()  # it waits for the next command


@pytest.fixture(scope="session")
def words(tmp_path_factory) -> Path:
    """A tokenizer of single characters, for both programs."""
    file = tmp_path_factory.mktemp("words") / "tokenizer.json"
    file.write_bytes(tokenizer("<bos>"))
    return file
