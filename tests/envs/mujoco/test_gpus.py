"""Simulator processes draw on the GPU that their rank computes on."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from pushcut.envs.isolated.simulators import isolated_launch, launch_of, own_launch
from pushcut.envs.metaworld.env import MetaWorldConfig
from pushcut.envs.mujoco import gl
from pushcut.envs.pool.pool import EnvPool
from pushcut.system import gpus
from pushcut.types import InitState

TORCHRUN = {"RANK": "11", "WORLD_SIZE": "16", "LOCAL_RANK": "3"}
RAY = TORCHRUN | {"PUSHCUT_GPU": "0", "CUDA_VISIBLE_DEVICES": "3"}
VARIABLES = (*RAY, gpus.EGL_VARIABLE, gpus.CHOSEN_VARIABLE)


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine with eight NVIDIA GPUs, and a way to say what a launcher has set."""
    for name in ("nvidiactl", "nvidia-uvm", *(f"nvidia{number}" for number in range(8))):
        (tmp_path / name).touch()
    monkeypatch.setattr(gpus, "DEVICES", tmp_path)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)

    def launched(environment: dict[str, str]) -> None:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

    return launched


@pytest.mark.parametrize(
    ("environment", "device"),
    [
        (TORCHRUN, "3"),
        (RAY, "3"),
        (TORCHRUN | {"CUDA_VISIBLE_DEVICES": "4,5,6,7"}, "7"),
        (TORCHRUN | {"CUDA_VISIBLE_DEVICES": "4,5"}, None),  # there is no fourth
        (TORCHRUN | {"CUDA_VISIBLE_DEVICES": ""}, None),
        (TORCHRUN | {"CUDA_VISIBLE_DEVICES": "GPU-1a,GPU-2b,GPU-3c,GPU-4d"}, None),
        (TORCHRUN | {"LOCAL_RANK": "8"}, None),  # of a machine with eight
        ({"CUDA_VISIBLE_DEVICES": "2"}, "2"),  # one process, on a GPU of the user's
        ({}, None),
    ],
    ids=str,
)
def test_a_worker_process_is_told_the_gpu_of_its_rank(machine, environment, device):
    machine(environment)
    for launch in (own_launch(), launch_of("metaworld"), isolated_launch(Path("python"))):
        assert launch.environment.get("MUJOCO_EGL_DEVICE_ID") == device
        assert launch.environment.get("PUSHCUT_EGL_CHOSEN") == (None if device is None else "1")
    assert "MUJOCO_EGL_DEVICE_ID" not in os.environ  # of the rank itself


def test_a_users_own_choice_stays(machine):
    machine(TORCHRUN | {"MUJOCO_EGL_DEVICE_ID": "5"})
    environment = own_launch().environment
    assert environment["MUJOCO_EGL_DEVICE_ID"] == "5"
    assert "PUSHCUT_EGL_CHOSEN" not in environment


def test_without_nvidia_gpus_nothing_is_chosen(machine, monkeypatch, tmp_path):
    monkeypatch.setattr(gpus, "DEVICES", tmp_path / "none")
    machine(TORCHRUN)
    assert "MUJOCO_EGL_DEVICE_ID" not in own_launch().environment


def test_whether_a_backend_works_is_asked_without_our_choice(machine, monkeypatch):
    asked: list[dict[str, str]] = []

    def run(*_: object, env: dict[str, str], **__: object) -> None:
        asked.append(env)
        raise gl.subprocess.TimeoutExpired("probe", 1)

    monkeypatch.setattr(gl.subprocess, "run", run)
    machine({"MUJOCO_EGL_DEVICE_ID": "3", "PUSHCUT_EGL_CHOSEN": "1"})
    gl.probe_gl("egl")
    monkeypatch.delenv("PUSHCUT_EGL_CHOSEN")
    gl.probe_gl("egl")
    assert ["MUJOCO_EGL_DEVICE_ID" in env for env in asked] == [False, True]


@pytest.mark.sim
def test_where_the_gpu_that_was_chosen_does_not_draw_another_does(machine):
    """Here EGL has fewer devices than the pretended machine has GPUs."""
    if os.environ.get("MUJOCO_GL", "egl") != "egl":
        pytest.skip("only EGL has devices")
    pictures = []
    for environment in ({}, TORCHRUN | {"LOCAL_RANK": "7"}):
        machine(environment)
        with EnvPool(MetaWorldConfig(), slots=1, workers=1) as pool:
            pool.reset(0, InitState("door-close-v3", 2**32))
            assert [reply.kind for reply in pool.wait(300.0)] == ["reset"]
            pictures.append(pool.observation([0]).images["corner2"])
    np.testing.assert_array_equal(*pictures)
