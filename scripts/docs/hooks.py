"""What mkdocs runs beside its own work: pages made from the source, links, pictures.

Pages of the repository outside docs/ are shown where ``MOUNTED`` says. A link from a page to a
file works on GitHub as it is written, and on the site as a page, or as a link to the repository.
"""

import tomllib
from pathlib import Path
from typing import Any

from api_reference import api_pages
from command_line_reference import command_line_page
from links import Repository
from mermaid import MERMAID, mermaid_file
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
MOUNTED = {
    "CHANGELOG.md": "start/changes.md",
    "CONTRIBUTING.md": "start/contributing.md",
    "benchmarks/README.md": "results/benchmarks.md",
    "benchmarks/gpu/README.md": "results/gpu-benchmarks.md",
    "benchmarks/records/": "results/records/",
    "studies/README.md": "results/studies.md",
}
"""File or folder of the repository -> where the site shows it."""

MADE_PAGES = "- Every command and flag, and every public name of Python"
"""A line of docs/README.md, which on GitHub cannot be a link."""
LINKED_PAGES = (
    "- [Every command and flag](reference/command-line.md),"
    " and [every public name of Python](reference/api/README.md)"
)

URL = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Repository"]
REPOSITORY = Repository(ROOT, MOUNTED, url=URL)
DECISIONS = [f"decisions/{path.name}" for path in sorted((ROOT / "docs/decisions").glob("*.md"))]


def on_config(config: MkDocsConfig) -> None:
    """Fills the folders of the navigation; the link to the repository is that of pyproject.toml."""
    assert config.nav is not None
    for section in config.nav:
        for name, entries in section.items():
            section[name] = _filled(entries)
    # Material asks GitHub about a `repo_url`; a plain link asks nobody.
    config.extra["social"] = [{"icon": "fontawesome/brands/git-alt", "link": URL}]


def _filled(entries: Any) -> Any:
    if entries == "decisions/":
        return DECISIONS
    if not isinstance(entries, list):
        return entries
    pages = [{name: path} for name, path in api_pages(ROOT).names.items()]
    return [{"Python": pages} if e == {"Python": "reference/api/"} else e for e in entries]


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Adds what is not in docs/."""
    for path, where in REPOSITORY.shown_files():
        files.append(File.generated(config, where, abs_src_path=str(path)))
    texts = {"reference/command-line.md": command_line_page(), **api_pages(ROOT).texts}
    for where, text in texts.items():
        files.append(File.generated(config, where, content=text))
    files.append(File.generated(config, MERMAID, abs_src_path=str(mermaid_file(ROOT))))


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Rewrites the links that lead out of docs/; the index names the pages that are made here."""
    if page.file.src_uri == "README.md":
        assert MADE_PAGES in markdown, "scripts/docs/hooks.py no longer finds its line in the index"
        markdown = markdown.replace(MADE_PAGES, LINKED_PAGES)
    return REPOSITORY.rewritten(markdown, page.file.src_uri)


def on_page_content(html: str, page: Page, **_: Any) -> str:
    """Loads what draws diagrams where there are some, from the site itself."""
    if 'class="mermaid"' not in html:
        return html
    up = "../" * page.file.dest_uri.count("/")
    return f'<script src="{up}{MERMAID}"></script>\n{html}'
