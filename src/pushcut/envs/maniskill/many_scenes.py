"""Many scenes of one ManiSkill task in its own batch, simulated together on a GPU.

Not yet run on a GPU: what a test runs is a batch of one scene on the CPU, by the same code.

This module imports the simulator, so it is itself imported late, by ``env``.
"""

# These packages are in ManiSkill's own environment only.
# pyright: reportMissingImports=false

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32

from pushcut.envs.init_states import seed_of_32_bits
from pushcut.envs.maniskill.devices import NO_CUDA
from pushcut.envs.maniskill.panda import TARGETS, TO_NATIVE, state_rows
from pushcut.envs.maniskill.sapien_process import made, prepare
from pushcut.envs.protocol import BatchStep
from pushcut.errors import UserError
from pushcut.types import EnvSpec, InitState, Observation


class ManyScenes:
    """Scenes of one task that ManiSkill steps with tensors, by its own controller.

    Rounding depends on what shares the batch, so an episode does not repeat to the bit. A scene is
    reset by itself, for ManiSkill draws the starts of scenes that are reset together from the
    first one's seed.
    """

    def __init__(self, config: Any, scenes: int, *, backend: str = "physx_cuda") -> None:
        """``config``: a ``ManiSkillConfig``. UserError where there is no such device."""
        prepare(images=False)
        from mani_skill.utils.common import to_tensor

        self._to_tensor = to_tensor
        if backend == "physx_cuda":
            try:
                to_tensor(np.zeros(1), device="cuda")
            # Torch asserts where it is built for CPUs only.
            except (RuntimeError, AssertionError) as error:
                raise UserError(NO_CUDA) from error
        self.spec: EnvSpec = config.spec
        self.scenes = scenes
        (self._task,) = config.tasks
        self._env = made(
            self._task,
            draws=False,
            render_device="auto",
            control_mode="pd_ee_delta_pose",
            robot_uids="panda",
            num_envs=scenes,
            sim_backend=backend,
        )

    def reset(self, inits: Mapping[int, InitState]) -> None:
        for scene, init in inits.items():
            index = self._to_tensor(np.array([scene]), device=self._env.device)
            seed = [seed_of_32_bits(init.seed)]
            self._env.reset(seed=seed, options={"env_idx": index})

    def observe(self, scenes: Sequence[int]) -> Observation:
        env, index = self._env, list(scenes)
        names = TARGETS[self._task]
        things = (env.agent.tcp, *(getattr(env, name) for name in names))
        hand, cube, target = (_upright(_rows(thing.pose.raw_pose)) for thing in things)
        fingers = _rows(env.agent.robot.get_qpos())[:, -2:]
        held = _rows(env.agent.is_grasping(getattr(env, names[0])))
        state = state_rows(hand, cube, target, fingers=fingers, held=held)
        instruction = self.spec.tasks[self._task]
        return Observation({}, state[index], [instruction] * len(index))

    def step(
        self, actions: Float32[np.ndarray, "scenes 7"], playing: Bool[np.ndarray, " scenes"]
    ) -> BatchStep:
        del playing  # the others move as well
        native = self._to_tensor(actions * TO_NATIVE, device=self._env.device)
        success = _rows(self._env.step(native)[4]["success"])
        return BatchStep(success.astype(np.float32), success, success)

    def close(self) -> None:
        self._env.close()


def _rows(tensor: Any) -> np.ndarray:
    return tensor.cpu().numpy()


def _upright(poses: np.ndarray) -> np.ndarray:
    """Poses whose quaternions, w first, have w >= 0."""
    turned = poses.astype(np.float64)
    turned[turned[:, 3] < 0, 3:] *= -1
    return turned
