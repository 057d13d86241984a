"""Any registered ``gymnasium.Env`` with a Box of actions (Towers et al. 2024, ``gymnasium`` 1)."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float32, UInt8

from pushcut.envs.base import EnvConfig
from pushcut.envs.episodes import EpisodicEnv
from pushcut.envs.gymnasium.actions import ActionScale
from pushcut.envs.gymnasium.making import Facts, Making, as_json
from pushcut.envs.gymnasium.probe import probe
from pushcut.envs.gymnasium.success import SuccessRule
from pushcut.errors import UserError
from pushcut.types import ChunkResult, EnvSpec

if TYPE_CHECKING:
    from pushcut.envs.gymnasium.simulator import TaskSimulator


NO_IMAGES = "there are no images without cameras: --env.cameras render"


@dataclass(frozen=True)
class GymnasiumConfig(EnvConfig):
    """Describes a ``GymnasiumEnv``: which environment, what it shows, and when it is solved."""

    id: str = "Reacher-v5"
    """Id of the environment, as ``gymnasium.make`` takes it."""
    module: str = ""
    """Python module that registers the id when it is imported, such as gym_pusht."""
    kwargs: tuple[tuple[str, str], ...] = ()
    """Arguments for gymnasium.make: pairs of NAME VALUE. Values that are JSON are read as such."""
    instruction: str = "solve the task"
    """Instruction for the policy, if there is one task."""
    variants: tuple[tuple[str, str, str], ...] = ()
    """Several tasks: NAME INSTRUCTION ARGUMENTS for each. Arguments are JSON, {} for none; they are
    added to kwargs, and "id" among them replaces the id."""
    success: str = "reward_dist >= -0.02"
    """When the task is solved. A key of the step's info such as is_success (dots lead into
    dictionaries, a final ? says that it may be missing), or reward, return or terminated; alone, or
    compared with a number."""
    reward: Literal["success", "env"] = "success"
    """Success: 1 in the step that solves the task, else 0. Env: the environment's own, for PPO."""
    cameras: tuple[str, ...] = ("render",)
    """Images: render (env.render()) or parts of the observation that are images: observation, or a
    key of a dictionary such as pixels.top; or none."""
    image_size: int = 64
    """Height and width of the images, pixels; others are stretched to it."""
    state: tuple[str, ...] = ("all",)
    """The state: all vectors of the observation; or keys of it, or single numbers such as
    observation_3; or none."""
    action_unit: Literal["fraction", "native"] = "fraction"
    """Fraction: the bounds of each action are -1 and 1. Native: actions are the environment's own,
    for datasets that were recorded so."""
    flip_actions: tuple[int, ...] = ()
    """Indices of actions whose sign is flipped, such as a gripper that closes at +1."""
    max_steps: int = 0
    """Time limit, simulator steps; 0 takes that of the registration."""
    action_repeat: int = 1
    """Simulator steps for which an action is held."""
    draw: Literal["asked", "step"] = "asked"
    """When ``render`` draws: when an image is asked for, or after every simulator step. The latter
    is for environments where drawing changes later images (LunarLander)."""
    restart: Literal["reset", "make"] = "reset"
    """How an episode begins: with reset(seed=...), or in an environment that is made anew."""
    instances: int = 16
    """Environments that a process keeps, one for each episode under way in it. With fewer, an
    episode that was put aside is played again, which is slower."""
    check_steps: int = 50
    """Steps of the test that an episode can start again exactly; 0: no test."""
    expert: str = ""
    """MODULE:FUNCTION that demonstrates: takes the gymnasium environment and its last observation,
    returns an action of the environment's own."""

    without_experts = (
        "name one with --env.expert MODULE:FUNCTION, or learn from a dataset of others"
    )

    def __post_init__(self) -> None:
        if not self.id:
            raise ValueError("id must name an environment of gymnasium")
        if not 8 <= self.image_size <= 2048:
            raise ValueError(f"image_size must be in 8..2048, got {self.image_size}")
        if self.max_steps < 0 or self.check_steps < 0:
            raise ValueError("max_steps and check_steps must be >= 0")
        if self.action_repeat < 1 or self.instances < 1:
            raise ValueError("action_repeat and instances must be >= 1")
        names = [name for name, _, _ in self.variants]
        if len(set(names)) < len(names) or "" in names:
            raise ValueError(f"variants need different names, got {names}")
        if len(set(self.cameras)) < len(self.cameras):
            raise ValueError(f"cameras must be different, got {self.cameras}")
        if self.draw == "step" and "render" not in self.cameras:
            raise ValueError("draw step is for the camera render, which is not among the cameras")
        if self.expert and ":" not in self.expert:
            raise ValueError(f"expert is MODULE:FUNCTION, got {self.expert!r}")
        SuccessRule.parse(self.success)
        for name in self.texts:
            self.making(name)

    @property
    def episodes_kept(self) -> int:
        return self.instances

    @property
    def expert_tasks(self) -> tuple[str, ...]:
        return tuple(self.texts) if self.expert else ()

    @property
    def texts(self) -> dict[str, str]:
        """Task -> instruction."""
        if not self.variants:
            return {self.id.rpartition(":")[2].rpartition("/")[2]: self.instruction}
        return {name: text for name, text, _ in self.variants}

    def making(self, task: str) -> Making:
        """How a task's environment is made; ValueError for arguments that are no JSON object."""
        arguments = {name: as_json(value) for name, value in self.kwargs}
        own_id = self.id
        for text in (text for name, _, text in self.variants if name == task):
            try:
                added = json.loads(text or "{}")
                arguments |= {name: json.dumps(value) for name, value in added.items()}
            except (ValueError, AttributeError):
                raise ValueError(
                    f'the arguments of task {task!r} must be JSON like {{"mode": 2}}, got {text!r}'
                ) from None
            own_id = added.get("id", own_id)
            arguments.pop("id", None)
        return Making(
            own_id,
            tuple(sorted(arguments.items())),
            self.module,
            self.cameras,
            self.state,
            self.restart,
            self.draw,
        )

    @cached_property
    def facts(self) -> dict[str, Facts]:
        """What each task's environment is; found out once, and it travels with the config."""
        rule = SuccessRule.parse(self.success)
        facts = {task: probe(self.making(task), rule, self.check_steps) for task in self.texts}
        _check_alike(facts, native=self.action_unit == "native")
        return facts

    @property
    def spec(self) -> EnvSpec:
        """Makes the environment in another process when it is first asked for (seconds)."""
        facts = list(self.facts.values())
        first = facts[0]
        actions = len(first.action_low)
        if wrong := [index for index in self.flip_actions if not 0 <= index < actions]:
            raise UserError(f"--env.flip-actions {wrong[0]}: actions are 0 to {actions - 1}")
        native = self.action_unit == "native"
        return EnvSpec(
            tasks=self.texts,
            cameras={shown(name): (self.image_size, self.image_size) for name in self.cameras},
            state_size=len(first.state_names),
            action_size=actions,
            action_low=first.action_low if native else (-1.0,) * actions,
            action_high=first.action_high if native else (1.0,) * actions,
            max_steps=math.ceil(self.limit / self.action_repeat),
            sim_steps_per_control=self.action_repeat,
            control_hz=first.control_hz / self.action_repeat,
            state_names=first.state_names,
            action_names=tuple(f"action_{index}" for index in range(actions)),
        )

    @property
    def limit(self) -> int:
        """Time limit of every task, simulator steps: the longest that one was registered with."""
        limit = self.max_steps or max(facts.max_steps for facts in self.facts.values())
        if not limit:
            raise UserError(f"{self.id} was registered without a time limit: --env.max-steps 200")
        return limit

    def check_drawing(self, *, films: bool) -> None:
        if films and not self.cameras:
            raise UserError(NO_IMAGES)

    def build(self) -> GymnasiumEnv:
        """Imports gymnasium; environments are made with their tasks."""
        return GymnasiumEnv(self)


class GymnasiumEnv(EpisodicEnv):
    """An environment of gymnasium, as it was registered; its time limit is pushcut's.

    Action: as many as its Box has, in fractions of the bounds from -1 to 1 (or its own, see
    ``action_unit``), clipped, held for ``action_repeat`` steps.
    State: vectors of its observation, in its own units and order; a dictionary's by key.
    Images: what it renders, or images in its observation, stretched to a square.
    Initial state: ``reset(seed=...)``; seeds from 2**31 on are drawn from the upper half of 32
    bits, which is all that some environments take.
    Reward: 1 in the control step in which the rule ``success`` holds, else 0; or the environment's
    own, summed over the steps of a held action. Terminates at success, and where the environment
    terminates, which is a failure without success; truncates at the time limit, or where the
    environment does.
    Expert: the function of the config, where there is one.
    """

    def __init__(self, config: GymnasiumConfig) -> None:
        # The first import of the simulator in this process.
        from pushcut.envs.gymnasium import simulator
        from pushcut.envs.gymnasium.spaces import square

        self._square = square
        self._simulator_type = simulator.TaskSimulator
        self._expert = simulator.function_of(config.expert) if config.expert else None
        super().__init__(config.spec, max_sim_steps=config.limit)
        self._config = config
        self._scales = {
            task: ActionScale(facts, unit=config.action_unit, flipped=config.flip_actions)
            for task, facts in config.facts.items()
        }

    @property
    def replayed_steps(self) -> int:
        """Simulator steps that were played again to come back to episodes, so far."""
        return sum(simulator.replayed_steps for simulator in self._simulators.values())

    def step_chunk(self, actions: Float32[np.ndarray, "h a"]) -> ChunkResult:
        """Executes the actions until they are used up, an end of the episode or the time limit."""
        simulator: TaskSimulator = self._now
        if self._done:
            raise RuntimeError("the episode is over; call reset first")
        if not np.isfinite(actions).all():
            raise ValueError("actions must be finite numbers")
        scale = self._scales[self._episode().task]
        reward = np.zeros(len(actions), dtype=np.float32)
        before = self._sim_steps
        steps, success, terminated, truncated = 0, False, False, False
        while steps < len(actions) and not (success or terminated or truncated):
            native = scale.to_native(actions[steps])
            total = 0.0
            for _ in range(self.spec.sim_steps_per_control):
                outcome = simulator.step(native)
                self._sim_steps += 1
                total += outcome.reward
                success, terminated = outcome.success, outcome.terminated
                truncated = outcome.truncated or self._sim_steps >= self._max_sim_steps
                if success or terminated or truncated:
                    break
            reward[steps] = total if self._config.reward == "env" else float(success)
            steps += 1
        self._done = success or terminated or truncated
        if self._done:
            simulator.finish()
        ended = success or terminated
        sim_steps = self._sim_steps - before
        return ChunkResult(steps, sim_steps, reward, success, ended, truncated and not ended)

    def expert_action(self) -> Float32[np.ndarray, " a"]:
        """What the config's expert does now; NotImplementedError without one."""
        simulator: TaskSimulator = self._now
        if self._expert is None:
            raise NotImplementedError(
                f"{self._config.id} has no expert: name one with --env.expert MODULE:FUNCTION, or "
                "learn from a dataset (--dataset)"
            )
        native = self._expert(simulator.env, simulator.observation)
        return self._scales[self._episode().task].from_native(np.asarray(native))

    def render(self, size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
        """What the first camera sees, in any size."""
        if not self._config.cameras:
            raise UserError(NO_IMAGES)
        return self._image(self._config.cameras[0], size)

    def _make_simulator(self, task: str) -> TaskSimulator:
        config = self._config
        rule = SuccessRule.parse(config.success)
        return self._simulator_type(config.making(task), rule, instances=config.instances)

    def _images(self) -> dict[str, UInt8[np.ndarray, "_ _ 3"]]:
        size = self._config.image_size
        return {shown(name): self._image(name, size) for name in self._config.cameras}

    def _state(self) -> Float32[np.ndarray, " s"]:
        return self._now.numbers()

    def _image(self, camera: str, size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
        return self._square(self._now.image(camera), size)


def shown(camera: str) -> str:
    """What the spec calls a camera: datasets have dots of their own in names."""
    return camera.replace(".", "_")


def _check_alike(facts: dict[str, Facts], *, native: bool) -> None:
    """UserError unless one policy can play all tasks."""
    (first, wanted), *others = facts.items()
    for task, found in others:
        ours, theirs = ((x.state_names, len(x.action_low)) for x in (wanted, found))
        if ours != theirs:
            raise UserError(
                f"task {first!r} has {len(ours[0])} state numbers and {ours[1]} actions, {task!r} "
                f"has {len(theirs[0])} and {theirs[1]}, or other names: tasks of one environment "
                "are alike; a mix can have both (docs/how-to/mixed-environments.md)"
            )
        if native and bounds_of(wanted) != bounds_of(found):
            raise UserError(
                f"tasks {first!r} and {task!r} have actions of different bounds: use "
                "--env.action-unit fraction"
            )


def bounds_of(facts: Facts) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Bounds of the environment's own actions."""
    return facts.action_low, facts.action_high
