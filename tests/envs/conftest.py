"""Fixtures of the simulators' tests."""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pushcut.envs.maniskill.put_on_plate import assets
from pushcut.envs.maniskill.simpler.assets import VARIABLE
from pushcut.envs.mujoco.gl import choose_gl
from pushcut.errors import UserError
from tests.envs.maniskill.put_on_plate import made_up as put_on_plate
from tests.envs.maniskill.simpler.made_up import write_assets

# Some test files import mujoco while they are collected, and it reads MUJOCO_GL only then.
with suppress(UserError):
    choose_gl()


@pytest.fixture(scope="session")
def kept_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiles each scene of LIBERO once, however many environments ask for it."""
    import mujoco

    from pushcut.envs.libero import models

    folder: Path = tmp_path_factory.mktemp("models")
    load = models.load_model

    def load_or_compile(xml: str, texture_size: int | None):
        key = hashlib.sha256(f"{texture_size} {xml}".encode()).hexdigest()
        path = folder / f"{key}.mjb"
        if path.exists():
            return mujoco.MjModel.from_binary_path(str(path))  # pyright: ignore
        model = load(xml, texture_size)
        mujoco.mj_saveModel(model, str(path))  # pyright: ignore
        return model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "load_model", load_or_compile)
        yield


@pytest.fixture(scope="module")
def simpler_assets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Made-up files of SIMPLER, where ManiSkill looks for them."""
    folder = tmp_path_factory.mktemp("simpler")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(write_assets(folder / "assets")))
        yield folder


@pytest.fixture(scope="module")
def plate_assets(simpler_assets: Path) -> Iterator[Path]:
    """Made-up files of PutOnPlate, where it looks for them, with an arm and a table."""
    with pytest.MonkeyPatch.context() as patch:
        folder = put_on_plate.write_assets(simpler_assets / "plates")
        patch.setenv(assets.VARIABLE, str(folder))
        yield folder
