"""Each tutorial works as it is written: its blocks are executed in order, in an empty folder."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
TUTORIALS = sorted((REPO / "docs" / "tutorials").glob("*.md"))
LIMIT_S = 300.0
"""A block may take this long on a loaded machine; the tutorials take two minutes together."""

FENCE = re.compile(r"^```(\w*)(.*)\n([\s\S]*?)^```$", re.MULTILINE)
FILE_NAME = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Block:
    """What stands in a fence."""

    language: str
    file: str | None
    """The reader saves the block under this name."""
    text: str
    line: int


def blocks(page: str) -> list[Block]:
    """The fences of a page, from the top."""
    found = []
    for match in FENCE.finditer(page):
        title = FILE_NAME.search(match[2])
        line = page.count("\n", 0, match.start()) + 1
        found.append(Block(match[1], title[1] if title else None, match[3], line))
    return found


def run(block: Block, folder: Path) -> str:
    """Executes a block; what it printed, without what redraws a line."""
    env = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(REPO / "src"), os.environ.get("PYTHONPATH", "")]),
        "COLUMNS": "200",
    }
    program = {"bash": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}
    done = subprocess.run(
        [*program[block.language], block.text],
        cwd=folder, env=env, timeout=LIMIT_S, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, f"the block in line {block.line}:\n{done.stdout[-3000:]}"
    return done.stdout


def follow(page: str, folder: Path) -> None:
    """Does what a page says; each line of a block ``output`` must be part of what came last."""
    printed = ""
    for block in blocks(page):
        if block.file:
            (folder / block.file).write_text(block.text)
        elif block.language in ("bash", "python"):
            printed = run(block, folder)
        elif block.language == "output":
            lacks = [line for line in block.text.splitlines() if not told(line, printed)]
            assert not lacks, f"line {block.line}: {lacks} are not in\n{printed[-3000:]}"


def told(line: str, printed: str) -> bool:
    """Whether a line was printed; … stands for anything, and spaces do not count."""
    parts = [re.escape(part) for part in re.sub(r"\s+", " ", line.strip()).split("…")]
    return re.search(".*".join(parts), re.sub(r"[^\S\n]+", " ", printed)) is not None


@pytest.mark.heavy
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_the_tutorial_works(page: Path, tmp_path: Path):
    follow(page.read_text(), tmp_path)


def test_every_tutorial_has_something_to_run():
    assert [page.stem for page in TUTORIALS] == [
        "cluster", "first-run", "your-checkpoint", "your-robot",
    ]  # fmt: skip
    assert all(any(b.language == "bash" for b in blocks(p.read_text())) for p in TUTORIALS)


def test_a_block_that_fails_fails_the_tutorial(tmp_path: Path):
    with pytest.raises(AssertionError, match="the block in line 3"):
        follow("text\n\n```bash\nfalse\n```\n", tmp_path)


def test_output_that_did_not_come_fails_the_tutorial(tmp_path: Path):
    page = '```python title="a.py"\nprint("x 1 y")\n```\n```bash\npython a.py\n```\n'
    follow(f"{page}```output\nx …y\n```\n", tmp_path)
    with pytest.raises(AssertionError, match="line 7"):
        follow(f"{page}```output\nz\n```\n", tmp_path)
