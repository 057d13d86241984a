"""What a simulator reports must be possible, before a policy sees it or learns from it.

Each function says in a few words what is wrong, or nothing.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from pushcut.types import ChunkResult, Demonstration, EnvSpec, InitState, Observation


class CorruptedError(Exception):
    """A simulator reported what cannot be: its process is not to be trusted any more."""


def problem_of_state(state: np.ndarray) -> str:
    """Numbers that are not finite."""
    if np.isfinite(state).all():
        return ""
    return f"a state that is not finite: {np.round(state, 3).tolist()}"


def problem_of_observation(observation: Observation, spec: EnvSpec) -> str:
    """Other cameras, sizes or types than the spec says, or a state that is not finite."""
    count = len(observation)
    state, images = observation.state, observation.images
    if state.shape != (count, spec.state_size) or state.dtype != np.float32:
        return (
            f"a state of {state.dtype} {list(state.shape)}, the environment says float32 "
            f"{[count, spec.state_size]}"
        )
    told, names = observation.privileged, spec.privileged_names
    shape = (0, 0) if told is None else told.shape
    if shape != ((count, len(names)) if names else (0, 0)):
        return f"privileged numbers of shape {list(shape)}, the environment names {len(names)}"
    for camera, size in spec.cameras.items():
        image = images.get(camera)
        if image is None:
            return f"no image of camera {camera!r}"
        if image.shape != (count, *size, 3) or image.dtype != np.uint8:
            return (
                f"an image of {image.dtype} {list(image.shape)} from camera {camera!r}, the "
                f"environment says uint8 {[count, *size, 3]}"
            )
    return problem_of_state(state) or ("" if told is None else problem_of_state(told))


def problem_of_told(observation: Observation, task: str, spec: EnvSpec) -> str:
    """An instruction that is none of the task's."""
    if strange := [text for text in observation.instruction if not spec.may_say(task, text)]:
        return f"the instruction {strange[0]!r}, which is none of {task}'s in the spec"
    return ""


def problem_of_result(result: ChunkResult, chunk: int) -> str:
    """Rewards that are not finite, or steps and ends that contradict each other."""
    reward = result.reward
    if reward.shape != (chunk,) or not np.isfinite(reward).all():
        return f"rewards {np.round(reward, 3).tolist()} for {chunk} steps"
    if not 1 <= result.steps <= chunk or result.sim_steps < 0:
        return f"{result.steps} steps ({result.sim_steps} of the simulator) of a chunk of {chunk}"
    if result.terminated and result.truncated:
        return "an episode that was both terminated and truncated"
    if result.steps < chunk and not result.done:
        return f"an episode that goes on after {result.steps} steps of a chunk of {chunk}"
    return ""


def problem_of_demonstration(demonstration: Demonstration, spec: EnvSpec) -> str:
    """An impossible observation or action."""
    action, count = demonstration.action, len(demonstration.observation)
    if action.shape != (count, spec.action_size) or not np.isfinite(action).all():
        return f"actions {list(action.shape)} that do not fit or are not finite"
    return problem_of_observation(demonstration.observation, spec)


def check_init(init: InitState, tasks: Collection[str]) -> None:
    """KeyError for an unknown task, ValueError for a negative seed."""
    if init.task not in tasks:
        raise KeyError(f"unknown task {init.task!r}; have {sorted(tasks)}")
    if init.seed < 0:
        raise ValueError(f"seed must be >= 0, got {init.seed}")


def trusted(problem: str) -> None:
    """Raises CorruptedError where there is a problem."""
    if problem:
        raise CorruptedError(problem)
