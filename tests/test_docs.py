"""What the documents point to is there: links, anchors, files, imports, sections."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

REPO = Path(__file__).parents[1]
PACKAGE = REPO / "src" / "pushcut"
GUIDES = [
    page
    for page in (REPO / "README.md", *sorted((REPO / "docs").rglob("*.md")))
    if page.name != "log.md" and page.parent.name != "decisions"
]
"""Pages about the code of today; the log and the decisions may name files of their time."""
FOLDERS = ("docs", "benchmarks", "studies")
PAGES = sorted({*REPO.glob("*.md"), *(p for f in FOLDERS for p in (REPO / f).rglob("*.md"))})

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|^\[[^\]]+\]:\s+(\S+)")
"""``[text](target)``, or the target of ``[text][name]`` on a line of its own."""
CODE = re.compile(r"`([^`]+)`")
SCRIPT = re.compile(r"(?<![\w./-])([\w.-]+(?:/[\w.-]+)*\.(?:py|sh))(?![\w/-])")
FOLDER = re.compile(r"(?<![\w./-])([\w-]+/(?:[\w-]+/)+)(?![\w.*-])")
HEADING = re.compile(r"#{1,6}\s+(.*)")


@cache
def lines_of(page: Path) -> list[tuple[int, str, bool]]:
    """Number, text, and whether it is code: inside a fence, or indented as a block."""
    lines, fenced = [], False
    for number, line in enumerate(page.read_text().splitlines(), start=1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
            continue
        lines.append((number, line, fenced or line.startswith("    ")))
    return lines


@cache
def anchors_of(page: Path) -> set[str]:
    """Of its headings, as GitHub makes them."""
    found: set[str] = set()
    for _, line, code in lines_of(page):
        if not code and (match := HEADING.match(line)):
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", match[1]).strip().lower()
            slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
            number = 0
            while (name := f"{slug}-{number}" if number else slug) in found:
                number += 1
            found.add(name)
    return found


def links(page: Path) -> Iterator[tuple[int, str]]:
    for number, line, code in lines_of(page):
        for match in [] if code else LINK.finditer(CODE.sub("", line)):
            target = match[1] or match[2]
            if not re.match(r"[a-z]+:", target):
                yield number, target


def where(page: Path, number: int) -> str:
    return f"{page.relative_to(REPO)}:{number}"


def problem_of_link(page: Path, target: str) -> str | None:
    path, _, anchor = target.partition("#")
    goal = (page.parent / path).resolve() if path else page
    if not goal.exists():
        return f"no such file: {target}"
    if anchor and goal.suffix == ".md" and anchor not in anchors_of(goal):
        return f"no heading for #{anchor} in {goal.name}; it has {sorted(anchors_of(goal))}"
    return None


def test_every_relative_link_leads_to_a_file_and_a_heading():
    broken = [
        f"{where(page, number)}: {problem}"
        for page in PAGES
        for number, target in links(page)
        if (problem := problem_of_link(page, target))
    ]
    assert not broken, "\n" + "\n".join(broken)


def named_files(page: Path) -> Iterator[tuple[int, str]]:
    """Scripts (in blocks only those with a path), folders of the repository and the package."""
    for number, line, code in lines_of(page):
        for text in [line] if code else CODE.findall(line):
            yield from ((number, name) for name in SCRIPT.findall(text) if "/" in name or not code)
            for name in [] if code else FOLDER.findall(text):
                first = name.split("/")[0]
                if (REPO / first).is_dir() or (PACKAGE / first).is_dir():
                    yield number, name


def test_every_file_that_a_guide_names_exists():
    missing = [
        f"{where(page, number)}: {name} is neither in the repository, nor in src/pushcut, "
        f"nor beside the page{hint(name)}"
        for page in GUIDES
        for number, name in named_files(page)
        # The reader's own files are called my_….
        if not name.startswith("my_")
        and not any((base / name).exists() for base in (REPO, PACKAGE, page.parent))
    ]
    assert not missing, "\n" + "\n".join(missing)


def hint(name: str) -> str:
    same = [*PACKAGE.rglob(Path(name).name), *REPO.glob(f"*/{Path(name).name}")]
    return f"; is it {' or '.join(str(p.relative_to(REPO)) for p in same[:3])}?" if same else ""


def python_blocks(page: Path) -> Iterator[tuple[int, str]]:
    """First line and text of each block of Python."""
    start, block = 0, None
    for number, line in enumerate(page.read_text().splitlines(), start=1):
        if line.startswith("```"):
            if block is not None:
                yield start, "\n".join(block)
            begins = block is None and re.match(r"```python( |$)", line)
            start, block = number + 1, [] if begins else None
        elif block is not None:
            block.append(line)


@cache
def names_of(module: str) -> set[str] | None:
    """What a module of ours defines or imports at its top; None where there is no such module."""
    path = REPO / "src" / module.replace(".", "/")
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if not file.exists():
        return None
    names = {child.stem for child in file.parent.iterdir()} if path.is_dir() else set[str]()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ImportFrom | ast.Import):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def test_every_import_that_a_guide_shows_works():
    wrong = []
    for page in GUIDES:
        for start, block in python_blocks(page):
            for node in ast.walk(ast.parse(block)):
                module = node.module if isinstance(node, ast.ImportFrom) else None
                # The reader's own files are called my_….
                if not module or not module.startswith("pushcut") or ".my_" in module:
                    continue
                assert isinstance(node, ast.ImportFrom)
                known = names_of(module)
                lacks = [a.name for a in node.names if known is None or a.name not in known]
                line = where(page, start + node.lineno - 1)
                wrong += [f"{line}: {module} has no {name}" for name in lacks]
    assert not wrong, "\n" + "\n".join(wrong)


def statements(nodes: list[ast.stmt]) -> list[str]:
    """Of a block, without the stopwatch around some."""
    inner = [node.body if isinstance(node, ast.With) else [node] for node in nodes]
    return [ast.unparse(node) for block in inner for node in block]


def iterations(source: str) -> ast.For:
    """The loop over iterations in some source."""
    loops = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.For))
    return next(loop for loop in loops if ast.unparse(loop.target) == "iteration")


def test_the_loop_in_the_readme_is_that_of_the_trainer():
    block = next(text for _, text in python_blocks(REPO / "README.md") if "iteration" in text)
    shown, real = iterations(block), iterations((PACKAGE / "trainer.py").read_text())
    assert ast.unparse(shown.iter) == ast.unparse(real.iter)
    without_bar = [line for line in statements(real.body) if "progress_bar" not in line]
    assert statements(shown.body) == without_bar


def test_every_page_is_in_the_index():
    index = REPO / "docs" / "README.md"
    listed = {(index.parent / target).resolve() for _, target in links(index)}
    left_out = [str(p.relative_to(index.parent)) for p in PAGES if index.parent in p.parents]
    left_out = [name for name in left_out if (index.parent / name) not in {*listed, index}]
    assert not left_out, f"docs/README.md does not list {left_out}"


def test_every_page_and_section_that_a_docstring_cites_exists():
    sections = {
        int(match[1])
        for _, line, _ in lines_of(REPO / "docs" / "reference" / "equations.md")
        if (match := re.match(r"## (\d+)\. ", line))
    }
    wrong = []
    for file in sorted(PACKAGE.rglob("*.py")):
        for number, line in enumerate(file.read_text().splitlines(), start=1):
            for name in re.findall(r"docs/[\w./-]*[\w]", line):
                if not (REPO / name).exists() and not list(REPO.glob(f"{name}*")):
                    wrong.append(f"{where(file, number)}: {name}")
            for cited in re.findall(r"equations\.md, sections? (\d+)(?: to (\d+))?", line):
                lacks = {int(n) for n in cited if n} - sections
                wrong += [f"{where(file, number)}: equations.md has no {n}" for n in lacks]
            if "equations §" in line:
                wrong.append(f"{where(file, number)}: write docs/reference/equations.md, section N")
    assert not wrong, "\n" + "\n".join(wrong)


def test_headings_become_the_anchors_that_github_makes(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("# What `x_1` is: a, b\n## What `x_1` is: a, b\n```\n# a comment\n```\n")
    assert anchors_of(page) == {"what-x_1-is-a-b", "what-x_1-is-a-b-1"}


def test_a_broken_link_is_told_with_what_would_work(tmp_path: Path):
    (tmp_path / "other.md").write_text("# Here\n")
    page = tmp_path / "page.md"
    assert problem_of_link(page, "other.md#here") is None
    assert problem_of_link(page, "gone.md") == "no such file: gone.md"
    told = "no heading for #there in other.md; it has ['here']"
    assert problem_of_link(page, "other.md#there") == told
