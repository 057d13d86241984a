"""One LIBERO task in robosuite and MuJoCo: exact resets, exact snapshots, steps without images.

This module imports the simulator, so it is itself imported late, by ``libero``.
"""

# mujoco has no type stubs for its compiled part.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import mujoco
import numpy as np
from jaxtyping import Float, Float32

from pushcut.envs.libero import models
from pushcut.envs.libero.control import OSCStep
from pushcut.envs.libero.experts import make_expert
from pushcut.envs.libero.init_states import read_init_states
from pushcut.envs.libero.package import (
    controller_settings,
    init_states_file,
    package_defaults,
    problem_classes,
    problem_file,
    problem_name,
)
from pushcut.envs.libero.tasks import FIXED_INITS
from pushcut.envs.mujoco.contacts import GripperBodies
from pushcut.envs.mujoco.simulator import MuJoCoSimulator, frozen

PLACEMENT_STREAM = 0x11BE
"""Keeps the placements of a seed apart from whatever else draws from that seed."""

JOINT_STREAM = 0x11BF
"""Likewise what is added to the arm's joints."""

PLACEMENT_TRIES = 20
"""Attempts to place the objects, each with thousands of positions, before giving up."""

MODEL_FIELDS = ("body_pos", "body_quat", "site_rgba")
"""The only fields of the model that change: where fixtures stand, whether a burner glows."""

NO_OP = np.array([0, 0, 0, 0, 0, 0, -1], dtype=np.float32)
"""LIBERO's action while objects settle: stay, gripper open."""

_NUMBERS = (np.ndarray, np.generic, bool, int, float, type(None))


@dataclass(frozen=True)
class SimulatorState:
    """What the rest of an episode depends on, besides how long it has lasted."""

    physics: np.ndarray
    """MuJoCo's integration state."""
    model: dict[str, np.ndarray]
    """``MODEL_FIELDS`` of the model."""
    gripper: np.ndarray
    """Where the gripper's command, which follows the action slowly, has got to."""
    controller: dict[str, Any]
    """The controller's numbers: its goal, above all; arrays are read-only."""
    clock: tuple[int, float]
    """robosuite's count of control steps and of seconds."""


class TaskSimulator(MuJoCoSimulator):
    """One task. Actions here are LIBERO's own: the gripper closes at +1.

    ``env`` is robosuite's environment, ``model`` and ``data`` MuJoCo's: scripted experts read
    them (after ``sync``) and change nothing.
    """

    gripper = GripperBodies(
        "gripper0_right_gripper", ("gripper0_leftfinger", "gripper0_rightfinger")
    )

    base = "robot0_base"

    def __init__(
        self,
        task: str,
        *,
        control: Literal["fast", "stock"] = "fast",
        texture_size: int | None = None,
        init_folder: str | None = None,
        joint_noise: float = 0.0,
    ) -> None:
        """Makes the simulator, which takes 4 to 9 s.

        Args:
            task: Its name.
            control: Whose control step.
            texture_size: Textures with a longer side are shrunk to this, pixels.
            init_folder: Where ``<task>.pruned_init`` is, in the place of the benchmark's own.
            joint_noise: Standard deviation of the arm's joints in drawn states, radians.
        """
        path = problem_file(task)
        self._task = task
        own = None if init_folder is None else Path(init_folder) / f"{task}.pruned_init"
        self._init_file = own or init_states_file(task)
        with package_defaults():
            self.env: Any = _bare(problem_name(path))(
                str(path),
                robots=["Panda"],
                controller_configs=controller_settings(),
                use_camera_obs=False,
                has_offscreen_renderer=False,
                initialization_noise=None,
                control_freq=20,
                hard_reset=False,
                ignore_done=True,
                texture_size=texture_size,
            )
        super().__init__(self.env.sim.model._model, self.env.sim.data._data)
        self._joint_noise = joint_noise
        self._inits: np.ndarray | None = None
        self._pristine = {name: getattr(self.model, name).copy() for name in MODEL_FIELDS}
        self.env.placed = True  # from now on resets are real ones
        self.reset(FIXED_INITS, settle_steps=0)  # any placement
        self._step = OSCStep(self.env).step if control == "fast" else self._stock_step
        self._expert: Callable[[], np.ndarray] | None = None
        robot = self.env.robots[0]
        # Named access costs as much as a physics step; views of the same memory cost nothing.
        self._hand = self.data.site_xpos[robot.eef_site_id]
        self._hand_quat = self.data.body(robot.robot_model.eef_name).xquat
        self._fingers = list(robot._ref_gripper_joint_pos_indexes)

    def reset(self, seed: int, *, settle_steps: int, raised: float = 0.0) -> None:
        """Places everything as ``seed`` says, whatever was played before, and lets it settle.

        Seeds below ``FIXED_INITS`` are the benchmark's own initial states: joints and objects
        as stored, fixtures as its protocol has them, drawn by the sampler. In drawn states the
        arm's joints are moved as they are in stored ones: after robosuite's reset, whose pose its
        controller goes back to in the first step. ``raised``: how much higher the table stands,
        metres.
        """
        env = self.env
        with _numpy_stream(PLACEMENT_STREAM, seed):
            self._place(seed, raised)
        env.sim.forward()
        env.visualize(vis_settings=dict.fromkeys(env._visualizations, False))
        if seed < FIXED_INITS:
            env.sim.set_state_from_flattened(self._fixed_inits()[seed])
        else:
            arm = list(env.robots[0]._ref_joint_pos_indexes)
            rng = np.random.default_rng((JOINT_STREAM, seed))
            self.data.qpos[arm] += self._joint_noise * rng.standard_normal(len(arm))
        env.sim.forward()
        env._check_success()
        env._post_process()
        self._stale = True
        for _ in range(settle_steps):
            self.step(NO_OP)

    def step(self, action: Float32[np.ndarray, " 7"]) -> bool:
        """Executes an action in [-1, 1] for a control step of 50 ms; returns success.

        Success is looked up, as in robosuite, before positions follow the last 2 ms.
        """
        self._stale = True
        # Right after a reset robosuite's controller still takes the hand to be where the reset
        # put it, and pulls it there: only its own code does the same.
        started = self.env.robots[0].controller.new_update
        return self._step(action) if started else self._stock_step(action)

    def hold(self, action: Float32[np.ndarray, " 7"], limit: int) -> tuple[int, bool]:
        """Holds an action for ``limit`` control steps or until success."""
        for step in range(1, limit + 1):
            if self.step(action):
                return step, True
        return limit, False

    def _stock_step(self, action: np.ndarray) -> bool:
        """Bit for bit what robosuite's ``step`` does to the physics."""
        env = self.env
        env.timestep += 1
        for substep in range(int(env.control_timestep / env.model_timestep)):
            env.sim.forward()
            env._pre_action(action, policy_step=substep == 0)
            env.sim.step()
        env.cur_time += env.control_timestep
        env._post_process()
        return bool(env._check_success())

    def expert_action(self) -> Float32[np.ndarray, " 7"]:
        """The scripted expert's action, whose gripper opens at +1.

        Raises NotImplementedError where there is no expert.
        """
        if self._expert is None:
            self._expert = make_expert(self.env)
        return self._expert()

    def state(self) -> SimulatorState:
        """A copy that shares no memory with the simulator."""
        env = self.env
        robot = env.robots[0]
        return SimulatorState(
            self._physics(),
            {name: frozen(getattr(self.model, name)) for name in MODEL_FIELDS},
            frozen(robot.gripper.current_action),
            {
                name: frozen(value)
                for name, value in vars(robot.controller).items()
                if isinstance(value, _NUMBERS)
            },
            (int(env.timestep), float(env.cur_time)),  # robosuite begins with two integers
        )

    def set_state(self, state: SimulatorState) -> None:
        """Continues from ``state``."""
        env = self.env
        robot = env.robots[0]
        self._set_physics(state.physics)
        for name, value in state.model.items():
            getattr(self.model, name)[:] = value
        robot.gripper.current_action = state.gripper
        vars(robot.controller).update(state.controller)
        env.timestep, env.cur_time = state.clock

    def proprioception(self) -> Float32[np.ndarray, " 8"]:
        """Position (m) and axis-angle (rad) of the hand, position of the two fingers (m).

        Positions are those that the robot measures, whose base may stand lower than usual.
        """
        self.sync()
        angle = _axis_angle(self._hand_quat)
        x, y, z = self._hand
        fingers = self.data.qpos[self._fingers]
        return np.array([x, y, z + self.raised, *angle, *fingers], dtype=np.float32)

    def _place(self, seed: int, raised: float) -> None:
        """Draws a placement: the stock reset without its rebuilding and its endless retries."""
        for _ in range(PLACEMENT_TRIES):
            self._forget()
            self._raise_table(raised)
            try:
                self.env._reset_internal()
            except _randomization_error():
                continue
            return
        raise RuntimeError(
            f"{self._task}: no placement without overlap in {PLACEMENT_TRIES} attempts "
            f"from seed {seed}; use another seed"
        )

    def _forget(self) -> None:
        """Goes back to how the simulator was made."""
        for name, value in self._pristine.items():
            getattr(self.model, name)[:] = value
        mujoco.mj_resetData(self.model, self.data)
        # One number for each finger; robosuite begins with one for both, and adds up the same.
        self.env.robots[0].gripper.current_action = np.zeros(2)

    def _fixed_inits(self) -> Float[np.ndarray, "n size"]:
        if self._inits is None:
            size = 1 + self.model.nq + self.model.nv  # time, positions, velocities
            self._inits = read_init_states(self._init_file, FIXED_INITS, size)
        return self._inits


@cache
def _bare(problem: str) -> type:
    """The stock environment that neither observes nor places anything while it is made."""
    stock: Any = problem_classes()[problem]
    from robosuite.utils.binding_utils import MjSim

    class Bare(stock):
        def __init__(self, *args: Any, texture_size: int | None, **kwargs: Any) -> None:
            self.placed = False
            self._texture_size = texture_size
            super().__init__(*args, **kwargs)

        def _initialize_sim(self, xml_string: str | None = None) -> None:
            self.sim = MjSim(models.load_model(self.model.get_xml(), self._texture_size))
            self.sim.forward()
            self.initialize_time(self.control_freq)

        def _assert_problem_name(self) -> None:
            pass  # it compares with the name of the class

        def _setup_observables(self) -> dict:
            return {}

        def _reset_internal(self) -> None:
            if self.placed:
                super()._reset_internal()

    return Bare


@cache
def _randomization_error() -> type[Exception]:
    from robosuite.utils.errors import RandomizationError

    return RandomizationError


@contextmanager
def _numpy_stream(*entropy: int) -> Iterator[None]:
    """Keys numpy's global generator, from which placements are drawn, and puts it back."""
    before = np.random.get_state()
    np.random.seed(np.random.SeedSequence(entropy).generate_state(8))
    try:
        yield
    finally:
        np.random.set_state(before)


def _axis_angle(quaternion: Float[np.ndarray, " 4"]) -> Float[np.ndarray, " 3"]:
    """Rotation vector of a quaternion (w, x, y, z), as robosuite's ``quat2axisangle`` has it."""
    w = min(max(float(quaternion[0]), -1.0), 1.0)
    sine = np.sqrt(1.0 - w * w)
    if sine < 1e-9:
        return np.zeros(3)
    return quaternion[1:] * (2.0 * np.arccos(w)) / sine
