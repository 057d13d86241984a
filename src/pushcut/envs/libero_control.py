"""LIBERO's control step without the Python that robosuite runs in each of its 25 substeps.

A stock substep calls ``mj_forward`` twice and ``mj_step`` once, and between them the
operational space controller, the gripper and every sensor in Python. Here MuJoCo's position
and velocity stages run once, the controller is one compiled function, and no sensor is read.
"""

from __future__ import annotations

from typing import Any

import mujoco
import numba
import numpy as np
from jaxtyping import Float

CONVERGED = 1e-13
"""Scaled gradient below which another run of the constraint solver changes nothing: measured,
at most 6e-16 in a position and 7e-13 in a velocity of the next substep."""

ILL_CONDITIONED = 1e-9
"""Relative size of a Cholesky pivot below which robosuite's own pseudo-inverses are taken."""

NULL_SPACE_STIFFNESS = 10.0
"""robosuite's gain towards the initial joint angles, 1/s²; damping is critical."""


class OSCStep:
    """Steps one robosuite environment of LIBERO as its own ``step`` does, without observing.

    Leaves MuJoCo's state within 1e-9 of the stock step's, the gripper, the clock and the
    controller's fields as well, so that both kinds of steps can be mixed and snapshots mean
    the same for both. Not kept: robosuite's observables, and the robot's buffers of recent
    torques, poses and velocities, which nothing in LIBERO reads.
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

    def _control_arm(self) -> None:
        """Sets the torques that pull the arm towards the controller's goal."""
        controller = self._controller
        regular = _osc_torques(
            self._torques,
            self._ctrl,
            *self._arm,
            self._site_pos,
            self._site_mat,
            self._jac_pos,
            self._jac_rot,
            self._mass,
            *self._state,
            controller.goal_pos,
            controller.goal_ori,
            controller.kp,
            controller.kd,
            controller.initial_joint,
        )
        if not regular:
            controller.new_update = True
            self._torques[:] = controller.run_controller()
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
        controller.mass_matrix = self._mass[np.ix_(dofs, dofs)]
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


@numba.njit(cache=True)
def _cholesky(matrix):
    """Factors in place, lower triangle; returns the smallest pivot relative to its diagonal."""
    smallest = 1.0
    for i in range(len(matrix)):
        for j in range(i):
            for k in range(j):
                matrix[i, j] -= matrix[i, k] * matrix[j, k]
            matrix[i, j] /= matrix[j, j]
        pivot = matrix[i, i]
        for k in range(i):
            pivot -= matrix[i, k] ** 2
        smallest = min(smallest, pivot / matrix[i, i])
        if not smallest > 0:
            return 0.0
        matrix[i, i] = np.sqrt(pivot)
    return smallest


@numba.njit(cache=True)
def _forward_substitution(factor, vector):
    """Solves L x = b in place."""
    for i in range(len(vector)):
        for k in range(i):
            vector[i] -= factor[i, k] * vector[k]
        vector[i] /= factor[i, i]


@numba.njit(cache=True)
def _solve(factor, vector):
    """Solves L Lᵀ x = b in place."""
    _forward_substitution(factor, vector)
    for i in range(len(vector) - 1, -1, -1):
        for k in range(i + 1, len(vector)):
            vector[i] -= factor[k, i] * vector[k]
        vector[i] /= factor[i, i]


@numba.njit(cache=True)
def _osc_torques(
    torques,
    ctrl,
    positions,
    dofs,
    actuators,
    limits,
    site_pos,
    site_mat,
    jac_pos,
    jac_rot,
    mass_full,
    qpos,
    qvel,
    bias,
    goal_pos,
    goal_mat,
    kp,
    kd,
    rest,
):
    """Operational space control (Khatib 1987), force and torque decoupled, as in robosuite.

    With M the arm's mass matrix, J its Jacobian, A = J M⁻¹ Jᵀ (blocks A_p, A_r), f and t the
    wanted force and torque, and u the acceleration towards the rest posture:
    torques = Jᵀ ([A_p⁻¹ f; A_r⁻¹ t] - A⁻¹ J u) + M u + bias, where robosuite inverts M and
    takes pseudo-inverses of A. Returns False, and no torques, where A is nearly singular.
    """
    joints = len(dofs)
    jac = np.empty((6, joints))
    mass = np.empty((joints, joints))
    pull = np.empty(joints)
    damping = 2 * np.sqrt(NULL_SPACE_STIFFNESS)
    for i in range(joints):
        for row in range(3):
            jac[row, i] = jac_pos[row, dofs[i]]
            jac[row + 3, i] = jac_rot[row, dofs[i]]
        for j in range(joints):
            mass[i, j] = mass_full[dofs[i], dofs[j]]
        error = rest[i] - qpos[positions[i]]
        pull[i] = NULL_SPACE_STIFFNESS * error - damping * qvel[dofs[i]]

    wrench = np.empty(6)
    posture = np.empty(6)  # J u
    for row in range(6):
        speed, posture[row] = 0.0, 0.0
        for i in range(joints):
            speed += jac[row, i] * qvel[dofs[i]]
            posture[row] += jac[row, i] * pull[i]
        if row < 3:
            error = goal_pos[row] - site_pos[row]
        else:
            # Half the sum over the axes of current × wanted.
            a, b = (row - 2) % 3, (row - 1) % 3
            error = 0.0
            for axis in range(3):
                error += site_mat[a, axis] * goal_mat[b, axis]
                error -= site_mat[b, axis] * goal_mat[a, axis]
            error *= 0.5
        wrench[row] = kp[row] * error - kd[row] * speed

    # A = Wᵀ W with M = L Lᵀ and L W = Jᵀ.
    mass_factor = mass.copy()
    if _cholesky(mass_factor) < ILL_CONDITIONED:
        return False
    half = np.empty((6, joints))
    for row in range(6):
        half[row] = jac[row]
        _forward_substitution(mass_factor, half[row])
    inertia = np.zeros((6, 6))
    for row in range(6):
        for column in range(6):
            for i in range(joints):
                inertia[row, column] += half[row, i] * half[column, i]
    turning = inertia[3:, 3:].copy()
    moving = inertia[:3, :3].copy()
    if min(_cholesky(inertia), _cholesky(turning), _cholesky(moving)) < ILL_CONDITIONED:
        return False
    _solve(moving, wrench[:3])
    _solve(turning, wrench[3:])
    _solve(inertia, posture)
    for i in range(joints):
        torque = bias[dofs[i]]
        for row in range(6):
            torque += jac[row, i] * (wrench[row] - posture[row])
        for j in range(joints):
            torque += mass[i, j] * pull[j]
        torques[i] = torque
        ctrl[actuators[i]] = min(max(torque, limits[i, 0]), limits[i, 1])
    return True
