"""What users read: public names have a docstring whose first line stands alone."""

import ast
from collections.abc import Iterator
from pathlib import Path

from scripts.house import ROOT

DANGLING = ("Of ", "Those ", "That of ", "Its ", "Theirs", "The same ")
"""A line that begins so speaks of the line above it."""

FILES = {path: ast.parse(path.read_text()) for path in sorted(ROOT.rglob("*.py"))}
Defined = ast.FunctionDef | ast.ClassDef


def definitions(tree: ast.AST) -> Iterator[Defined]:
    """Functions and classes of a module, and methods, none of them inside functions."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Defined):
            yield node
        if isinstance(node, ast.If) or (
            isinstance(node, ast.ClassDef) and not node.name.startswith("_")
        ):
            yield from definitions(node)


def field_docstrings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        body = getattr(node, "body", [])
        for before, line in zip(body, body[1:], strict=False) if isinstance(body, list) else ():
            if not isinstance(before, ast.Assign | ast.AnnAssign) or not isinstance(line, ast.Expr):
                continue
            if isinstance(line.value, ast.Constant) and isinstance(line.value.value, str):
                yield line.lineno, line.value.value


def place(path: Path, line: int, name: str = "") -> str:
    return f"{path.relative_to(ROOT)}:{line} {name}"


DOCUMENTED = {
    node.name for tree in FILES.values() for node in definitions(tree) if ast.get_docstring(node)
}


def test_every_public_name_is_documented_once():
    """Not by each class that has a method which its protocol or base class documents."""
    missing = [
        place(path, node.lineno, node.name)
        for path, tree in FILES.items()
        for node in definitions(tree)
        if not node.name.startswith("_") and node.name not in DOCUMENTED
    ]
    assert not missing


def test_first_lines_stand_alone():
    found = [
        place(path, node.lineno, docstring)
        for path, tree in FILES.items()
        for node in definitions(tree)
        if (docstring := ast.get_docstring(node) or "").startswith(DANGLING)
    ]
    found += [
        place(path, line, docstring)
        for path, tree in FILES.items()
        for line, docstring in field_docstrings(tree)
        if docstring.startswith(DANGLING)
    ]
    assert not found
