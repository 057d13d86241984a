"""Links between pages of the repository, and what becomes of them on the site."""

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LINK = re.compile(r"(\]\()([^)\s]+)(\))|^(\[[^\]]+\]:\s+)(\S+)()")
"""``[text](target)``, or the target of ``[text][name]`` on a line of its own."""
CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)")


@dataclass(frozen=True)
class Repository:
    """The files of a repository, of which the site shows docs/ and some others."""

    root: Path
    mounted: dict[str, str]
    """File, or folder with a slash at its end, outside docs/ -> where the site shows it."""
    url: str
    branch: str = "main"

    def shown_files(self) -> Iterator[tuple[Path, str]]:
        """Each file outside docs/ that the site shows, and where."""
        for source, where in self.mounted.items():
            path = self.root / source
            if path.is_file():
                yield path, where
            else:
                for file in sorted(path.glob("*.*")):
                    yield file, where + file.name

    def place_on_site(self, path: str) -> str | None:
        """Where the site shows a file of the repository; None where it does not."""
        if path.startswith("docs/"):
            return path.removeprefix("docs/")
        for source, where in self.mounted.items():
            if path == source:
                return where
            if source.endswith("/") and path.startswith(source):
                return where + path.removeprefix(source)
        return None

    def place_in_repository(self, page: str) -> str:
        """Where a page of the site comes from; itself where it is generated."""
        for source, where in self.mounted.items():
            if page == where:
                return source
            if where.endswith("/") and page.startswith(where):
                return source + page.removeprefix(where)
        return f"docs/{page}"

    def target(self, link: str, page: str) -> str:
        """What a link of a page is on the site."""
        path, mark, anchor = link.partition("#")
        if not path or re.match(r"[a-z]+:", link):
            return link
        folder = posixpath.dirname(self.place_in_repository(page))
        goal = posixpath.normpath(posixpath.join(folder, path))
        if (place := self.place_on_site(goal)) is not None:
            return posixpath.relpath(place, posixpath.dirname(page) or ".") + mark + anchor
        if not (self.root / goal).exists():
            return link  # mkdocs says that it leads nowhere
        kind = "tree" if (self.root / goal).is_dir() else "blob"
        return f"{self.url}/{kind}/{self.branch}/{goal}{mark}{anchor}"

    def rewritten(self, text: str, page: str) -> str:
        """A page with its links as they are on the site; code stays as it is."""
        lines, fenced = [], False
        for line in text.split("\n"):
            fence = line.lstrip().startswith("```")
            fenced ^= fence
            code = fence or fenced or line.startswith("    ")
            lines.append(line if code else self._with_links(line, page))
        return "\n".join(lines)

    def _with_links(self, line: str, page: str) -> str:
        code = [match.span() for match in CODE.finditer(line)]

        def replaced(match: re.Match[str]) -> str:
            if any(start <= match.start() and match.end() <= end for start, end in code):
                return match[0]
            before, link, after = match.groups()[:3] if match[1] else match.groups()[3:]
            return f"{before}{self.target(link, page)}{after}"

        return LINK.sub(replaced, line)
