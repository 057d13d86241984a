"""The Vulkan driver beside a simulator's environment: who is told of it, and what goes wrong."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from pushcut.envs.isolated import drivers
from pushcut.envs.isolated.drivers import FOLDER, ICD, LIBRARY, add_driver, driver_variables
from pushcut.envs.isolated.simulators import isolated_launch
from pushcut.errors import UserError

DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nID=debian\n'


@pytest.fixture
def release(tmp_path: Path) -> Path:
    file = tmp_path / "os-release"
    file.write_text(DEBIAN)
    return file


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A simulator's environment with a driver, on a machine that has a GPU's and an old one."""
    (tmp_path / "sims" / FOLDER).mkdir(parents=True)
    (tmp_path / "sims" / FOLDER / ICD).write_text("{}")
    system = tmp_path / "icd.d"
    system.mkdir()
    for name in ("lvp_icd.x86_64.json", "nvidia_icd.json"):
        (system / name).write_text("{}")
    monkeypatch.setattr(drivers, "SYSTEM_DRIVERS", (system,))
    for name in drivers.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "sims"


def test_its_processes_find_it_after_the_gpus_and_instead_of_the_systems_own(environment: Path):
    ours = environment / FOLDER / ICD
    expected = f"{environment.parent / 'icd.d/nvidia_icd.json'}{os.pathsep}{ours}"
    found = driver_variables(environment, {"LD_LIBRARY_PATH": "/mine"})
    assert found["VK_DRIVER_FILES"] == found["VK_ICD_FILENAMES"] == expected
    assert found["LD_LIBRARY_PATH"] == f"{environment / FOLDER}:/mine"
    launched = isolated_launch(environment / "bin" / "python").environment
    assert launched["VK_DRIVER_FILES"] == expected


def test_nothing_is_said_without_one_or_where_the_user_names_drivers(
    environment: Path, tmp_path: Path
):
    assert driver_variables(tmp_path / "other", {}) == {}
    assert driver_variables(environment, {"VK_ICD_FILENAMES": "/mine.json"}) == {}


def commands(
    package: Path, depends: str, lacking: str = ""
):  # what apt-get, dpkg-deb and ldd would do and say
    def run(*command: str, at: Path, **variables: str) -> str:
        if "download" in command:
            name = command[-1]
            (at / f"{name}_1.deb").write_text("")
        elif command[:2] == ("dpkg-deb", "-x"):
            root = Path(command[3])
            library = LIBRARY if "mesa" in command[2] else "libLLVM-15.so.1"
            (root / "usr/lib").mkdir(parents=True, exist_ok=True)
            (root / "usr/lib" / library).write_text("ELF")
        elif command[:2] == ("dpkg-deb", "-f"):
            return depends if command[-1] == "Depends" else "25.0.7-2\n"
        elif command[0] == "ldd":
            there = (at / "libLLVM-15.so.1").exists()
            return "" if there or not lacking else f"\t{lacking} => not found\n"
        return ""

    return run


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drivers.shutil, "which", lambda tool: f"/usr/bin/{tool}")
    monkeypatch.setattr(drivers.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(drivers, "_is_installed", lambda name: name == "libc6")


def test_the_library_and_what_it_lacks_are_put_beside_the_environment(
    tmp_path: Path, release: Path, tools: None, monkeypatch: pytest.MonkeyPatch
):
    depends = "libc6 (>= 2.34), libllvm15, zlib1g (>= 1:1.1.4)\n"
    monkeypatch.setattr(drivers, "_run", commands(tmp_path, depends, "libLLVM-15.so.1"))
    folder = tmp_path / "sims"
    folder.mkdir()
    assert add_driver(folder, release=release) == "25.0.7-2"
    names = {path.name for path in (folder / FOLDER).iterdir()}
    assert names == {ICD, LIBRARY, "libLLVM-15.so.1"}
    icd = json.loads((folder / FOLDER / ICD).read_text())
    assert icd["ICD"]["library_path"] == str(folder / FOLDER / LIBRARY)
    assert [path.name for path in folder.iterdir()] == [FOLDER]  # nothing else is left


def test_a_library_that_nobody_has_is_named_and_nothing_is_left(
    tmp_path: Path, release: Path, tools: None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(drivers, "_run", commands(tmp_path, "libc6\n", "libdrm.so.2"))
    with pytest.raises(UserError, match=r"needs libdrm\.so\.2.*Mesa 25"):
        add_driver(tmp_path, release=release)
    assert {path.name for path in tmp_path.iterdir()} == {"os-release"}


def test_no_network_is_one_line_with_what_to_type(
    tmp_path: Path, release: Path, tools: None, monkeypatch: pytest.MonkeyPatch
):
    def run(*command: str, at: Path, **variables: str) -> str:
        said = "Reading lists\nE: Failed to fetch http://deb.debian.org  Temporary failure\n"
        raise subprocess.CalledProcessError(100, command, stderr=said)

    monkeypatch.setattr(drivers, "_run", run)
    with pytest.raises(UserError, match="Failed to fetch") as caught:
        add_driver(tmp_path, release=release)
    assert "apt-get install -t bookworm-backports" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("text", ["ID=arch\n", 'ID=ubuntu\nVERSION_ID="22.04"\n', ""])
def test_another_distribution_is_told_what_to_install(tmp_path: Path, text: str, tools: None):
    (tmp_path / "os-release").write_text(text)
    with pytest.raises(UserError, match="no Vulkan driver for CPUs is known"):
        add_driver(tmp_path, release=tmp_path / "os-release")
