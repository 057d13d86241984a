"""The 50 tasks of MetaWorld: instructions, difficulty groups and splits; data only."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

INSTRUCTIONS: dict[str, str] = {
    "assembly-v3": "pick up the ring by its handle and put it over the peg",
    "basketball-v3": "lift the basketball and drop it through the hoop",
    "bin-picking-v3": "take the block out of one bin and put it into the other bin",
    "box-close-v3": "grasp the lid and close the box with it",
    "button-press-topdown-v3": "press the red button down from above",
    "button-press-topdown-wall-v3": "press the button behind the wall down from above",
    "button-press-v3": "push the red button in from the front",
    "button-press-wall-v3": "reach over the wall and push the button in",
    "coffee-button-v3": "push the button of the coffee machine",
    "coffee-pull-v3": "pull the mug away from the coffee machine to the goal",
    "coffee-push-v3": "push the mug under the coffee machine",
    "dial-turn-v3": "turn the dial half way round",
    "disassemble-v3": "lift the ring off the peg",
    "door-close-v3": "close the door",
    "door-lock-v3": "lock the door by turning its lock clockwise",
    "door-open-v3": "open the door by its handle",
    "door-unlock-v3": "unlock the door by turning its lock anticlockwise",
    "drawer-close-v3": "push the drawer shut",
    "drawer-open-v3": "pull the drawer open by its handle",
    "faucet-close-v3": "turn the tap clockwise to close it",
    "faucet-open-v3": "turn the tap anticlockwise to open it",
    "hammer-v3": "pick up the hammer and drive the nail in",
    "hand-insert-v3": "move the gripper with the block into the hole",
    "handle-press-side-v3": "press the handle down while it faces sideways",
    "handle-press-v3": "press the handle down",
    "handle-pull-side-v3": "pull the handle up while it faces sideways",
    "handle-pull-v3": "pull the handle up",
    "lever-pull-v3": "raise the lever until it stands upright",
    "peg-insert-side-v3": "insert the peg sideways into the hole of the box",
    "peg-unplug-side-v3": "pull the plug sideways out of its socket",
    "pick-out-of-hole-v3": "lift the puck out of the hole and bring it to the goal",
    "pick-place-v3": "pick up the puck and carry it to the goal",
    "pick-place-wall-v3": "pick up the puck and carry it over the wall to the goal",
    "plate-slide-back-side-v3": "slide the plate sideways out of the cabinet",
    "plate-slide-back-v3": "slide the plate back out of the cabinet",
    "plate-slide-side-v3": "slide the plate sideways into the cabinet",
    "plate-slide-v3": "slide the plate forward into the cabinet",
    "push-back-v3": "pull the puck back to the goal",
    "push-v3": "push the puck to the goal",
    "push-wall-v3": "push the puck around the wall to the goal",
    "reach-v3": "move the gripper to the goal",
    "reach-wall-v3": "move the gripper over the wall to the goal",
    "shelf-place-v3": "pick up the block and put it on the shelf",
    "soccer-v3": "push the ball into the soccer goal",
    "stick-pull-v3": "pick up the stick and pull the container to the goal with it",
    "stick-push-v3": "pick up the stick and push the container to the goal with it",
    "sweep-into-v3": "sweep the block into the hole",
    "sweep-v3": "sweep the block off the table",
    "window-close-v3": "slide the window shut",
    "window-open-v3": "slide the window open",
}
"""Task -> what the robot is told to do, in our words."""

LEROBOT_INSTRUCTIONS: dict[str, str] = {
    "assembly-v3": "Pick up a nut and place it onto a peg",
    "basketball-v3": "Dunk the basketball into the basket",
    "bin-picking-v3": "Grasp the puck from one bin and place it into another bin",
    "box-close-v3": "Grasp the cover and close the box with it",
    "button-press-topdown-v3": "Press a button from the top",
    "button-press-topdown-wall-v3": "Bypass a wall and press a button from the top",
    "button-press-v3": "Press a button",
    "button-press-wall-v3": "Bypass a wall and press a button",
    "coffee-button-v3": "Push a button on the coffee machine",
    "coffee-pull-v3": "Pull a mug from a coffee machine",
    "coffee-push-v3": "Push a mug under a coffee machine",
    "dial-turn-v3": "Rotate a dial 180 degrees",
    "disassemble-v3": "Pick a nut out of a peg",
    "door-close-v3": "Close a door with a revolving joint",
    "door-lock-v3": "Lock the door by rotating the lock clockwise",
    "door-open-v3": "Open a door with a revolving joint",
    "door-unlock-v3": "Unlock the door by rotating the lock counter-clockwise",
    "drawer-close-v3": "Push and close a drawer",
    "drawer-open-v3": "Open a drawer",
    "faucet-close-v3": "Rotate the faucet clockwise",
    "faucet-open-v3": "Rotate the faucet counter-clockwise",
    "hammer-v3": "Hammer a screw on the wall",
    "hand-insert-v3": "Insert the gripper into a hole",
    "handle-press-side-v3": "Press a handle down sideways",
    "handle-press-v3": "Press a handle down",
    "handle-pull-side-v3": "Pull a handle up sideways",
    "handle-pull-v3": "Pull a handle up",
    "lever-pull-v3": "Pull a lever down 90 degrees",
    "peg-insert-side-v3": "Insert a peg sideways",
    "peg-unplug-side-v3": "Unplug a peg sideways",
    "pick-out-of-hole-v3": "Pick up a puck from a hole",
    "pick-place-v3": "Pick and place a puck to a goal",
    "pick-place-wall-v3": "Pick a puck, bypass a wall and place the puck",
    "plate-slide-back-side-v3": "Get a plate from the cabinet sideways",
    "plate-slide-back-v3": "Get a plate from the cabinet",
    "plate-slide-side-v3": "Slide a plate into a cabinet sideways",
    "plate-slide-v3": "Slide a plate into a cabinet",
    "push-back-v3": "Push the puck to a goal",
    "push-v3": "Push the puck to a goal",
    "push-wall-v3": "Bypass a wall and push a puck to a goal",
    "reach-v3": "Reach a goal position",
    "reach-wall-v3": "Bypass a wall and reach a goal",
    "shelf-place-v3": "Pick and place a puck onto a shelf",
    "soccer-v3": "Kick a soccer into the goal",
    "stick-pull-v3": "Grasp a stick and pull a box with the stick",
    "stick-push-v3": "Grasp a stick and push a box using the stick",
    "sweep-into-v3": "Sweep a puck into a hole",
    "sweep-v3": "Sweep a puck off the table",
    "window-close-v3": "Push and close a window",
    "window-open-v3": "Push and open a window",
}
"""The sentences of lerobot/metaworld_mt50, the only ones that checkpoints fine-tuned on it know.

An interface: TASK_DESCRIPTIONS in LeRobot's src/lerobot/envs/metaworld_config.json, the same in
RLinf's rlinf/envs/metaworld/metaworld_config.json. push-v3 and push-back-v3 share one.
"""

MEDIUM = (
    "basketball-v3",
    "bin-picking-v3",
    "box-close-v3",
    "coffee-pull-v3",
    "coffee-push-v3",
    "hammer-v3",
    "peg-insert-side-v3",
    "push-wall-v3",
    "soccer-v3",
    "sweep-into-v3",
    "sweep-v3",
)
HARD = (
    "assembly-v3",
    "hand-insert-v3",
    "pick-out-of-hole-v3",
    "pick-place-v3",
    "push-back-v3",
    "push-v3",
)
VERY_HARD = (
    "disassemble-v3",
    "pick-place-wall-v3",
    "shelf-place-v3",
    "stick-pull-v3",
    "stick-push-v3",
)
EASY = tuple(task for task in INSTRUCTIONS if task not in MEDIUM + HARD + VERY_HARD)
MT10 = (
    "button-press-topdown-v3",
    "door-open-v3",
    "drawer-close-v3",
    "drawer-open-v3",
    "peg-insert-side-v3",
    "pick-place-v3",
    "push-v3",
    "reach-v3",
    "window-close-v3",
    "window-open-v3",
)
ML45_TEST = (
    "bin-picking-v3",
    "box-close-v3",
    "door-lock-v3",
    "door-unlock-v3",
    "hand-insert-v3",
)

GROUPS: dict[str, tuple[str, ...]] = {
    # Difficulty: Seo et al. 2022 (Masked World Models, appendix), as SmolVLA and pi_RL use it.
    "easy": EASY,
    "medium": MEDIUM,
    "hard": HARD,
    "very_hard": VERY_HARD,
    # Benchmarks: Yu et al. 2019.
    "mt10": MT10,
    "mt50": tuple(INSTRUCTIONS),
    "ml45-train": tuple(task for task in INSTRUCTIONS if task not in ML45_TEST),
    "ml45-test": ML45_TEST,
}
"""Name of a group -> its tasks."""

COLUMNS = {"Easy": EASY, "Medium": MEDIUM, "Hard": HARD, "Very hard": VERY_HARD}
"""Columns of the papers' tables (SmolVLA, pi_RL), whose average counts each once."""


def expand_tasks(names: Sequence[str]) -> tuple[str, ...]:
    """Replaces groups by their tasks; each task once, in the order of its first mention.

    Raises ValueError for a name that is neither a task nor a group.
    """
    tasks: dict[str, None] = {}
    for name in names:
        if name in GROUPS:
            tasks.update(dict.fromkeys(GROUPS[name]))
        elif name in INSTRUCTIONS:
            tasks[name] = None
        else:
            raise ValueError(_unknown(name))
    return tuple(tasks)


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, [*INSTRUCTIONS, *GROUPS], n=4)
    tasks = f"did you mean {' or '.join(close)}?" if close else f"tasks: {', '.join(INSTRUCTIONS)};"
    return f"unknown MetaWorld task or group {name!r}; {tasks} groups: {', '.join(GROUPS)}"
