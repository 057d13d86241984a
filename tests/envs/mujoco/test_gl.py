import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pushcut.envs.metaworld.env import MetaWorldConfig
from pushcut.envs.mujoco import gl
from pushcut.envs.mujoco.gl import GlProbe, choose_gl, find_gl, not_drawing, probe_gl
from pushcut.envs.pool.pool import EnvPool
from pushcut.errors import UserError


@pytest.fixture(autouse=True)
def a_machine_that_was_never_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    # setenv first, so that what choose_gl sets is undone afterwards.
    monkeypatch.setenv("MUJOCO_GL", "")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setattr("platform.system", lambda: "Linux")


def only(monkeypatch: pytest.MonkeyPatch, *working: str) -> list[str]:
    """Lets the named backends work and any library load; returns the list of what is tried."""
    tried: list[str] = []

    def probe(backend: str, *, timeout: float = 60.0) -> GlProbe:
        tried.append(backend)
        return GlProbe(backend, backend in working, 1.0, "a test")

    monkeypatch.setattr(gl, "probe_gl", probe)
    monkeypatch.setattr(gl, "_loads", lambda library: True)
    return tried


def test_egl_is_taken_before_osmesa_and_children_inherit_it(monkeypatch: pytest.MonkeyPatch):
    tried = only(monkeypatch, "egl", "osmesa")
    assert choose_gl() == "egl"
    assert tried == ["egl"]
    assert os.environ["MUJOCO_GL"] == "egl"


def test_osmesa_is_taken_where_egl_gives_no_frame(monkeypatch: pytest.MonkeyPatch):
    tried = only(monkeypatch, "osmesa")
    assert choose_gl() == "osmesa"
    assert tried == ["egl", "osmesa"]


def test_a_display_is_the_last_resort(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DISPLAY", ":0")
    tried = only(monkeypatch, "glfw")
    assert choose_gl() == "glfw"
    assert tried == ["egl", "osmesa", "glfw"]


def test_the_users_choice_is_respected_and_tried_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    tried = only(monkeypatch, "egl", "osmesa")
    assert choose_gl() == choose_gl() == "osmesa"
    assert tried == ["osmesa"]
    monkeypatch.setenv("MUJOCO_GL", "")
    assert choose_gl() == "egl"  # who chooses nothing gets the best one


@pytest.mark.parametrize("asked", ["osmesa", "nonsense"])
def test_a_choice_that_does_not_work_is_refused_and_told_what_does(
    monkeypatch: pytest.MonkeyPatch, asked: str
):
    monkeypatch.setenv("MUJOCO_GL", asked)
    only(monkeypatch, "egl")
    with pytest.raises(UserError) as caught:
        choose_gl()
    told = f"MUJOCO_GL={asked} does not work here (a test); egl does: export MUJOCO_GL=egl"
    assert str(caught.value) == told


def test_a_choice_where_nothing_works_names_the_packages(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MUJOCO_GL", "egl")
    only(monkeypatch)
    with pytest.raises(UserError, match="nor does any other backend; on Debian.*libegl1"):
        choose_gl()


def test_a_device_that_is_gone_is_told_and_a_single_failure_is_not(monkeypatch: pytest.MonkeyPatch):
    """The memory says that a backend works, and then it gives no context."""
    monkeypatch.setenv("MUJOCO_GL", "egl")
    only(monkeypatch, "osmesa")
    assert "osmesa does: export MUJOCO_GL=osmesa" in str(not_drawing())
    only(monkeypatch, "egl")
    assert not_drawing() is None


@pytest.mark.sim
@pytest.mark.parametrize("cameras", [("corner2",), ()], ids=["images", "states"])
def test_a_simulator_whose_backend_is_nonsense_does_not_start(
    monkeypatch: pytest.MonkeyPatch, cameras: tuple[str, ...]
):
    monkeypatch.setenv("MUJOCO_GL", "nonsense")
    with pytest.raises(UserError, match=r"cannot start MetaWorldConfig: MUJOCO_GL=nonsense does"):
        EnvPool(MetaWorldConfig(cameras=cameras), slots=1, workers=1)


def test_the_second_process_reads_the_answer_of_the_first(monkeypatch: pytest.MonkeyPatch):
    tried = only(monkeypatch, "osmesa")
    choose_gl()
    monkeypatch.setenv("MUJOCO_GL", "")
    tried.clear()
    start = time.perf_counter()
    assert choose_gl() == "osmesa"
    assert time.perf_counter() - start < 0.05
    assert tried == []


def test_an_answer_whose_library_is_gone_is_found_again(monkeypatch: pytest.MonkeyPatch):
    only(monkeypatch, "egl")
    choose_gl()
    monkeypatch.setenv("MUJOCO_GL", "")
    tried = only(monkeypatch, "osmesa")
    monkeypatch.setattr(gl, "_loads", lambda library: "OSMesa" in library)
    assert choose_gl() == "osmesa"
    assert tried == ["egl", "osmesa"]


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"x": 3}'])
def test_a_damaged_memory_is_ignored_and_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
):
    memory = tmp_path / "pushcut" / "gl.json"
    memory.parent.mkdir()
    memory.write_text(content)
    only(monkeypatch, "egl")
    assert choose_gl() == "egl"
    assert '"egl"' in memory.read_text()


def test_a_cache_that_cannot_be_written_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    only(monkeypatch, "egl")
    assert choose_gl() == "egl"


def test_no_backend_at_all_names_the_packages_to_install(monkeypatch: pytest.MonkeyPatch):
    only(monkeypatch)
    with pytest.raises(UserError) as caught:
        choose_gl()
    assert "egl: a test; osmesa: a test" in str(caught.value)
    assert "apt-get install -y --no-install-recommends libegl1 libgl1-mesa-dri libgles2" in str(
        caught.value
    )
    assert "\n" not in str(caught.value)


def test_only_the_users_choice_is_searched(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    only(monkeypatch, "egl")
    assert [probe.backend for probe in find_gl()] == ["osmesa"]


def test_a_mac_uses_its_own_opengl(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    tried = only(monkeypatch)
    assert choose_gl() == "cgl"
    assert tried == []


def test_a_backend_that_hangs_is_killed_in_time():
    probe = probe_gl("egl", timeout=0.01)
    assert (probe.works, probe.detail) == (False, "no frame within 0 s")


def test_choosing_imports_neither_torch_nor_mujoco():
    code = (
        "import sys, pushcut.envs.mujoco.gl; "
        "sys.exit('torch' in sys.modules or 'mujoco' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.sim
def test_an_unknown_backend_does_not_work_and_says_why():
    probe = probe_gl("nonsense")
    assert not probe.works
    assert "MUJOCO_GL: nonsense" in probe.detail


@pytest.mark.sim
def test_a_frame_is_rendered_here():
    probe = find_gl()[-1]
    assert probe.works, probe.detail
    assert 0 < probe.ms_per_frame < 1000
    assert probe.detail
