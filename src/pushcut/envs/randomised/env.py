"""An environment whose episodes are disturbed, each as its seed says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float32

from pushcut.envs.around import AroundEnv
from pushcut.envs.protocol import Env
from pushcut.envs.randomised.actions import executed, late
from pushcut.envs.randomised.config import Randomisation
from pushcut.envs.randomised.draws import Draws
from pushcut.envs.randomised.pictures import disturbed
from pushcut.envs.randomised.scene import RaisesTables, Scene, ShowsScenes, scene_of, showing
from pushcut.envs.still import stay_with
from pushcut.types import ChunkResult, InitState, Observation


@dataclass(frozen=True)
class Moment:
    """Where a disturbed episode is; nothing in it is ever changed."""

    init: InitState
    step: int = 0
    """Control steps so far."""
    pending: Float32[np.ndarray, "h a"] | None = None
    """Actions on their way; None before the first chunk."""
    seen: tuple[tuple[int, Observation], ...] = ()
    """What was there at earlier control steps, as far as it is still to be shown."""


@dataclass(frozen=True)
class Course:
    """What the seed of an episode draws for all of it."""

    draws: Draws
    latency: int
    delay: int
    scene: Scene | None
    raised: float
    """How much higher the table stands, metres."""


class RandomisedEnv(AroundEnv):
    """Plays the episodes of an environment disturbed, between it and the policy.

    A policy's actions arrive late and are executed inexactly; what it sees lies behind and is
    disturbed as a camera's pictures are. What a simulator must do itself, it is told by ``show``.
    Images for people (``render``) show the scene without the cameras' faults.
    """

    def __init__(self, inner: Env, randomisation: Randomisation) -> None:
        self.spec = inner.spec
        self._inner, self._randomisation = inner, randomisation
        self._simulator = inner if isinstance(inner, ShowsScenes) else None
        if randomisation.scene_axes:
            showing(inner)
        self._moment: Moment | None = None
        self._course: Course | None = None

    def reset(self, init: InitState) -> None:
        """Starts the episode of ``init``; raises KeyError for an unknown task."""
        course = self._draw(init)
        if isinstance(self._inner, RaisesTables):  # another wrapper may have raised it
            self._inner.raise_table(course.raised)
        self._inner.reset(init)
        self._go_on(Moment(init), course)
        if self._drawn.delay:
            self._look()

    def observe(self) -> Observation:
        """What a policy sees now; renders, unless it is an observation from before."""
        now = self._now
        if not self._drawn.delay:
            return self._disturbed(now.step, self._inner.observe())
        old = [each for each in now.seen if each[0] <= now.step - self._drawn.delay]
        return self._disturbed(*(old[-1] if old else now.seen[0]))

    def step_chunk(self, actions: Float32[np.ndarray, "h a"]) -> ChunkResult:
        """Executes what arrives while the actions are sent, until an end or the time limit."""
        now = self._now
        arriving, pending = late(actions, now.pending, self._drawn.latency, self.spec)
        arriving = executed(arriving, self._drawn.draws, self.spec, now.step)
        play = self._play_and_look if self._drawn.delay else self._play
        result = play(np.ascontiguousarray(arriving))
        self._moment = replace(self._now, pending=pending)
        return result

    def stay(self, action: Float32[np.ndarray, " a"]) -> None:
        """Executes one more control step at once, also of an episode that is over."""
        if self._drawn.delay:
            self._look()
        stay_with(self._inner, action)
        self._moment = replace(self._now, step=self._now.step + 1)

    def expert_action(self) -> Float32[np.ndarray, " a"]:
        """The expert's action for the state as it is, which nothing disturbs."""
        return self._inner.expert_action()

    def snapshot(self) -> tuple[Any, Moment]:
        return self._inner.snapshot(), self._now

    def restore(self, snapshot: tuple[Any, Moment]) -> None:
        inner, moment = snapshot
        self._inner.restore(inner)
        same = self._moment is not None and self._moment.init == moment.init
        self._go_on(moment, self._drawn if same else self._draw(moment.init))

    def release(self, task: str) -> None:
        """Frees what the environment inside keeps for a task, where it can."""
        if release := getattr(self._inner, "release", None):
            release(task)

    def close(self) -> None:
        self._inner.close()
        self._moment = self._course = None

    @property
    def _inside(self) -> Env:
        return self._inner

    @property
    def _now(self) -> Moment:
        if self._moment is None:
            raise RuntimeError("no episode; call reset first")
        return self._moment

    @property
    def _drawn(self) -> Course:
        if self._course is None:
            raise RuntimeError("no episode; call reset first")
        return self._course

    def _go_on(self, moment: Moment, course: Course) -> None:
        """An episode begins, or goes on."""
        self._moment, self._course = moment, course
        if self._simulator is not None:  # another wrapper may have shown something else
            self._simulator.show(course.scene)

    def _draw(self, init: InitState) -> Course:
        """What an episode draws."""
        draws = Draws(self._randomisation, init.seed)
        scene = None
        if self._randomisation.scene_axes:
            scene = scene_of(draws, tuple(self.spec.cameras))
        return Course(
            draws,
            latency=draws.steps("action_latency"),
            delay=draws.steps("observation_delay"),
            scene=scene,
            raised=draws.signed("table_height"),
        )

    def _play(self, actions: Float32[np.ndarray, "h a"]) -> ChunkResult:
        result = self._inner.step_chunk(actions)
        self._moment = replace(self._now, step=self._now.step + result.steps)
        return result

    def _play_and_look(self, actions: Float32[np.ndarray, "h a"]) -> ChunkResult:
        """Plays, and keeps what is to be seen after this chunk and after shorter ones."""
        start, delay = self._now.step, self._drawn.delay
        before = self.snapshot()
        end = start + min(len(actions), max(self.spec.max_steps - start, 1))
        cuts = [*range(max(start, end - delay), end), start + len(actions)]
        results = [self._play(actions[: cuts[0] - start])] if cuts[0] > start else []
        for cut, until in zip(cuts, cuts[1:], strict=False):
            if results and results[-1].done:
                break
            self._look()
            results.append(self._play(actions[cut - start : until - start]))
        result = joined(results, len(actions))
        if start + result.steps < end:
            self._look_back(before, actions, start + result.steps - delay)
        wanted = self._now.step - delay
        still = max((step for step, _ in self._now.seen if step <= wanted), default=0)
        seen = tuple(each for each in self._now.seen if each[0] >= still)
        self._moment = replace(self._now, seen=seen)
        return result

    def _look_back(self, before: Any, actions: Float32[np.ndarray, "h a"], step: int) -> None:
        """Looks at a moment of this chunk, which ended before anybody could know."""
        start = before[1].step
        if step < start or step in dict(self._now.seen):
            return
        after = self.snapshot()
        self.restore(before)
        if step > start:
            self._play(actions[: step - start])
        self._look()
        seen = self._now.seen
        self.restore(after)
        self._moment = replace(self._now, seen=seen)

    def _look(self) -> None:
        """Keeps what is there now, for later."""
        now = self._now
        if now.step not in dict(now.seen):
            seen = (*now.seen, (now.step, self._inner.observe()))
            self._moment = replace(now, seen=seen)

    def _disturbed(self, step: int, seen: Observation) -> Observation:
        """What was there at a control step, as it reaches the policy."""
        draws, state = self._drawn.draws, seen.state
        if self._randomisation.state_noise:
            state = state + draws.noise("state_noise", step, state.shape)
        return Observation(
            images={
                name: disturbed(image[0], draws, name, step)[None]
                for name, image in seen.images.items()
            },
            state=state,
            instruction=[self._said(text) for text in seen.instruction],
            privileged=seen.privileged,  # a critic is told how it is
        )

    def _said(self, text: str) -> str:
        """The sentence, or another one for it."""
        others = self._randomisation.texts(self._now.init.task, text)
        if not others:
            return text
        choices = others if self._randomisation.extent == "exactly" else (text, *others)
        return choices[int(self._drawn.draws.stream("paraphrases").integers(len(choices)))]


def joined(results: Sequence[ChunkResult], length: int) -> ChunkResult:
    """Parts of a chunk of ``length`` actions as one result."""
    reward = np.zeros(length, np.float32)
    executed_rewards = [result.reward[: result.steps] for result in results]
    steps = sum(result.steps for result in results)
    reward[:steps] = np.concatenate(executed_rewards)
    sim_steps = sum(result.sim_steps for result in results)
    return replace(results[-1], steps=steps, sim_steps=sim_steps, reward=reward)
