"""Draws the house: the rooms of src/pushcut and who imports whom, read from the source.

``python scripts/house.py`` prints the part of docs/concepts/architecture.md, ``--write`` puts it
there. A room is a module or folder of the package; it stands one floor above the highest that it
imports. Arrows that follow from others are left out.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
ROOT = REPOSITORY / "src" / "pushcut"
PAGE = REPOSITORY / "docs" / "concepts" / "architecture.md"
BEGIN, END = "<!-- house: drawn by scripts/house.py -->\n", "<!-- /house -->\n"

Arrows = dict[str, set[str]]
"""Room -> the rooms that it imports."""


@dataclass(frozen=True)
class Import:
    """One import, anywhere in a file."""

    path: Path
    name: str
    """Full dotted name."""


def imports(tree: ast.AST) -> Iterator[str]:
    """Full names of everything imported anywhere, except for type checkers only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from imports(ast.Module(node.orelse, []))
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"a relative import: {ast.unparse(node)}"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and "import" in ast.unparse(node.func):
            yield from (str(a.value) for a in node.args if isinstance(a, ast.Constant))
        yield from imports(node)


def all_imports() -> list[Import]:
    """Every import of the package's files."""
    return [
        Import(path, name)
        for path in sorted(ROOT.rglob("*.py"))
        for name in imports(ast.parse(path.read_text()))
    ]


def room_of(path: Path, folder: str = "") -> str:
    """The part of a folder of the package that a file belongs to: "" where it is none."""
    place = path.relative_to(ROOT).with_suffix("").parts
    above = tuple(folder.split("/")) if folder else ()
    return place[len(above)] if place[: len(above)] == above and len(place) > len(above) else ""


def arrows(found: list[Import], folder: str = "") -> Arrows:
    """The arrows between the parts of a folder of the package, or of the package itself."""
    rooms = {room_of(path, folder) for path in ROOT.rglob("*.py")} - {"", "__init__"}
    result: Arrows = {room: set() for room in rooms}
    prefix = ".".join(["pushcut", *([folder.replace("/", ".")] if folder else [])]) + "."
    for one in found:
        room = room_of(one.path, folder)
        target = one.name.removeprefix(prefix).split(".")[0]
        if one.name.startswith(prefix) and room in rooms and target in rooms - {room}:
            result[room].add(target)
    return result


def reached(room: str, found: Arrows) -> set[str]:
    """Everything that a room imports, directly or through others."""
    seen: set[str] = set()
    while more := set().union(*(found[r] for r in seen | {room})) - seen:
        seen |= more
    return seen


def floors(found: Arrows) -> list[list[str]]:
    """The rooms by floor, from the ground up; a ValueError where imports go in a circle."""
    level: dict[str, int] = {}
    while len(level) < len(found):
        ready = [r for r, below in found.items() if r not in level and below <= level.keys()]
        if not ready:
            raise ValueError(f"a circle of imports among {sorted(found.keys() - level.keys())}")
        for room in ready:
            level[room] = 1 + max((level[r] for r in found[room]), default=-1)
    return [
        sorted(room for room in found if level[room] == floor)
        for floor in range(max(level.values()) + 1)
    ]


def drawn(found: Arrows) -> str:
    """The picture as a Mermaid flowchart, the entrance on top."""
    lines = ["```mermaid", "flowchart TB"]
    for number, rooms in reversed(list(enumerate(floors(found)))):
        shapes = [f'{room}["{room}{"/" if (ROOT / room).is_dir() else ""}"]' for room in rooms]
        lines += [f'  subgraph floor{number}[" "]', "    direction LR"]
        lines += [f"    {shape}" for shape in shapes] + ["  end"]
    for room in sorted(found):
        below = found[room]
        implied = set().union(*(reached(other, found) for other in below))
        lines += [f"  {room} --> {target}" for target in sorted(below - implied)]
    return "\n".join([*lines, "```", ""])


def listed(found: Arrows) -> str:
    """A line per room, in the order of the floors: the first line of its docstring."""
    rows = []
    for room in (room for floor in reversed(floors(found)) for room in floor):
        folder = (ROOT / room).is_dir()
        path = ROOT / room / "__init__.py" if folder else ROOT / f"{room}.py"
        first = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n")[0]
        rows.append(f"| `{room}{'/' if folder else '.py'}` | {first} |")
    return "\n".join(["| Room | What lives there |", "|---|---|", *rows, ""])


def page_with(picture: str, page: str) -> str:
    """The page with the picture between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + picture + END + after


def house() -> str:
    """The picture and the list, as the page has them."""
    found = arrows(all_imports())
    return f"{drawn(found)}\n{listed(found)}"


def main() -> None:
    """Prints the picture, or writes it into the page."""
    picture = house()
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(page_with(picture, PAGE.read_text()))
    else:
        print(picture)


if __name__ == "__main__":
    main()
