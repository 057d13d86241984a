"""LIBERO's control step without the Python that robosuite runs in each of its 25 substeps.

A stock substep calls ``mj_forward`` twice and ``mj_step`` once, and between them the
operational space controller, the gripper and every sensor in Python. Here MuJoCo's position
and velocity stages run once, the controller is one compiled function, and no sensor is read.
"""

# mujoco has no type stubs for its compiled part.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
from jaxtyping import Float

from pushcut.envs.libero.osc import osc_torques

CONVERGED = 1e-13
"""Scaled gradient below which another run of the constraint solver changes nothing: measured,
at most 6e-16 in a position and 7e-13 in a velocity of the next substep."""


class OSCStep:
    """Steps one robosuite environment of LIBERO as its own ``step`` does, without observing.

    Leaves MuJoCo's positions and velocities within 1e-9 of the stock step's (median 1e-15), the
    gripper, the clock and the controller's fields as well, so that both kinds of steps can be
    mixed and snapshots mean the same for both. Exceptions, about one state in a hundred while
    things are being pushed around: where a contact hangs by a rounding error, and where the
    stock step itself ends elsewhere if one of its gains changes in the last digit.
    Not kept: robosuite's observables, and the robot's buffers of recent torques, poses and
    velocities, which nothing in LIBERO reads.
    """

    def __init__(self, env: Any) -> None:
        """Looks up the robot.

        Args:
            env: The robosuite environment: ``env.env`` of LIBERO's wrappers.
        """
        self._env = env
        self._bind()

    def step(self, action: Float[np.ndarray, " 7"]) -> bool:
        """Executes one action for 50 ms and says whether the task is done.

        Args:
            action: As LIBERO takes it: its gripper closes at +1.
        """
        env = self._env
        if env.robots[0].controller is not self._controller:  # replaced by each robosuite reset
            self._bind()
        action = np.asarray(action, dtype=np.float64)
        model, data = self._model, self._data
        gripper = self._gripper_controls(action[6:])
        for substep, fingers in enumerate(gripper, 1):
            mujoco.mj_step1(model, data)
            self._warm_start()
            mujoco.mj_jacSite(model, data, self._jac_pos, self._jac_rot, self._site)
            mujoco.mj_fullM(model, self._mass, data.qM)
            if substep == 1:
                self._set_goal(action[:6])
            self._control_arm()
            self._ctrl[self._gripper_actuators] = fingers
            if substep == len(gripper):
                self._publish()
            mujoco.mj_step2(model, data)
        env.timestep += 1
        env.cur_time += env.control_timestep
        env.done = env.timestep >= env.horizon and not env.ignore_done
        env._post_process()
        return bool(env._check_success())

    def _bind(self) -> None:
        """Finds everything that does not change between two robosuite resets."""
        env = self._env
        robot = env.robots[0]
        controller = robot.controller
        _check_controller(controller)
        self._robot, self._controller = robot, controller
        self._model, self._data = env.sim.model._model, env.sim.data._data
        model, data = self._model, self._data
        self._site = env.sim.model.site_name2id(controller.eef_name)
        # Views: MuJoCo's arrays stay where they are as long as the data lives.
        self._ctrl = data.ctrl
        self._site_pos = data.site_xpos[self._site]
        self._site_mat = data.site_xmat[self._site].reshape(3, 3)
        self._state = (data.qpos, data.qvel, data.qfrc_bias)
        self._jac_pos, self._jac_rot = np.zeros((3, model.nv)), np.zeros((3, model.nv))
        self._mass = np.zeros((model.nv, model.nv))
        self._torques = np.zeros(len(controller.qvel_index))
        actuators = np.array(robot._ref_joint_actuator_indexes)
        self._arm = (
            np.array(controller.qpos_index),
            np.array(controller.qvel_index),
            actuators,
            model.actuator_ctrlrange[actuators],
        )
        self._gripper_actuators = np.array(robot._ref_joint_gripper_actuator_indexes)
        _watch_contacts(env)

    def _warm_start(self) -> None:
        """Leaves the solver's starting point where the two ``mj_forward`` of robosuite do.

        It matters: the solver stops at a tolerance of 1e-8, and from another starting point
        the joints end up to 8e-6 away after a control step.
        """
        model, data = self._model, self._data
        mujoco.mj_fwdActuation(model, data)
        mujoco.mj_fwdAcceleration(model, data)
        mujoco.mj_fwdConstraint(model, data)
        iterations = data.solver_niter[0]
        if iterations and data.solver[iterations - 1].gradient > CONVERGED:
            mujoco.mj_fwdConstraint(model, data)

    def _set_goal(self, arm_action: np.ndarray) -> None:
        """Lets robosuite's controller place its goal; MuJoCo's positions must be up to date."""
        controller = self._controller
        controller.ee_pos = self._site_pos.copy()
        controller.ee_ori_mat = self._site_mat.copy()
        controller.new_update = False  # spares it another mj_forward
        controller.set_goal(arm_action)
        # Copies: in a restored snapshot they may be read-only, which is another type to numba.
        self._goal = tuple(
            np.array(value)
            for value in (
                controller.goal_pos,
                controller.goal_ori,
                controller.kp,
                controller.kd,
                controller.initial_joint,
            )
        )

    def _control_arm(self) -> None:
        """Sets the torques that pull the arm towards the controller's goal.

        In a stretched arm the control law amplifies rounding: then robosuite's code is run.
        """
        regular = osc_torques(
            self._torques,
            self._ctrl,
            *self._arm,
            self._site_pos,
            self._site_mat,
            self._jac_pos,
            self._jac_rot,
            self._mass,
            *self._state,
            *self._goal,
        )
        if not regular:
            self._publish()
            self._controller.new_update = False  # spares it another mj_forward
            self._torques[:] = self._controller.run_controller()
            _, _, actuators, limits = self._arm
            self._ctrl[actuators] = np.clip(self._torques, limits[:, 0], limits[:, 1])

    def _gripper_controls(self, gripper_action: np.ndarray) -> Float[np.ndarray, "substeps 2"]:
        """What the finger actuators get in each substep, and keeps where that leaves them."""
        gripper, env = self._robot.gripper, self._env
        substeps = int(env.control_timestep / env.model_timestep)
        change = np.array([-1.0, 1.0]) * gripper.speed * np.sign(gripper_action)
        fingers = np.add.accumulate([gripper.current_action, *[change] * substeps])[1:]
        fingers = np.clip(fingers, -1.0, 1.0)
        gripper.current_action = fingers[-1].copy()
        low, high = self._model.actuator_ctrlrange[self._gripper_actuators].T
        return 0.5 * (high + low) + 0.5 * (high - low) * fingers

    def _publish(self) -> None:
        """Gives the controller's fields what robosuite's ``update`` would have read."""
        controller = self._controller
        positions, dofs, actuators, _ = self._arm
        qpos, qvel, _ = self._state
        controller.ee_pos = self._site_pos.copy()
        controller.ee_ori_mat = self._site_mat.copy()
        controller.ee_pos_vel = self._jac_pos @ qvel
        controller.ee_ori_vel = self._jac_rot @ qvel
        controller.joint_pos = qpos[positions]
        controller.joint_vel = qvel[dofs]
        controller.J_pos, controller.J_ori = self._jac_pos[:, dofs], self._jac_rot[:, dofs]
        controller.J_full = np.vstack([controller.J_pos, controller.J_ori])
        controller.mass_matrix = self._mass[dofs][:, dofs]
        controller.torques = self._torques.copy()
        controller.new_update = True
        self._robot.torques = self._ctrl[actuators]


def _check_controller(controller: Any) -> None:
    """Raises for settings of robosuite's controller that LIBERO does not use."""
    if (
        controller.name != "OSC_POSE"
        or controller.impedance_mode != "fixed"
        or not controller.uncoupling
        or controller.interpolator_pos is not None
        or controller.interpolator_ori is not None
    ):
        raise ValueError(
            "the fast control step needs robosuite's default OSC_POSE controller; "
            "use control='stock' for any other"
        )


def _watch_contacts(env: Any) -> None:
    """Replaces the environment's ``check_contact`` by one that compares numbers, not names.

    Same answers; the stock one takes 0.2 to 0.5 ms, a fifth of a control step.
    """
    model, data = env.sim.model, env.sim.data._data
    ids_of: dict[Any, np.ndarray] = {}

    def ids(geoms: Any) -> np.ndarray:
        key = geoms if isinstance(geoms, str) or hasattr(geoms, "contact_geoms") else tuple(geoms)
        if key not in ids_of:
            names = [key] if isinstance(key, str) else getattr(key, "contact_geoms", key)
            table = model._geom_name2id
            mask = np.zeros(model.ngeom, dtype=bool)
            mask[[table[name] for name in names if name in table]] = True
            ids_of[key] = mask
        return ids_of[key]

    def check_contact(geoms_1: Any, geoms_2: Any = None) -> bool:
        first, second = data.contact.geom.T
        ours = ids(geoms_1)
        if geoms_2 is None:
            return bool((ours[first] | ours[second]).any())
        theirs = ids(geoms_2)
        return bool((ours[first] & theirs[second] | ours[second] & theirs[first]).any())

    env.check_contact = check_contact
