"""A Vulkan driver beside a simulator's environment: Mesa's for CPUs, for its own processes alone.

SAPIEN draws by Vulkan and wants Mesa 25 or later where there is no GPU. Installed system-wide a
newer Mesa would draw MuJoCo's pictures, too, and they would be others. So the distribution's
package is fetched and unpacked beside the environment; no root is needed. Standard library only.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pushcut.errors import UserError

FOLDER = "vulkan"
ICD = "lavapipe.json"
PACKAGE = "mesa-vulkan-drivers"
LIBRARY = "libvulkan_lvp.so"
VARIABLES = ("VK_DRIVER_FILES", "VK_ICD_FILENAMES")
"""What tells Vulkan's loader which drivers there are: its name of today and the older one."""
SYSTEM_DRIVERS = (Path("/etc/vulkan/icd.d"), Path("/usr/share/vulkan/icd.d"))
TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Source:
    """Where a distribution has a Mesa that is new enough."""

    lines: tuple[str, ...]
    """Lines of apt's sources.list."""
    release: str
    """The one of them to take the package from."""


def _debian(*suites: str) -> Source:
    keys = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
    lines = tuple(f"deb {keys} http://deb.debian.org/debian {suite} main" for suite in suites)
    return Source(lines, suites[-1])


SOURCES = {
    ("debian", "12"): _debian("bookworm", "bookworm-backports"),
    ("debian", "13"): _debian("trixie"),
}
"""Distribution and version, as /etc/os-release names them -> where."""

BY_HAND = (
    "install Mesa 25 or later with its Vulkan drivers (Debian 12, as root: apt-get install -t "
    "bookworm-backports mesa-vulkan-drivers; Ubuntu 24.04: apt-get install mesa-vulkan-drivers), "
    "or draw on a GPU with a Vulkan driver"
)


def driver_variables(folder: Path, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What a process of the environment in ``folder`` needs in order to find its own driver.

    Drivers of GPUs stay where they are and come first; the system's own for CPUs is left out, as it
    is too old. Nothing where there is no such driver, or where the user names drivers himself.
    """
    ours = folder / FOLDER / ICD
    if not ours.is_file() or any(environment.get(name) for name in VARIABLES):
        return {}
    others = [
        file
        for place in SYSTEM_DRIVERS
        for file in sorted(place.glob("*.json"))
        if not file.name.startswith("lvp")
    ]
    found = dict.fromkeys(VARIABLES, os.pathsep.join(map(str, [*others, ours])))
    libraries = str(folder / FOLDER)
    known = environment.get("LD_LIBRARY_PATH", "")
    return found | {"LD_LIBRARY_PATH": f"{libraries}:{known}" if known else libraries}


def add_driver(folder: Path, *, release: Path = Path("/etc/os-release")) -> str:
    """Fetches Mesa's driver for CPUs into the environment in ``folder``; says which version.

    UserError, with what to type, where this distribution has none or it cannot be fetched; the
    folder is as before then.
    """
    source = SOURCES.get(_distribution(release))
    tools = [tool for tool in ("apt-get", "dpkg-deb", "ldd") if shutil.which(tool) is None]
    if source is None or tools or platform.machine() != "x86_64":
        raise UserError(f"no Vulkan driver for CPUs is known for this system: {BY_HAND}")
    target, aside = folder / FOLDER, folder / f".{FOLDER}"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        version = _fetch(source, aside)
        (aside / "kept" / ICD).write_text(json.dumps(_icd(target / LIBRARY), indent=1) + "\n")
        shutil.rmtree(target, ignore_errors=True)
        (aside / "kept").rename(target)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        last = [line for line in str(said).splitlines() if line.strip()][-1:]
        raise UserError(f"cannot fetch {PACKAGE} ({''.join(last)}): {BY_HAND}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return version


def _icd(library: Path) -> dict[str, object]:
    """What tells Vulkan's loader of a driver."""
    details = {"api_version": "1.3.0", "library_path": str(library)}
    return {"file_format_version": "1.0.0", "ICD": details}


def _distribution(release: Path) -> tuple[str, str]:
    text = release.read_text() if release.is_file() else ""
    values = dict(re.findall(r'^(ID|VERSION_ID)="?([^"\n]*)"?$', text, re.MULTILINE))
    return values.get("ID", ""), values.get("VERSION_ID", "")


def _fetch(source: Source, work: Path) -> str:
    """Leaves the library, and what it needs that is not installed, in ``work``/kept."""
    kept = work / "kept"
    for part in ("lists/partial", "cache/archives/partial", "packages", "root", "kept"):
        (work / part).mkdir(parents=True)
    (work / "sources.list").write_text("\n".join(source.lines) + "\n")
    apt = (
        "apt-get", "-q", f"-oDir::Etc::sourcelist={work / 'sources.list'}",
        "-oDir::Etc::sourceparts=/dev/null", f"-oDir::State::Lists={work / 'lists'}",
        f"-oDir::Cache={work / 'cache'}", "-oAPT::Sandbox::User=", "-oAcquire::Retries=2",
    )  # fmt: skip
    _run(*apt, "update", at=work)
    package = _unpacked(apt, PACKAGE, work, release=source.release)
    version = _run("dpkg-deb", "-f", str(package), "Version", at=work).strip()
    depends = _run("dpkg-deb", "-f", str(package), "Depends", at=work)
    shutil.copy(next(work.glob(f"root/**/{LIBRARY}")), kept)
    for name in re.findall(r"(?:^|, )([a-z0-9.+-]+)", depends):
        lacking = _lacking(kept)
        if not lacking:
            break
        if not _is_installed(name):
            _unpacked(apt, name, work)
            for library in work.glob("root/**/*.so*"):
                if library.name in lacking:
                    shutil.copy(library, kept)
    if lacking := _lacking(kept):
        raise OSError(f"{LIBRARY} needs {', '.join(sorted(lacking))}")
    return version


def _unpacked(apt: tuple[str, ...], name: str, work: Path, *, release: str = "") -> Path:
    """Fetches a package and unpacks it below ``work``/root; the package's file."""
    packages = work / "packages"
    before = set(packages.iterdir())
    target = ("-t", release) if release else ()
    _run(*apt, *target, "download", name, at=packages)
    (file,) = set(packages.iterdir()) - before
    _run("dpkg-deb", "-x", str(file), str(work / "root"), at=work)
    return file


def _lacking(folder: Path) -> set[str]:
    """Libraries that those in a folder need and nobody has."""
    paths = {"LD_LIBRARY_PATH": str(folder)}
    said = [_run("ldd", str(file), at=folder, **paths) for file in folder.glob("*.so*")]
    return {name for text in said for name in re.findall(r"^\s*(\S+) => not found", text, re.M)}


def _is_installed(package: str) -> bool:
    done = subprocess.run(("dpkg-query", "-W", package), capture_output=True, check=False)
    return done.returncode == 0


def _run(*command: str, at: Path, **variables: str) -> str:
    done = subprocess.run(
        command,
        cwd=at,
        env={**os.environ, "LC_ALL": "C", **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    return done.stdout
