"""`pushcut sims install`: a simulator that draws by Vulkan gets a driver where none draws."""

from pathlib import Path
from typing import Any

import pytest

from pushcut.commands import sims
from pushcut.envs.isolated.simulators import SIMULATORS, Installed
from pushcut.envs.mujoco.gl import GlProbe
from pushcut.errors import UserError

WORKS = GlProbe("vulkan", True, 1.25, "draws a box")
FAILS = GlProbe("vulkan", False, 0.0, "no device")


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Installs a simulator that is there already; what was said."""
    found = Installed(tmp_path, SIMULATORS["maniskill"].pins, (), "3.11.7", 1.0, 1)
    monkeypatch.setattr(sims.simulators, "installed", lambda name: found)
    monkeypatch.setattr(sims.venvs, "install", lambda *args, **options: found)

    def run(name: str, probes: list[GlProbe], driver: Any = None) -> str:
        monkeypatch.setattr(sims, "probe_vulkan", lambda python: probes.pop(0))
        monkeypatch.setattr(sims, "add_driver", driver)
        sims.install(name)
        assert not probes
        captured = capsys.readouterr()
        return captured.out + captured.err

    return run


def test_where_something_draws_nothing_is_fetched(install):
    def driver(folder: Path) -> str:
        raise AssertionError("nothing was to be fetched")

    assert "Vulkan: draws a box, 1.2 ms a frame" in install("maniskill", [WORKS], driver)


def test_where_nothing_draws_a_driver_is_fetched_and_tried(install, tmp_path: Path):
    def driver(folder: Path) -> str:
        assert folder == tmp_path
        return "25.0.7"

    said = install("maniskill", [FAILS, WORKS], driver)
    assert "Mesa 25.0.7 beside it" in said
    assert "draws a box" in said


def test_without_a_driver_the_simulator_stays_and_a_line_says_what_to_type(install):
    def driver(folder: Path) -> str:
        raise UserError("cannot fetch it: install Mesa")

    assert "no pictures, states alone: cannot fetch it" in install("maniskill", [FAILS], driver)


def test_simulators_that_draw_by_opengl_are_not_asked(install):
    assert "Vulkan" not in install("libero", [])
