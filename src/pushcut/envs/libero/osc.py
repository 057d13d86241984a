"""Operational space control of one arm as a compiled function, for ``libero_control``.

numba comes with robosuite, which compiles its own control law with it. Compiling takes a few
seconds once; the result is kept in ``__pycache__``.
"""

from __future__ import annotations

from typing import no_type_check

import numba
import numpy as np

ILL_CONDITIONED = 1e-4
"""Relative size of a Cholesky pivot below which a matrix counts as singular: there torques
would differ from robosuite's by more than 1e-10 Nm."""

NULL_SPACE_STIFFNESS = 10.0
"""robosuite's gain towards the initial joint angles, 1/s²; damping is critical."""


@numba.njit(cache=True)
@no_type_check
def osc_torques(
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
    full_mass,
    qpos,
    qvel,
    bias,
    goal_pos,
    goal_mat,
    kp,
    kd,
    rest,
):
    """Operational space control (Khatib 1987) with robosuite's choices.

    With M the arm's mass matrix, J the hand's Jacobian, A = J M⁻¹ Jᵀ and its diagonal blocks
    A_p for position and A_r for rotation, f and t the wanted force and torque, u the
    acceleration towards the rest posture:
    torques = Jᵀ ([A_p⁻¹ f; A_r⁻¹ t] - A⁻¹ J u) + M u + bias.
    robosuite inverts M and takes pseudo-inverses of A, which is the same unless A is singular.

    Args:
        torques: Result, one for each joint.
        ctrl: MuJoCo's controls; gets the torques within ``limits`` at ``actuators``.
        positions: Where the joints are in ``qpos``.
        dofs: Where the joints are in ``qvel``, ``bias``, the Jacobians and ``full_mass``.
        actuators: Where the joints' motors are in ``ctrl``.
        limits: Least and greatest torque of each motor.
        site_pos: Position of the hand.
        site_mat: Orientation of the hand.
        jac_pos: Jacobian of the position of the hand.
        jac_rot: Jacobian of its rotation.
        full_mass: Mass matrix of everything.
        qpos: MuJoCo's positions.
        qvel: MuJoCo's velocities.
        bias: Gravity, centrifugal and Coriolis forces.
        goal_pos: Wanted position of the hand.
        goal_mat: Wanted orientation.
        kp: Stiffness for position and rotation, six numbers.
        kd: Damping.
        rest: Joint angles that the posture is pulled to.

    Returns:
        False, and no torques, where M or A is nearly singular.
    """
    jac = np.concatenate((jac_pos, jac_rot))[:, dofs]
    mass = full_mass[dofs][:, dofs]
    speed = qvel[dofs]
    damping = 2 * np.sqrt(NULL_SPACE_STIFFNESS)
    pull = NULL_SPACE_STIFFNESS * (rest - qpos[positions]) - damping * speed
    posture = _times(jac, pull)  # J u
    wrench = kp * _pose_error(site_pos, site_mat, goal_pos, goal_mat) - kd * _times(jac, speed)

    factor = mass.copy()
    if _cholesky(factor) < ILL_CONDITIONED:
        return False
    inertia = _inverse_inertia(factor, jac)
    moving, turning = inertia[:3, :3].copy(), inertia[3:, 3:].copy()
    if min(_cholesky(inertia), _cholesky(moving), _cholesky(turning)) < ILL_CONDITIONED:
        return False
    _solve(moving, wrench[:3])
    _solve(turning, wrench[3:])
    _solve(inertia, posture)
    torques[:] = _times(jac.T, wrench - posture) + _times(mass, pull) + bias[dofs]
    for i in range(len(dofs)):
        ctrl[actuators[i]] = min(max(torques[i], limits[i, 0]), limits[i, 1])
    return True


@numba.njit(cache=True)
@no_type_check
def _pose_error(pos, mat, goal_pos, goal_mat):
    """Distance to the goal, and half the sum over the axes of current × wanted."""
    error = np.zeros(6)
    for row in range(3):
        error[row] = goal_pos[row] - pos[row]
        a, b = (row + 1) % 3, (row + 2) % 3
        for axis in range(3):
            error[row + 3] += mat[a, axis] * goal_mat[b, axis] - mat[b, axis] * goal_mat[a, axis]
        error[row + 3] *= 0.5
    return error


@numba.njit(cache=True)
@no_type_check
def _inverse_inertia(factor, jac):
    """J M⁻¹ Jᵀ = W Wᵀ, where M = L Lᵀ and the rows of W solve L w = (row of J)."""
    half = jac.copy()
    for row in half:
        _forward_substitution(factor, row)
    product = np.empty((len(half), len(half)))
    for i in range(len(half)):
        product[i] = _times(half, half[i])
    return product


@numba.njit(cache=True)
@no_type_check
def _times(matrix, vector):
    """A product so small that calling BLAS would cost more."""
    result = np.zeros(matrix.shape[0])
    for i in range(matrix.shape[0]):
        for j in range(matrix.shape[1]):
            result[i] += matrix[i, j] * vector[j]
    return result


@numba.njit(cache=True)
@no_type_check
def _cholesky(matrix):
    """Factors in place (lower triangle); returns the smallest pivot relative to its diagonal."""
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
        if not smallest > 0:  # also where it is not a number
            return 0.0
        matrix[i, i] = np.sqrt(pivot)
    return smallest


@numba.njit(cache=True)
@no_type_check
def _forward_substitution(factor, vector):
    """Solves L x = b in place."""
    for i in range(len(vector)):
        for k in range(i):
            vector[i] -= factor[i, k] * vector[k]
        vector[i] /= factor[i, i]


@numba.njit(cache=True)
@no_type_check
def _solve(factor, vector):
    """Solves L Lᵀ x = b in place."""
    _forward_substitution(factor, vector)
    for i in range(len(vector) - 1, -1, -1):
        for k in range(i + 1, len(vector)):
            vector[i] -= factor[k, i] * vector[k]
        vector[i] /= factor[i, i]
