"""The tasks, each in a file of its own.

May import ``scene`` and ``arms``, no simulator. Promises that a task reads the world through its
``View`` alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from pushcut.envs.bimanual.tasks.base import Task
from pushcut.envs.bimanual.tasks.hand_over import HandOver
from pushcut.envs.bimanual.tasks.lift_pot import LiftPot
from pushcut.envs.bimanual.tasks.rank_blocks import RankBlocks
from pushcut.envs.bimanual.tasks.stack_bowls import StackBowls

TASKS: Mapping[str, Task] = {
    "lift-pot": LiftPot(),
    "hand-over": HandOver(),
    "stack-bowls": StackBowls(),
    "rank-blocks": RankBlocks(),
}
"""Every task, by name."""
