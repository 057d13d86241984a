"""`pushcut doctor`: what is here, what is wrong, and what to do about it."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pushcut.commands.doctor_verdict import (
    Examination,
    checkpoint_verdict,
    exploration_table,
    gap_verdict,
)
from pushcut.envs.isolated.simulators import SIMULATORS, state_of
from pushcut.envs.isolated.simulators import installed as isolated
from pushcut.envs.maniskill.vulkan import ADVICE as VULKAN_ADVICE
from pushcut.envs.maniskill.vulkan import probe_vulkan
from pushcut.envs.mujoco.gl import APT_LINE, GlProbe, backends_here, probe_gl, remember_gl
from pushcut.system.machine import free_bytes, has_nvidia_gpu, memory_bytes, usable_cores

GB = 1 << 30

PACKAGES = ("torch", "numpy", "mujoco", "metaworld", "gymnasium", "pyarrow", "av")
"""Packages that pushcut needs, by the names that pip knows."""


@dataclass(frozen=True)
class Problem:
    """Something that is wrong here."""

    what: str
    """What is wrong, in one line."""
    todo: str
    """What to do about it, in one line."""
    fatal: bool = False
    """Whether pushcut cannot do its job before this is mended."""


@dataclass
class Section:
    """One block of the answer: rows of name and finding, and the problems seen."""

    title: str
    rows: list[tuple[str, str]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def complain(self, what: str, todo: str, *, fatal: bool = False) -> None:
        """Adds a problem."""
        self.problems.append(Problem(what, todo, fatal))


def run_doctor(
    checkpoint: Path | None = None,
    *,
    examine: Callable[[Path], Examination] | None = None,
    console: Console | None = None,
) -> int:
    """Examines this machine and, with a checkpoint, whether RL can improve it.

    Args:
        checkpoint: Folder of a policy.
        examine: Plays a few episodes of each task with the policy of a checkpoint.
        console: Where to print.

    Returns:
        The exit code: 1 if something keeps pushcut from working, else 0.
    """
    console = console or Console()
    with console.status("looking around, and rendering a few frames (some seconds)"):
        sections = [installed(), compute(), opengl(), simulators(), machine()]
    table = Table("", "", show_header=False, box=None, pad_edge=False)
    for section in sections:
        table.add_row(f"[bold]{section.title}[/bold]")
        for name, finding in section.rows:
            table.add_row(f"  {escape(name)}", escape(finding))
    console.print(table)
    problems = [problem for section in sections for problem in section.problems]
    _print_problems(console, problems)
    broken = any(problem.fatal for problem in problems)
    if checkpoint is not None and examine is not None and not broken:
        console.print(f"\n[bold]checkpoint {escape(str(checkpoint))}[/bold]")
        _print_examination(console, examine(checkpoint))
    return 1 if broken else 0


def installed() -> Section:
    """Versions of Python, pushcut and the packages that it needs."""
    section = Section("installed", [("python", platform.python_version())])
    for name in ("pushcut", *PACKAGES):
        try:
            section.rows.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            section.rows.append((name, "missing"))
            section.complain(
                f"{name} is not installed",
                "in pushcut's folder type: pip install -e .",
                fatal=True,
            )
    return section


def compute() -> Section:
    """What torch computes with."""
    section = Section("compute")
    try:
        torch = importlib.import_module("torch")
    except (ImportError, OSError) as error:
        section.rows.append(("torch", "cannot be imported"))
        section.complain(
            f"torch cannot be imported: {str(error).splitlines()[0]}",
            "type: pip install --force-reinstall 'torch>=2.7,<2.14'",
            fatal=True,
        )
        return section
    for index in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(index)
        section.rows.append((f"GPU {index}", f"{gpu.name}, {gpu.total_memory / GB:.0f} GB"))
    if torch.cuda.is_available():
        section.rows.append(("CUDA", str(torch.version.cuda)))
    else:
        section.rows.append(("GPU", "none for torch: it computes on the CPU"))
        if has_nvidia_gpu():
            _complain_of_idle_gpu(section, torch.version.cuda)
    section.rows.append(("torch threads", str(torch.get_num_threads())))
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY"):
        section.rows.append((name, os.environ.get(name, "not set")))
    if os.environ.get("OMP_WAIT_POLICY", "").upper() != "PASSIVE":
        section.complain(
            "idle torch threads spin and take the cores from the simulators (3-10x slower)",
            "before Python starts: export OMP_WAIT_POLICY=PASSIVE",
        )
    return section


def opengl() -> Section:
    """Renders a frame with each backend."""
    section = Section("off-screen OpenGL")
    asked = os.environ.get("MUJOCO_GL")
    names = list(backends_here())
    if asked and asked not in names:
        names.append(asked)
    probes = {name: probe_gl(name) for name in names}
    section.rows = [(name, _describe(probe)) for name, probe in probes.items()]
    section.rows.append(("MUJOCO_GL", asked or "not set: pushcut takes the first that works"))
    working = [name for name, probe in probes.items() if probe.works]
    if not working:
        section.complain(
            "MuJoCo cannot render here",
            f"Debian or Ubuntu, as root: {APT_LINE} (other systems: scripts/ensure_gl.sh)",
            fatal=True,
        )
    elif asked and asked not in working:
        section.complain(
            f"MUJOCO_GL={asked} does not work here", f"export MUJOCO_GL={working[0]}", fatal=True
        )
    elif not asked:
        remember_gl(working[0])
    if working and has_nvidia_gpu() and "llvmpipe" in probes[working[0]].detail:
        section.complain(
            "there is a GPU, but the CPU renders",
            "in a container: docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=all",
        )
    return section


def simulators() -> Section:
    """Where each simulator is, and whether ManiSkill can draw."""
    section = Section("simulators")
    for name, simulator in SIMULATORS.items():
        section.rows.append((name, state_of(simulator)))
    maniskill = isolated("maniskill")
    if maniskill is None:
        return section
    vulkan = probe_vulkan(maniskill.python)
    section.rows.append(("Vulkan for ManiSkill", _describe(vulkan)))
    if not vulkan.works:
        section.complain("ManiSkill cannot draw here; it plays from states", VULKAN_ADVICE)
    return section


def machine() -> Section:
    """Cores, memory and space."""
    section = Section("machine", [("system", platform.platform())])
    cores, memory = usable_cores(), memory_bytes()
    section.rows.append(("cores", f"{cores:g}"))
    if cores < 2:
        section.complain(
            f"{cores:g} core: simulators and policy take turns",
            "expect twice the stated times, or give the container more cores",
        )
    if memory is not None:
        total, available = memory
        section.rows.append(("memory", f"{total / GB:.1f} GB, {available / GB:.1f} GB available"))
        if available < 2 * GB:
            section.complain(
                f"{available / GB:.1f} GB of memory is available; the quickstart wants 2 GB",
                "close other programs, or use fewer processes: --rollout.workers 1",
            )
    for name, path, least in (
        ("shared memory", Path("/dev/shm"), 64 << 20),
        ("free disk here", Path.cwd(), 2 * GB),
    ):
        free = free_bytes(path)
        if free is None:
            continue
        section.rows.append((name, f"{free / GB:.1f} GB"))
        if free < least:
            section.complain(
                f"{name}: {free / GB:.2f} GB, {least / GB:.2f} GB is wanted",
                "docker run --shm-size=1g" if path.name == "shm" else "make room, or choose --out",
            )
    return section


def _complain_of_idle_gpu(section: Section, cuda: str | None) -> None:
    if cuda is None:
        section.complain(
            "there is a NVIDIA GPU, but this torch is a CPU build",
            "pip uninstall torch, then pip install 'torch>=2.7,<2.14' as pytorch.org says for CUDA",
        )
    else:
        section.complain(
            f"there is a NVIDIA GPU, but torch (CUDA {cuda}) cannot use it",
            "compare with the driver's CUDA version in nvidia-smi; update the driver",
        )


def _describe(probe: GlProbe) -> str:
    if not probe.works:
        return f"does not work: {probe.detail}"
    return f"works: {probe.detail}, {probe.ms_per_frame:.1f} ms a frame"


def _print_problems(console: Console, problems: Sequence[Problem]) -> None:
    if not problems:
        console.print("\n[green]No problems: everything that pushcut needs is here.[/green]")
        return
    console.print("\n[bold]problems[/bold]")
    for problem in problems:
        colour = "red" if problem.fatal else "yellow"
        console.print(f"  [{colour}]{escape(problem.what)}[/{colour}]", highlight=False)
        console.print(f"    -> {escape(problem.todo)}", highlight=False, soft_wrap=True)


def _print_examination(console: Console, examination: Examination) -> None:
    if examination.trials:
        console.print(exploration_table(examination.trials))
    lines = checkpoint_verdict(examination.rates) + gap_verdict(examination.trials)
    for line in lines:
        console.print(f"  {escape(line)}", highlight=False)
