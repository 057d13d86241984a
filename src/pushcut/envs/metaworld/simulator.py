"""One MetaWorld task in MuJoCo: exact resets, exact snapshots, fast steps.

This module imports the simulator, so it is itself imported late, by ``metaworld``.
"""

# mujoco has no type stubs for its compiled part.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from jaxtyping import Float32, Float64
from metaworld.env_dict import ALL_V3_ENVIRONMENTS
from metaworld.policies import ENV_POLICY_MAP

from pushcut.envs.mujoco.contacts import GripperBodies
from pushcut.envs.mujoco.simulator import MuJoCoSimulator, frozen

PLACEMENT_STREAM = 0x4D57
"""Keeps the placements of a seed apart from whatever else draws from that seed."""

CORNER2_POSITION = (0.75, 0.075, 0.7)
"""Where demonstrations for vision-language-action models have that camera, metres."""

SUCCESS_NEEDS_TOUCH = ("stick-push-v3",)
"""Tasks that count as solved only while the gripper holds the object."""

_PLAIN = (np.ndarray, np.generic, bool, int, float, list, type(None))


@dataclass(frozen=True)
class SimulatorState:
    """What the rest of an episode depends on, besides how long it has lasted."""

    physics: np.ndarray
    """MuJoCo's integration state."""
    body_pos: np.ndarray
    site_pos: np.ndarray
    """The only fields of the model that resets write: where bodies and sites are fixed."""
    attributes: dict[str, Any]
    """What the task remembers of its reset, such as the goal; arrays are read-only."""


class TaskSimulator(MuJoCoSimulator):
    """One task. Actions here are MetaWorld's own: the gripper closes at +1."""

    gripper = GripperBodies("hand", ("rightclaw", "leftclaw"))
    base = "base"

    def __init__(self, task: str) -> None:
        env: Any = _outcome_only(ALL_V3_ENVIRONMENTS[task], task)()
        # Experts need to see the goal; the space that hides it was cached when env was made.
        env._partially_observable = False
        env.__dict__.pop("sawyer_observation_space", None)
        env._set_task_called = True
        env.seeded_rand_vec = True
        self._env = env
        self._expert = ENV_POLICY_MAP[task]()
        super().__init__(env.model, env.data)
        self.model.camera("corner2").pos = CORNER2_POSITION
        self._low = env.sawyer_observation_space.low
        self._high = env.sawyer_observation_space.high
        # Named access costs as much as a physics step; views of the same memory cost nothing.
        self._hand = self.data.body("hand").xpos
        self._right_claw = self.data.body("rightclaw").xpos
        self._left_claw = self.data.body("leftclaw").xpos
        self._mocap = self.data.mocap_pos[0]
        self._pristine = SimulatorState(
            self._physics(),
            self.model.body_pos.copy(),
            self.model.site_pos.copy(),
            {name: copy.deepcopy(env.__dict__[name]) for name in self._plain_attributes()},
        )
        self.reset(0)
        # Which attributes are views into the simulator is settled by the first reset.
        self._attributes = self._plain_attributes()

    def reset(self, seed: int, *, raised: float = 0.0) -> None:
        """Places everything as ``seed`` says, whatever was played before.

        ``raised``: how much higher the table stands, metres.
        """
        env = self._env
        self._forget()
        if raised:
            self._raise_table(raised)
            for bound in ("hand_init_pos", "mocap_low", "mocap_high"):
                setattr(env, bound, getattr(env, bound) - (0, 0, raised))
        env.np_random = np.random.default_rng((PLACEMENT_STREAM, seed))
        # As the stock reset does, settle twice: the second time with the objects in place.
        # Only the first draws, again and again until the task accepts the placement.
        env._freeze_rand_vec = False
        env.reset_model()
        env._freeze_rand_vec = True
        mujoco.mj_resetData(self.model, self.data)
        env.reset_model()
        self._stale = True

    def hold(self, action: Float32[np.ndarray, " 4"], limit: int) -> tuple[int, bool]:
        """Holds an action in [-1, 1] for ``limit`` simulator steps or until success.

        Bit for bit what the stock ``step`` does to the physics and reports as success.
        Its last ``mj_forward`` matters beyond the success check: it moves the solver's
        warm start, which the next step begins from.
        """
        env, model, data, mocap = self._env, self.model, self.data, self._mocap
        move = action[:3] * env.action_scale
        data.mocap_quat[0] = (1, 0, 1, 0)
        data.ctrl[:] = (action[3], -action[3])
        self._stale = False
        for step in range(1, limit + 1):
            np.clip(mocap + move, env.mocap_low, env.mocap_high, out=mocap)
            mujoco.mj_step(model, data, nstep=env.frame_skip)
            mujoco.mj_forward(model, data)
            _, info = env.evaluate_state(self._privileged(), action)
            if info["success"]:
                return step, True
        return limit, False

    def state(self) -> SimulatorState:
        """A copy that shares no memory with the simulator."""
        values = self._env.__dict__
        return SimulatorState(
            self._physics(),
            self.model.body_pos.copy(),
            self.model.site_pos.copy(),
            {name: frozen(values[name]) for name in self._attributes},
        )

    def set_state(self, state: SimulatorState) -> None:
        """Continues from ``state``."""
        self._set_physics(state.physics)
        self.model.body_pos[:] = state.body_pos
        self.model.site_pos[:] = state.site_pos
        self._env.__dict__.update(state.attributes)

    def proprioception(self) -> Float32[np.ndarray, " 4"]:
        """Position of the hand in metres and opening of the gripper in [0, 1].

        Positions are those that the robot measures, whose base may stand lower than usual.
        """
        self.sync()
        x, y, z = self._hand
        return np.array([x, y, z + self.raised, self._opening()], dtype=np.float32)

    def objects_and_goal(self) -> Float32[np.ndarray, " 9"]:
        """Positions of the object, the other object (0 where there is none) and the goal."""
        self.sync()
        seen = self._privileged()
        places = np.stack([seen[4:7], seen[11:14], seen[36:]])
        places[places.any(axis=1), 2] += self.raised
        return places.ravel().astype(np.float32)

    def expert_action(self) -> Float32[np.ndarray, " 4"]:
        """The scripted policy's action, clipped to [-1, 1]."""
        self.sync()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns whenever the clip below has work to do
            action = self._expert.get_action(self._privileged())
        return np.clip(action, -1, 1).astype(np.float32)

    def _privileged(self) -> Float64[np.ndarray, " 39"]:
        """The stock observation as far as success rules and experts read it.

        Left at zero: the objects' orientations (7:11 and 14:18) and the frame before (18:36).
        """
        env = self._env
        observation = np.zeros(39)
        observation[:3] = self._hand
        observation[3] = self._opening()
        objects = env._get_pos_objects()
        observation[4:7] = objects[:3]
        observation[11 : 8 + len(objects)] = objects[3:]
        observation[36:] = env._get_pos_goal()
        return np.minimum(np.maximum(observation, self._low), self._high)

    def _opening(self) -> float:
        distance = np.linalg.norm(self._right_claw - self._left_claw)
        return min(max(float(distance) / 0.1, 0.0), 1.0)  # claws 0.1 m apart: fully open

    def _plain_attributes(self) -> tuple[str, ...]:
        """Attributes that hold numbers of their own; a view into the simulator follows it."""
        return tuple(
            name
            for name, value in self._env.__dict__.items()
            if isinstance(value, _PLAIN) and not _is_foreign_view(value)
        )

    def _forget(self) -> None:
        """Goes back to how the simulator was made: some resets build on what they find."""
        for name in set(self._plain_attributes()) - set(self._pristine.attributes):
            del self._env.__dict__[name]
        mujoco.mj_resetData(self.model, self.data)
        attributes = copy.deepcopy(self._pristine.attributes)
        self.set_state(
            SimulatorState(
                self._pristine.physics,
                self._pristine.body_pos,
                self._pristine.site_pos,
                attributes,
            )
        )


def _outcome_only(stock: type, task: str) -> type:
    """The stock task without what only its shaped reward needs; success is untouched."""

    class OutcomeOnly(stock):
        if task not in SUCCESS_NEEDS_TOUCH:
            touching_main_object = False

        def _gripper_caging_reward(self, *args: Any, **kwargs: Any) -> float:
            return 0.0

    return OutcomeOnly


def _is_foreign_view(value: Any) -> bool:
    """Whether an array looks into memory that no array owns: MuJoCo's."""
    if not isinstance(value, np.ndarray):
        return False
    while isinstance(value.base, np.ndarray):
        value = value.base
    return not value.flags.owndata
