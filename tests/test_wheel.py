"""What people install: the wheel, the Dockerfiles, the files that describe the project."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
DOCKERFILES = sorted((REPO / "docker").glob("*.Dockerfile"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built as `make wheel` does, from a copy, so that nothing is left in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(
        REPO / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPO / name, source)
    build = ["pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    subprocess.run([sys.executable, "-m", *build, str(folder), str(source)], check=True)
    return next(folder.glob("pushcut-*.whl"))


@pytest.mark.heavy
def test_the_wheel_has_the_package_and_nothing_else(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    inside = {f"pushcut/{path.relative_to(REPO / 'src/pushcut')}" for path in package_files()}
    info = f"pushcut-{PROJECT['version']}.dist-info"
    assert {name for name in names if not name.startswith(info)} == inside
    assert {"pushcut/py.typed", "pushcut/reporting/templates/report.html.jinja"} <= names
    assert f"{info}/licenses/LICENSE" in names


def package_files() -> list[Path]:
    found = (path for path in (REPO / "src/pushcut").rglob("*") if path.is_file())
    return [path for path in found if "__pycache__" not in path.parts]


@pytest.mark.heavy
def test_the_readme_of_the_wheel_has_no_relative_links(wheel: Path):
    text = zipfile.ZipFile(wheel).read(f"pushcut-{PROJECT['version']}.dist-info/METADATA")
    metadata = message_from_string(text.decode())
    assert metadata["Author"] == "pushcut developers"
    readme = str(metadata.get_payload())
    prose = re.sub(r"```[\s\S]*?```", "", readme)
    targets = re.findall(r"\]\(([^)\s]+)\)|^\[[^\]]+\]:\s+(\S+)|src=\"([^\"]+)\"", prose, re.M)
    links = ["".join(groups) for groups in targets]
    assert len(links) > 10
    relative = [link for link in links if not re.match(r"https?://|#", link)]
    assert not relative
    assert all("OWNER/" not in link or link.startswith(repository()) for link in links)


def repository() -> str:
    return PROJECT["urls"]["Repository"]


@pytest.mark.heavy
def test_the_installed_wheel_runs_the_quickstart(wheel: Path, tmp_path: Path):
    """Outside the checkout, with the requirements that this Python has."""
    where = tmp_path / "installed"
    install = ["pip", "install", "-q", "--no-deps", "--no-index", "--target"]
    subprocess.run([sys.executable, "-m", *install, str(where), str(wheel)], check=True)
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    env = os.environ | {"PYTHONPATH": str(where)}
    here = [sys.executable, "-c", "import pushcut; print(pushcut.__file__)"]
    found = subprocess.check_output(here, cwd=outside, env=env, text=True)
    assert found.strip() == str(where / "pushcut" / "__init__.py")
    fast = ["--train.iterations=1", "--sft.fit.steps=10", "--eval.episodes-per-task=2"]
    program = [sys.executable, str(where / "bin" / "pushcut")]
    command = [*program, "quickstart", "smoke", *fast, "--out=run"]
    done = subprocess.run(command, cwd=outside, env=env, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "<html" in (outside / "run" / "report.html").read_text()[:500]


def test_the_repository_has_one_address():
    """pyproject.toml names it for the docs and for the README of the wheel."""
    text = (REPO / "pyproject.toml").read_text()
    addresses = set(re.findall(r"https://github\.com/[\w-]+/pushcut", text))
    assert addresses == {repository()}


def test_the_citation_is_of_this_version():
    citation = (REPO / "CITATION.cff").read_text()
    assert f"\nversion: {PROJECT['version']}\n" in citation
    assert f"\nlicense: {PROJECT['license']}\n" in citation
    assert PROJECT["authors"] == [{"name": "pushcut developers"}]
    assert f'name: "{PROJECT["authors"][0]["name"]}"' in citation


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_a_dockerfile_passes_the_linter(file: Path):
    """It parses, and follows the rules of hadolint."""
    linter = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([linter, str(file)], text=True, capture_output=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_a_dockerfile_copies_what_the_context_has(file: Path):
    lines = file.read_text().replace("\\\n", " ").splitlines()
    copied = [line.split()[1:-1] for line in lines if re.match(r"COPY (?!--from)", line)]
    names = [name for names in copied for name in names]
    allowed = [line[1:] for line in (REPO / ".dockerignore").read_text().split() if line[0] == "!"]
    assert names == ["pyproject.toml", "README.md", "LICENSE", "src"]
    assert set(names) == set(allowed)
    assert all((REPO / name).exists() for name in names)


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_a_dockerfile_asks_for_extras_and_versions_that_there_are(file: Path):
    text = file.read_text()
    extras = re.findall(r"ARG EXTRAS=(\S+)", text)[0].split(",")
    assert set(extras) <= PROJECT["optional-dependencies"].keys()
    torch = next(name for name in PROJECT["dependencies"] if name.startswith("torch"))
    assert all(named == torch for named in re.findall(r'"(torch\S*)"', text))
