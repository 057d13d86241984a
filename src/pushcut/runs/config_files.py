"""Files of --config: YAML or JSON, whole configs or some of their fields."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pushcut.errors import UserError
from pushcut.runs.config_json import from_json, plugins_of, to_json
from pushcut.runs.renamed import current

SECTIONS = ("collect", "sft", "train", "eval")
"""What a file of all commands calls their configs: `pushcut presets NAME --yaml` writes one."""


def config_of_file(path: Path, kind: type, command: str, base: Any | None) -> Any:
    """The config of a command that a file gives, over that of a preset where there is one.

    Args:
        path: YAML or JSON of some or all fields; the config.json of a run, or its folder; or a
            file with a section for each command.
        kind: Class of the config.
        command: Whose section it is.
        base: The config whose fields hold where the file has none; None: the defaults.

    Raises:
        UserError: That names the file, and the first field that does not fit.
    """
    try:
        given = _section(current(read(path)), kind, command)
        return from_json(kind, given if base is None else _over(to_json(base), given))
    except UserError as error:
        file = path / "config.json" if path.is_dir() else path
        raise UserError(f"--config {path}: {error}{plugins_of(file)}") from None


def read(path: Path) -> dict[str, Any]:
    """The config in a file, or in the run of a folder; UserError where there is none."""
    import yaml

    file = path / "config.json" if path.is_dir() else path
    try:
        content = yaml.safe_load(file.read_text())
    except OSError as error:
        raise UserError(f"{file.name}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(" ".join(f"no YAML or JSON: {error}".split())) from None
    if not isinstance(content, dict):
        raise UserError("holds no fields: write `field: value` lines")
    inner = content.get("config")
    if not isinstance(inner, dict):
        return content
    # Whether a run was resumed says nothing of the next one.
    return {name: value for name, value in inner.items() if name != "resume"}


def _section(content: dict[str, Any], kind: type, command: str) -> dict[str, Any]:
    """What a file says to one command."""
    sections = [name for name in SECTIONS if isinstance(content.get(name), dict)]
    own = {field for field in getattr(kind, "__dataclass_fields__", {})}
    if sections and not own.issuperset(sections):
        if command not in sections:
            raise UserError(f"has nothing for `pushcut {command}`, only {', '.join(sections)}")
        others = sorted(str(name) for name in content.keys() - set(SECTIONS))
        if others and "type" not in content:
            raise UserError(f"has sections; put {others[0]} into one of them")
        content = content[command]
    named = content.get("type", kind.__name__)
    if named != kind.__name__:
        raise UserError(f"is a {named}; `pushcut {command}` wants a {kind.__name__}")
    return content


def _over(base: Any, given: Any) -> Any:
    """A config with the fields that another gives; a part of another type stands alone."""
    if not (isinstance(base, dict) and isinstance(given, dict)):
        return given
    if given.get("type", base.get("type")) != base.get("type"):
        return given
    return base | {name: _over(base.get(name), value) for name, value in given.items()}
