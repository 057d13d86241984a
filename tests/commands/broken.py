"""Environments and policies with one fault each."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pushcut.batch import Evaluation, PolicySample
from pushcut.envs.point_mass import PointMassConfig, PointMassEnv
from pushcut.policies.base import Mode
from pushcut.policies.noise import DecisionNoise
from pushcut.policies.small.token_vla import TinyPolicy
from pushcut.types import ChunkResult, InitState, Observation


@dataclass(frozen=True)
class BrokenConfig(PointMassConfig):
    """A point mass with inertia and one fault, or none."""

    image_size: int = 48
    fault: str = ""
    note: Any = None

    @property
    def expert_tasks(self) -> tuple[str, ...]:
        unnamed = self.fault in ("no expert", "unnamed expert")
        return () if unnamed else super().expert_tasks

    def build(self) -> "BrokenEnv":
        if self.fault == "build":
            raise FileNotFoundError("robot.xml")
        if self.fault == "another process" and os.getpid() != self.note:
            raise RuntimeError("no licence for a second process")
        return BrokenEnv(self)


class BrokenEnv(PointMassEnv):
    """Half of an action is what was done before, so that a snapshot needs the velocity."""

    def __init__(self, config: BrokenConfig) -> None:
        super().__init__(config)
        self._fault = config.fault
        self._velocity = np.zeros(2, np.float32)
        if self._fault == "spec":
            self.spec = replace(self.spec, control_hz=5.0)

    def reset(self, init: InitState) -> None:
        if self._fault == "unknown task":
            init = replace(init, task=next(iter(self.spec.tasks)))
        if self._fault == "seed":
            init = replace(init, seed=int(np.random.default_rng().integers(1 << 30)))
        super().reset(init)
        self._velocity = np.zeros(2, np.float32)

    def observe(self) -> Observation:
        seen = super().observe()
        if self._fault == "dtype":
            # Type checkers of the tests would see it before the contract does.
            object.__setattr__(seen, "state", seen.state.astype(np.float64))
        if self._fault == "plain":
            seen.images["top"][:] = self._episode().seed
        return seen

    def render(self, size: int) -> np.ndarray:
        if self._fault == "looking" and size != self._config.image_size:
            self._now.position = (0.0, 0.0)
        if self._fault == "size" and size != self._config.image_size:
            return super().render(2 * size)
        return super().render(size)

    def step_chunk(self, actions: np.ndarray) -> ChunkResult:
        if self._fault == "beyond":
            actions = np.where(np.abs(actions) > 1, 0, actions)
        done, velocity = [], self._velocity
        for action in actions.clip(-1, 1):
            velocity = np.float32(0.5) * (velocity + action)
            done.append(velocity)
        result = super().step_chunk(np.array(done, np.float32))
        self._velocity = done[result.steps - 1]
        return self._told(result)

    def _told(self, result: ChunkResult) -> ChunkResult:
        reward = result.reward
        if self._fault == "reward":
            happened = np.arange(len(reward)) < result.steps
            return replace(result, reward=reward + np.float32(0.5) * happened)
        if self._fault == "nan reward":
            return replace(result, reward=reward * np.float32("nan"))
        if self._fault == "limit" and result.truncated:
            return replace(result, terminated=True, truncated=False)
        if self._fault == "success" and result.success:
            return replace(result, terminated=False, truncated=True)
        if self._fault == "no reward":
            return replace(result, reward=reward * 0)
        return result

    def expert_action(self) -> np.ndarray:
        if self._fault == "no expert":
            raise NotImplementedError("no expert")
        return super().expert_action() * (0 if self._fault == "expert" else 1)

    def snapshot(self) -> Any:
        return super().snapshot(), self._velocity.copy()

    def restore(self, snapshot: Any) -> None:
        inner, velocity = snapshot
        super().restore(inner)
        if self._fault != "velocity":
            self._velocity = velocity.copy()


class BrokenPolicy(TinyPolicy):
    """A tiny policy with one fault, set after it was made."""

    fault = ""

    def sample(self, obs: Observation, noise: DecisionNoise, mode: Mode) -> PolicySample:
        sample = super().sample(obs, noise, mode)
        if mode == "greedy":
            return sample
        if self.fault == "batch":
            return replace(sample, actions=sample.actions * float(obs.state.max()))
        if self.fault == "noise":
            return replace(sample, actions=sample.actions * torch.rand(sample.actions.shape))
        if self.fault == "no noise":
            return super().sample(obs, noise, "greedy")
        if self.fault == "bounds":
            return replace(sample, actions=2 * sample.actions)
        if self.fault == "trace":
            return replace(sample, trace={**sample.trace, "step": torch.zeros(3)})
        return sample

    def evaluate(self, obs: Observation, trace: dict[str, Tensor]) -> Evaluation:
        evaluation = super().evaluate(obs, trace)
        if self.fault == "ratio":
            return replace(evaluation, logprob=evaluation.logprob + 0.25)
        if self.fault == "gradient":
            return replace(evaluation, logprob=evaluation.logprob.detach())
        if self.fault == "critic" and evaluation.value is not None:
            return replace(evaluation, value=evaluation.value + 1)
        return evaluation

    def bc_loss(
        self, obs: Observation, action_chunk: Tensor, valid: Tensor, generator: np.random.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        if self.fault == "valid":
            valid = torch.ones_like(valid)
        loss, metrics = super().bc_loss(obs, action_chunk, valid, generator)
        return (0 * loss if self.fault == "constant" else loss), metrics

    def save_pretrained(self, path: Path) -> None:
        kept = self.head.project.weight.detach().clone()
        if self.fault == "save":
            torch.nn.init.zeros_(self.head.project.weight)
        super().save_pretrained(path)
        with torch.no_grad():
            self.head.project.weight.copy_(kept)
