"""Promises about how actions, rewards and ends of episodes are told."""

from __future__ import annotations

import numpy as np

from pushcut.envs.checks import problem_of_result
from pushcut.envs.contract.case import EnvCase, difference_of_trails, play
from pushcut.envs.pool.expert import run_expert
from pushcut.promises import ContractError, NotPromisedError
from pushcut.types import InitState

EXPERT_TRIES = 10
"""Initial states in which an expert must succeed at least once."""


def an_unknown_task_is_refused(case: EnvCase) -> None:
    """An unknown task is a KeyError that lists the tasks there are."""
    expected = f"KeyError with the tasks there are, such as {case.a.task!r}"
    mend = 'in reset: raise KeyError(f"unknown task {init.task!r}; have {sorted(self.spec.tasks)}")'
    try:
        case.env.reset(InitState("no-such-task", 0))
    except KeyError as error:
        if case.a.task not in str(error):
            raise ContractError(expected, f"KeyError {error}", mend) from error
        return
    except Exception as error:
        raise ContractError(expected, f"{type(error).__name__}: {error}", mend) from error
    raise ContractError(expected, "no error", mend)


def experts_are_named(case: EnvCase) -> None:
    """The config names the tasks that have a scripted expert, and no others."""
    for task in {case.a.task, case.b.task}:
        named = task in case.config.expert_tasks
        case.env.reset(InitState(task, 1))
        try:
            shape = case.env.expert_action().shape
        except NotImplementedError:
            shape = None
        wanted = (case.env.spec.action_size,) if named else None
        if shape != wanted:
            raise ContractError(
                f"an action of shape {wanted} for {task!r}" if named else "NotImplementedError",
                "NotImplementedError" if shape is None else f"an action of shape {shape}",
                "let expert_tasks of the config name the tasks for which expert_action() works",
            )


def results_are_possible(case: EnvCase) -> None:
    """A chunk's result is possible: finite rewards, steps that add up, one kind of end."""
    case.env.reset(case.a)
    for chunk in case.chunks(5):
        result = case.env.step_chunk(chunk)
        if problem := problem_of_result(result, len(chunk)):
            mend = "correct the ChunkResult that step_chunk returns"
            raise ContractError("a result that can be", problem, mend)
        if result.done:
            return


def actions_beyond_the_bounds_act_as_the_bounds(case: EnvCase) -> None:
    """An action beyond the bounds acts as the bound does."""
    spec = case.env.spec
    low, high = np.array(spec.action_low, np.float32), np.array(spec.action_high, np.float32)
    rng = np.random.default_rng(6)
    at = np.where(rng.random((4, spec.action_size)) < 0.5, low, high).astype(np.float32)
    beyond = np.where(at == low, low - (high - low), high + (high - low)).astype(np.float32)
    case.env.reset(case.a)
    wanted = play(case.env, at[None])
    case.env.reset(case.a)
    if difference := difference_of_trails(play(case.env, beyond[None]), wanted):
        raise ContractError(
            "an action beyond action_low and action_high to act as the bound",
            difference,
            "clip the actions in step_chunk: policies that explore go beyond",
        )


def the_time_limit_truncates(case: EnvCase) -> None:
    """The time limit truncates and does not terminate."""
    spec = case.spec_of(case.a)
    count = spec.max_steps + 3
    idle = np.zeros((1, count, case.env.spec.action_size), np.float32)
    for actions in np.concatenate([idle, case.chunks(7, count=3, length=count)]):
        case.env.reset(case.a)
        result = case.env.step_chunk(actions)
        too_late = result.steps >= spec.max_steps and not result.success
        if not result.terminated or too_late:
            break
    else:
        raise NotPromisedError("idle and random actions end the episode before its time limit")
    limit = (spec.max_steps, spec.max_steps * spec.sim_steps_per_control)
    end = (result.truncated, result.terminated, result.success)
    if (result.steps, result.sim_steps) != limit or end != (True, False, False):
        raise ContractError(
            f"{limit[0]} steps ({limit[1]} of the simulator), then truncated and nothing else",
            f"{result.steps} steps ({result.sim_steps} of the simulator), truncated={end[0]}, "
            f"terminated={end[1]}, success={end[2]}",
            "end the episode after spec.max_steps control steps with truncated=True",
        )
    _no_reward_after(result.steps, result.reward)


def only_success_is_rewarded(case: EnvCase) -> None:
    """The reward is the outcome: none in an episode without success."""
    length = case.env.spec.max_steps
    for actions in case.chunks(8, count=3, length=length):
        case.env.reset(case.a)
        result = case.env.step_chunk(actions)
        if not result.success:
            break
    else:
        raise NotPromisedError("random actions solve the task every time")
    stages = case.env.spec.stages.get(case.a.task, 1)
    own = result.reward == 1 if stages > 1 else np.zeros(len(result.reward), bool)
    if strange := np.flatnonzero(result.reward * ~own).tolist():
        raise ContractError(
            "reward 0 in every step of an episode without success",
            f"{result.reward[strange[0]]:g} in step {strange[0]}",
            "reward the step that solves the task with 1 and nothing else: GRPO learns from "
            "success, PPO from rewards, and both must mean the same",
        )
    if own.sum() >= stages:
        raise ContractError(
            f"fewer than {stages} rewards of 1 without success",
            f"{int(own.sum())}",
            "reward each sub-task of spec.stages once, the last one with the success",
        )


def success_ends_the_episode(case: EnvCase) -> str:
    """Success ends the chunk, terminates the episode and is rewarded with 1."""
    rng = np.random.default_rng(0)
    inits = (InitState(case.a.task, seed) for seed in range(EXPERT_TRIES))
    try:
        demonstrations = (run_expert(case.env, init, noise=0.0, rng=rng) for init in inits)
        solved = next((one for one in demonstrations if one.success), None)
    except NotImplementedError:
        raise NotPromisedError("no scripted expert that could show a success") from None
    if solved is None:
        raise ContractError(
            f"the expert to solve {case.a.task!r} from one of {EXPERT_TRIES} initial states",
            "no success",
            "correct expert_action(), or let it raise NotImplementedError",
        )
    spare = np.zeros((4, case.env.spec.action_size), np.float32)
    case.env.reset(solved.init)
    result = case.env.step_chunk(np.concatenate([solved.action, spare]))
    ends = (result.steps, result.success, result.terminated, result.truncated)
    if ends != (len(solved.action), True, True, False):
        raise ContractError(
            f"the {len(solved.action)} actions of the expert to end in success and terminated",
            f"{result.steps} steps, success={result.success}, terminated={result.terminated}, "
            f"truncated={result.truncated}",
            "stop at the step that solves the task, and let observe() change nothing",
        )
    stages = case.env.spec.stages.get(case.a.task, 1)
    total = float(result.reward[: result.steps].sum())
    if total != stages or result.reward[result.steps - 1] != 1:
        rewards = np.round(result.reward, 3).tolist()
        raise ContractError(
            "reward 1 in the step that solves the task and 0 before",
            f"rewards {rewards}",
            "reward success alone",
        )
    _no_reward_after(result.steps, result.reward)
    return f"in step {result.steps} of task {case.a.task!r}, seed {solved.init.seed}"


def _no_reward_after(steps: int, reward: np.ndarray) -> None:
    if reward[steps:].any():
        raise ContractError(
            f"reward 0 for steps that did not happen (after {steps})",
            str(np.round(reward[steps:], 3).tolist()),
            "fill a float32 array of the chunk's length with zeros first",
        )
