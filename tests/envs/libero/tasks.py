"""What tests of LIBERO share."""

from importlib.util import find_spec

import pytest

from pushcut.envs.libero.env import LiberoConfig
from pushcut.envs.libero.tasks import SUITES, expand_tasks

NEEDS_LIBERO = pytest.mark.skipif(
    find_spec("libero") is None, reason='LIBERO is not installed: pip install "pushcut[libero]"'
)

CONFIG = LiberoConfig(
    tasks=tuple(SUITES), cameras=("agentview", "wrist"), image_size=64, texture_size=128
)

# Fixtures that the sampler places, drawers, a stove whose burner glows, three arenas.
QUICK_TASKS = expand_tasks(
    (
        "libero_spatial/0",
        "libero_object/1",
        "libero_goal/7",
        "libero_10/4",
        "libero_90/30",
    )
)
STOVE = QUICK_TASKS[2]
