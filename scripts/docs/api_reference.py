"""Pages of the Python reference: one for each room of the package, from docstrings."""

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Pages:
    """The pages of the reference."""

    names: dict[str, str]
    """Room -> page."""
    texts: dict[str, str]
    """Page -> Markdown."""


@cache
def api_pages(root: Path) -> Pages:
    """A page per file or folder at the top of the package, with all modules below it."""
    package = root / "src" / "pushcut"
    rooms = sorted(
        [path for path in package.glob("*.py") if path.stem not in ("__main__", "__init__")]
        + [path.parent for path in package.glob("*/__init__.py")]
    )
    index = "reference/api/README.md"
    names, texts = {"Overview": index}, {}
    rows = []
    for room in rooms:
        page = f"reference/api/{room.stem}.md"
        names[room.stem] = page
        modules = sorted(room.rglob("*.py")) if room.is_dir() else [room]
        texts[page] = f"# pushcut.{room.stem}\n\n" + "\n".join(
            f"::: {dotted(module, package)}\n" for module in modules if has_text(module)
        )
        first = (room / "__init__.py") if room.is_dir() else room
        summary = (ast.get_docstring(ast.parse(first.read_text())) or "").split("\n")[0]
        rows.append(f"| [{room.stem}]({room.stem}.md) | {summary} |")
    table = "\n".join(["| Room | What lives there |", "|---|---|", *rows, ""])
    texts[index] = (
        "# Python\n\nEvery public name, from its docstring. To run commands from Python see\n"
        "[the command line](../../start/command-line.md#the-same-from-python); how the rooms\n"
        f"stand to each other is [architecture](../../concepts/architecture.md).\n\n{table}"
    )
    return Pages(names, texts)


def dotted(module: Path, package: Path) -> str:
    """The name under which a module is imported."""
    parts = module.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def has_text(module: Path) -> bool:
    """Whether there is anything to show."""
    return ast.get_docstring(ast.parse(module.read_text())) is not None
