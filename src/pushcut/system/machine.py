"""What this machine offers, within the limits of the container that we may be in."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def usable_cores() -> float:
    """CPU cores that this process may use: its affinity and its container's quota."""
    if hasattr(os, "sched_getaffinity"):  # Linux only
        cores = float(len(os.sched_getaffinity(0)))
    else:
        cores = float(os.cpu_count() or 1)
    quota, _, period = _read(_CGROUP / "cpu.max").partition(" ")
    return min(cores, int(quota) / int(period)) if quota.isdigit() else cores


def memory_bytes() -> tuple[int, int] | None:
    """Total and available memory, or None where the system does not say."""
    fields = dict(
        line.split(":", 1) for line in _read(Path("/proc/meminfo")).splitlines() if ":" in line
    )
    if "MemTotal" not in fields or "MemAvailable" not in fields:
        return None
    total, available = (
        int(fields[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable")
    )
    limit, used = _read(_CGROUP / "memory.max"), _read(_CGROUP / "memory.current")
    if limit.isdigit() and used.isdigit():
        total, available = min(total, int(limit)), min(available, int(limit) - int(used))
    return total, max(available, 0)


def free_bytes(path: Path) -> int | None:
    """Free space of the file system that holds ``path``, or None where there is no such path."""
    return shutil.disk_usage(path).free if path.exists() else None


def has_nvidia_gpu() -> bool:
    """Whether a NVIDIA driver is loaded and its devices are visible from here."""
    return Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists()


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
