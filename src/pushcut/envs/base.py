"""The base of an environment's config."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, wraps
from typing import Any, ClassVar

from pushcut.envs.protocol import BatchedEnv, Env
from pushcut.envs.randomised.config import OFF, Randomisation
from pushcut.envs.randomised.disturbing import as_disturbed, spec_of
from pushcut.types import EnvSpec

OWN = "own"
"""Value of ``instructions`` for the environment's own sentences, whatever a policy remembers."""

Sentences = tuple[tuple[str, str], ...]
"""Pairs of a task and its instruction."""


@dataclass(frozen=True, kw_only=True)
class EnvConfig(ABC):
    """The base of an environment's description: a frozen dataclass that builds it.

    What a subclass gives as ``spec`` has the environment's own instructions; whoever asks gets it
    with those that it is told to give, so that no environment has to know of them. What its
    ``build`` makes is likewise disturbed for whoever asks, where ``randomisation`` says so.
    """

    simulator: ClassVar[str] = ""
    """Name of the simulator among the isolated ones, where it can be one; where a package is
    installed is not part of an experiment."""

    tells_events: ClassVar[bool] = False
    """Whether what it builds is one of ``envs.events.TellsEvents``."""

    scene_axes: ClassVar[tuple[str, ...]] = ()
    """Fields of ``randomisation`` that its simulator can do: what it builds is then one of
    ``envs.randomised.scene.ShowsScenes``."""

    whole_chunks: ClassVar[bool] = False
    """Whether a chunk is one motion, which cannot be taken apart to look in between."""

    instructions: str = ""
    """Instructions from elsewhere: a dataset, a JSON file {task: sentence}, a policy folder, or a
    name (MetaWorld: lerobot). Else what the policy was fine-tuned on, where that is known, or the
    environment's own; own keeps those."""
    sentences: Sentences = ()
    """Pairs of a task and its instruction, which replace the environment's own: what was read from
    elsewhere, so that the run knows it."""

    randomisation: Randomisation = OFF
    """Domain randomisation; off unless something is set."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        own_fields = (("instructions", str), ("sentences", tuple), ("randomisation", Randomisation))
        for name, kind in own_fields:
            if not isinstance(cls.__dict__.get(name, kind()), kind):
                raise TypeError(f"{cls.__name__}.{name}: EnvConfig has a field of that name")
        build: Any = cls.__dict__.get("build")
        if build is not None and not getattr(build, "__isabstractmethod__", False):
            cls.build = _as_told_to_disturb(build)  # pyright: ignore
        own: Any = cls.__dict__.get("spec")
        read = own.fget if isinstance(own, property) else getattr(own, "func", None)
        if read is not None:
            cls.own_spec = property(read, doc=own.__doc__)
            cls.spec = property(_as_told(read), doc=own.__doc__)  # pyright: ignore
            if isinstance(own, cached_property):  # worked out once, as before
                cls.own_spec = own
                cls.spec = property(_as_told(own.__get__))  # pyright: ignore

    @property
    def known_instructions(self) -> Mapping[str, Mapping[str, str]]:
        """Public lists of sentences for these tasks: name -> task -> instruction."""
        return {}

    @property
    def all_tasks(self) -> tuple[str, ...]:
        """Every task of this kind of environment, chosen or not, as far as they are known."""
        spec = self.own_spec
        groups = (task for tasks in spec.groups.values() for task in tasks)
        return tuple(dict.fromkeys((*spec.tasks, *groups)))

    def with_sentences(
        self, sentences: Mapping[str, str], instructions: str | None = None
    ) -> EnvConfig:
        """A copy that gives other instructions of some tasks, and says where they are from."""
        source = self.instructions if instructions is None else instructions
        return replace(self, instructions=source, sentences=tuple(sentences.items()))

    def randomised(self, randomisation: Randomisation) -> EnvConfig:
        """A copy that is disturbed so, and not as before."""
        return replace(self, randomisation=randomisation)

    @property
    def variations(self) -> Mapping[str, tuple[str, ...]]:
        """Column of a table -> tasks, for `pushcut ood`.

        First what is trained on, then each kind of what lies outside of it; empty where there is
        nothing to compare with.
        """
        return {}

    @property
    def title(self) -> str:
        """What messages call it."""
        return type(self).__name__

    @property
    def robot_type(self) -> str:
        """What the demonstrations call it."""
        return type(self).__name__.removesuffix("Config").lower()

    @property
    def episodes_kept(self) -> int | None:
        """How many episodes can be under way in a process before one must be played again.

        None where snapshots are, as usual, of any number.
        """
        return None

    @property
    def tasks_kept(self) -> int | None:
        """Tasks whose simulators a process keeps, where --rollout.tasks-per-process does not say.

        None where a simulator of one task plays all of them, or is too small to matter.
        """
        return None

    @property
    def memory_mb(self) -> tuple[float, float] | None:
        """Host memory of a worker process without a task, and of each that it keeps, as measured.

        None where nobody has. With software rendering; a GPU's driver keeps a part of it.
        """
        return None

    @property
    def parts(self) -> tuple[EnvConfig, ...]:
        """What has worker processes of its own: all of it, or each member of a mix."""
        return (self,)

    experts: ClassVar[tuple[str, ...]] = ()
    """What ``tasks`` may name that has a scripted expert, where not all tasks have one."""

    without_experts: ClassVar[str] = (
        "take demonstrations of others: `pushcut sft PRESET --dataset DIR`"
    )
    """What to do where no task has a scripted expert."""

    @property
    def expert_tasks(self) -> tuple[str, ...]:
        """Tasks of the spec that have a scripted expert; known without the simulator."""
        return tuple(self.spec.tasks)

    @property
    @abstractmethod
    def spec(self) -> EnvSpec:
        """What ``build()`` will offer, without importing the simulator."""

    own_spec: ClassVar[Any] = None
    """The property ``spec`` as the subclass wrote it: with the environment's own instructions."""

    @abstractmethod
    def build(self) -> Env:
        """Imports the simulator and makes the environment."""

    @property
    def batched(self) -> bool:
        """Whether a worker process plays its episodes in one batch, made by ``build_batch``."""
        return False

    @property
    def repeats(self) -> bool:
        """Whether the same actions from the same initial state are the same episode, to the bit.

        Whoever shares the batch. Most simulators on a GPU cannot promise it.
        """
        return True

    def build_batch(self, scenes: int) -> BatchedEnv:
        """Imports the simulator and makes a batch of so many scenes."""
        raise NotImplementedError(f"{self.title} has no batch of {scenes} scenes")

    def check_drawing(self, *, films: bool) -> None:
        """UserError where its cameras, or ``render()`` for ``films``, could not draw here.

        For before anything is loaded; it makes no simulator.
        """
        del films  # most draw anywhere


def _as_told(own_spec: Callable[[Any], EnvSpec]) -> Callable[[Any], EnvSpec]:
    """``spec`` with the instructions that an environment is told to give."""

    def spec(config: EnvConfig) -> EnvSpec:
        return spec_of(config, told(config, own_spec(config)))

    def told(config: EnvConfig, own: EnvSpec) -> EnvSpec:
        given = dict(config.known_instructions.get(config.instructions, {}))
        given.update(config.sentences)
        if not given:
            return own
        return replace(
            own,
            tasks={task: given.get(task, text) for task, text in own.tasks.items()},
            wordings={
                task: texts
                for task, texts in own.wordings.items()
                if task not in given or task in own.stages  # one sentence cannot tell sub-tasks
            },
        )

    return spec


def _as_told_to_disturb(build: Callable[[Any], Env]) -> Callable[[Any], Env]:
    """``build`` with the disturbances that an environment is told to have."""

    @wraps(build)
    def built(config: EnvConfig) -> Env:
        if config.randomisation == OFF:
            return build(config)
        return as_disturbed(config, build)

    return built
