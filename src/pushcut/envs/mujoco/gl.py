"""Off-screen OpenGL for MuJoCo: which backend works here, found by trying and remembered.

MuJoCo reads ``MUJOCO_GL`` once, when it is imported. Without a display its default (glfw)
fails, and whether EGL or OSMesa works can only be known by rendering a frame: a library may
load and still find no device, or hang in its driver. So each backend is tried in a process
of its own, once per machine; afterwards the answer comes from a small file.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pushcut.errors import UserError
from pushcut.system.gpus import without_choice

BACKENDS = ("egl", "osmesa")
"""Backends that need no display, in the order in which they are tried."""

APT_LINE = (
    "apt-get update && apt-get install -y --no-install-recommends libegl1 libgl1-mesa-dri libgles2"
)
"""What provides EGL with software rendering on Debian and Ubuntu, typed as root."""

_INSTALL = (
    f"on Debian or Ubuntu type, as root: {APT_LINE} (other systems: scripts/ensure_gl.sh says what "
    "to type)"
)

_LIBRARIES = {
    "egl": ("libEGL.so.1", "libEGL.so"),
    "osmesa": ("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so"),
}

_NATIVE = {"Darwin": "cgl", "Windows": "wgl"}
"""Systems whose own OpenGL renders off-screen without any choice."""

_PROBE = """
import json, time
import mujoco
model = mujoco.MjModel.from_xml_string(
    '<mujoco><worldbody><light pos="0 0 3"/><geom size="0.5" rgba="1 0 0 1"/></worldbody></mujoco>'
)
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
renderer = mujoco.Renderer(model, 64, 64)
def frame():
    renderer.update_scene(data)
    return renderer.render()
if not frame().any():
    raise RuntimeError("the rendered frame is black")
start = time.perf_counter()
for _ in range(10):
    frame()
milliseconds = (time.perf_counter() - start) * 100
from OpenGL import GL
print(json.dumps({"ms": milliseconds, "device": GL.glGetString(GL.GL_RENDERER).decode()}))
renderer.close()
"""


@dataclass(frozen=True)
class GlProbe:
    """What came of rendering a frame with one backend."""

    backend: str
    """Value for ``MUJOCO_GL``."""
    works: bool
    """Whether a frame was rendered."""
    ms_per_frame: float
    """Milliseconds per 64-pixel frame of one sphere; 0 if nothing was rendered."""
    detail: str
    """The device that rendered, or one line of what went wrong."""


def probe_gl(backend: str, *, timeout: float = 60.0) -> GlProbe:
    """Renders with ``backend`` in a process of its own, which is killed after ``timeout`` s."""
    environment = without_choice(os.environ) | {"MUJOCO_GL": backend}
    # PyOpenGL would follow an old choice instead of MUJOCO_GL.
    environment.pop("PYOPENGL_PLATFORM", None)
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _PROBE],
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return GlProbe(backend, False, 0.0, f"no frame within {timeout:.0f} s")
    if done.returncode != 0:
        return GlProbe(backend, False, 0.0, _reason(done))
    answer = json.loads(done.stdout.splitlines()[-1])
    return GlProbe(backend, True, answer["ms"], answer["device"])


def choose_gl() -> str:
    """Sets ``MUJOCO_GL`` to a backend that works here, and returns it.

    Call it before mujoco is imported. A choice of the user's is tried and kept or refused,
    never replaced; child processes, which inherit the variable, agree with their parent. The
    first call on a machine tries the backends (about a second), later ones read a file (2 ms).

    Raises:
        UserError: If no backend renders, or the user's does not; the message says what would.
    """
    if asked := os.environ.get("MUJOCO_GL"):
        _check(asked)
        return asked
    chosen = _NATIVE.get(platform.system()) or _remembered()
    if not chosen:
        chosen = _first_that_works(find_gl())
        remember_gl(chosen)
    os.environ["MUJOCO_GL"] = chosen
    return chosen


def import_without_images() -> None:
    """Imports mujoco for a simulator that draws nothing; UserError where MUJOCO_GL prevents it.

    Mujoco loads the library of the backend that is chosen even then.
    """
    asked = os.environ.get("MUJOCO_GL")
    try:
        importlib.import_module("mujoco")
    # PyOpenGL and mujoco raise what they like.
    except Exception as error:
        if not asked:
            raise
        raise UserError(_refusal(asked, str(error))) from error


def not_drawing() -> UserError | None:
    """What to tell where a backend gave no context; None where it works in another process.

    It may have worked when it was remembered, or for one process only.
    """
    chosen = os.environ.get("MUJOCO_GL") or _NATIVE.get(platform.system(), "glfw")
    probe = probe_gl(chosen)
    return None if probe.works else UserError(_refusal(chosen, probe.detail))


def backends_here() -> tuple[str, ...]:
    """The backends worth trying on this system, best first."""
    native = _NATIVE.get(platform.system())
    if native:
        return (native,)
    # A window system that is there may draw where the other two do not.
    return (*BACKENDS, "glfw") if os.environ.get("DISPLAY") else BACKENDS


def find_gl() -> list[GlProbe]:
    """Probes backends until one works: the user's alone if ``MUJOCO_GL`` is set."""
    asked = os.environ.get("MUJOCO_GL")
    probes: list[GlProbe] = []
    for backend in (asked,) if asked else backends_here():
        probes.append(probe_gl(backend))
        if probes[-1].works:
            break
    return probes


def remember_gl(backend: str, *, asked: bool = False) -> None:
    """Keeps the answer for this machine and installation; a place that is read-only is no error.

    ``asked``: it works, but is not what those who choose nothing should get.
    """
    path = _memory_path()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        answers = _answers(path) | {_machine(backend if asked else ""): backend}
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            json.dump(answers, file)
        os.replace(file.name, path)


def main() -> int:
    """Tries the backends, remembers one that works and prints it; 1 if there is none."""
    probes = find_gl()
    for probe in probes:
        if probe.works:
            remember_gl(probe.backend)
            print(f"{probe.backend}: {probe.detail}, {probe.ms_per_frame:.1f} ms a frame")
            return 0
        print(f"{probe.backend}: does not work ({probe.detail})", file=sys.stderr)
    return 1


def _first_that_works(probes: list[GlProbe]) -> str:
    for probe in probes:
        if probe.works:
            return probe.backend
    tried = "; ".join(f"{probe.backend}: {probe.detail}" for probe in probes)
    raise UserError(f"no off-screen OpenGL works here ({tried}); {_INSTALL}")


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode < 0:
        return f"the process died of signal {-done.returncode}"
    error = re.search(r"^[\w.]+(Error|Exception): .*", done.stderr, re.MULTILINE)
    if error is None:
        return f"exit code {done.returncode}"
    # PyOpenGL reports a missing library as a function that None does not have.
    missing = "'NoneType' object has no attribute" in error[0]
    return "its library is not installed" if missing else error[0]


def _check(asked: str) -> None:
    """UserError where the backend that the user chose gives no frame."""
    if asked in (_NATIVE.get(platform.system()), _remembered(), _remembered(asked)):
        return
    probe = probe_gl(asked)
    if not probe.works:
        raise UserError(_refusal(asked, probe.detail))
    remember_gl(asked, asked=True)


def _refusal(backend: str, reason: str) -> str:
    """One line about a backend that does not work, and what does."""
    others = (probe_gl(other) for other in backends_here() if other != backend)
    works = next((probe.backend for probe in others if probe.works), None)
    todo = (
        f"{works} does: export MUJOCO_GL={works}"
        if works
        else f"nor does any other backend; {_INSTALL}"
    )
    return f"MUJOCO_GL={backend} does not work here ({' '.join(reason.split())}); {todo}"


def _remembered(asked: str = "") -> str:
    """The backend found earlier, if its library still loads; else nothing."""
    backend = _answers(_memory_path()).get(_machine(asked), "")
    names = _LIBRARIES.get(backend, ())
    return backend if backend == "glfw" or any(_loads(name) for name in names) else ""


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _memory_path() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "pushcut" / "gl.json"


def _answers(path: Path) -> dict[str, str]:
    try:
        answers = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(answers, dict):
        return {}
    return {machine: name for machine, name in answers.items() if isinstance(name, str)}


def _machine(asked: str = "") -> str:
    """Names this host, its mujoco and its GPU access: homes are shared and containers change.

    And the backend, where one was asked for.
    """
    spec = importlib.util.find_spec("mujoco")
    where = spec.origin if spec and spec.origin else "no mujoco"
    stamp = int(Path(where).stat().st_mtime) if spec and spec.origin else 0
    gpu = "gpu" if Path("/dev/nvidiactl").exists() else "cpu"
    return f"{platform.node()} {where} {stamp} {gpu} {asked}".rstrip()
