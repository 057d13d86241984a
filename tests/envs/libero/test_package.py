"""LIBERO's package: its own environment as the reference, its manners, a user's own states."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pushcut.errors import UserError
from pushcut.types import InitState
from tests.envs.libero.tasks import CONFIG, NEEDS_LIBERO, STOVE
from tests.envs.libero.torch_files import Hostile, torch_file

pytestmark = [pytest.mark.sim, NEEDS_LIBERO, pytest.mark.usefixtures("kept_models")]

STOCK = """
import sys
import numpy as np
from libero.libero.envs import OffScreenRenderEnv
_, bddl, states, out = sys.argv
env = OffScreenRenderEnv(
    bddl_file_name=bddl, camera_heights=64, camera_widths=64, camera_names=["agentview"]
)
np.random.seed(np.random.SeedSequence((0x11BE, 3)).generate_state(8))
env.reset()
env.set_init_state(np.load(states)["states"][3])
for _ in range(10):
    env.step([0, 0, 0, 0, 0, 0, -1])
sim = env.sim
sim.forward()
image = sim.render(64, 64, camera_name="agentview")
model, data = sim.model._model, sim.data._data
np.savez(
    out, image=image, qpos=data.qpos, qvel=data.qvel, body_pos=model.body_pos,
    body_quat=model.body_quat, site_rgba=model.site_rgba,
)
"""


@pytest.mark.slow
def test_a_start_and_its_stock_image_are_those_of_liberos_own_environment(tmp_path: Path):
    from pushcut.envs.libero.package import init_states_file, problem_file

    out = tmp_path / "stock.npz"
    arguments = [str(problem_file(STOVE)), str(init_states_file(STOVE)), str(out)]
    run = subprocess.run(
        [sys.executable, "-c", STOCK, *arguments],
        env=os.environ | {"LIBERO_CONFIG_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    stock = np.load(out)
    env = replace(CONFIG, tasks=(STOVE,), render="stock", texture_size=None).build()
    env.reset(InitState(STOVE, 3))
    simulator = env._simulator(STOVE)
    # The stock environment was rebuilt by its reset, ours was not: the solver begins elsewhere.
    np.testing.assert_allclose(simulator.data.qpos, stock["qpos"], atol=1e-6)
    for name in ("body_pos", "body_quat", "site_rgba"):
        np.testing.assert_array_equal(getattr(simulator.model, name), stock[name])
    simulator.data.qpos[:] = stock["qpos"]
    simulator._stale = True
    np.testing.assert_array_equal(env.render(64), stock["image"][::-1])
    env.close()


SILENT = """
import logging, os, sys
from pushcut.envs.libero.env import LiberoConfig
before = dict(os.environ)
env = LiberoConfig().build()
for name in ("LIBERO_CONFIG_PATH", "MUJOCO_GL", "MUJOCO_EGL_DEVICE_ID"):
    assert os.environ.get(name) == before.get(name), name
assert not {"cv2", "matplotlib", "torch"} & set(sys.modules)
assert not logging.getLogger("robosuite_logs").handlers
"""


def test_the_import_prints_nothing_asks_nothing_and_writes_only_which_gl_works(tmp_path: Path):
    run = subprocess.run(
        [sys.executable, "-c", SILENT],
        env=os.environ | {"HOME": str(tmp_path), "MUJOCO_GL": os.environ.get("MUJOCO_GL", "egl")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert written in ([], [tmp_path / ".cache" / "pushcut" / "gl.json"])


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    from pushcut.envs.libero import package

    monkeypatch.setattr(package.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(package, "problem_classes", package.problem_classes.__wrapped__)
    with pytest.raises(UserError, match=r'pip install "pushcut\[libero\]"'):
        CONFIG.build()


def test_a_folder_of_the_users_replaces_the_benchmarks_states(tmp_path: Path):
    from pushcut.envs.libero.package import init_states_file

    states = np.load(init_states_file(STOVE))["states"]
    own: dict[str, Any] = {"tasks": (STOVE,), "init_folder": str(tmp_path)}
    torch_file(tmp_path / f"{STOVE}.pruned_init", states[::-1].copy())
    env = replace(CONFIG, settle_steps=0, **own).build()
    env.reset(InitState(STOVE, 0))
    np.testing.assert_array_equal(
        env._simulator(STOVE).data.qpos, states[49][1:][: env._simulator(STOVE).model.nq]
    )
    env.close()
    torch_file(tmp_path / f"{STOVE}.pruned_init", Hostile(tmp_path / "touched"))
    env = replace(CONFIG, **own).build()
    with pytest.raises(UserError, match="which is refused"):
        env.reset(InitState(STOVE, 0))
    assert not (tmp_path / "touched").exists()
    env.close()
