"""How an environment's config is disturbed: what it says of itself, and what it builds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from pushcut.envs.protocol import Env
from pushcut.envs.randomised.config import AXES, Randomisation
from pushcut.envs.still import still_action
from pushcut.errors import UserError
from pushcut.types import EnvSpec


@runtime_checkable
class Disturbable(Protocol):
    """An environment's config, as far as it is needed here."""

    scene_axes: ClassVar[tuple[str, ...]]
    """Axes that its simulator can draw or place."""
    whole_chunks: ClassVar[bool]
    """Whether a chunk cannot be taken apart."""

    @property
    def randomisation(self) -> Randomisation:
        """What is disturbed."""
        ...

    @property
    def title(self) -> str:
        """What messages call it."""
        ...


def as_disturbed(config: Disturbable, build: Callable[[Any], Env]) -> Env:
    """What ``build`` makes of a config, disturbed as that says."""
    from pushcut.envs.randomised.env import RandomisedEnv

    made = build(config)
    # What a base class built is disturbed already.
    return made if isinstance(made, RandomisedEnv) else RandomisedEnv(made, config.randomisation)


def spec_of(config: Disturbable, told: EnvSpec) -> EnvSpec:
    """What a config offers as it is disturbed.

    UserError where it cannot be disturbed so, which names what can be.
    """
    if not config.randomisation.axes:
        return told
    can = axes_of(config, told)
    if lacking := [name for name in config.randomisation.axes if name not in can]:
        own = ", ".join(name for name in can if AXES[name].simulated) or "nothing"
        raise UserError(
            f"{config.title} cannot randomise {', '.join(lacking)}: its simulator has {own}; of "
            f"the others it has {', '.join(name for name in can if not AXES[name].simulated)}"
        )
    return _with_paraphrases(told, config.randomisation)


def axes_of(config: Disturbable, spec: EnvSpec) -> tuple[str, ...]:
    """The axes that an environment can be disturbed along, in the order of ``AXES``."""
    without = {"observation_delay"} if config.whole_chunks else set()
    if not spec.cameras:
        without |= {name for name, axis in AXES.items() if axis.group == "vision"}
    if not spec.state_size:
        without.add("state_noise")
    try:
        still_action(spec, np.zeros(spec.action_size, np.float32))
    except UserError:
        without.add("action_latency")  # what holds a robot still is not known
    own = config.scene_axes
    return tuple(
        name
        for name, axis in AXES.items()
        if name not in without and (not axis.simulated or name in own)
    )


def _with_paraphrases(spec: EnvSpec, randomisation: Randomisation) -> EnvSpec:
    """What an environment offers, with the sentences that may take the place of its own."""
    if not randomisation.sentences:
        return spec
    wordings = dict(spec.wordings)
    for task in spec.tasks:
        said = spec.texts(task)
        others = [new for text in said for new in randomisation.texts(task, text)]
        if others and spec.wordings.get(task) != ():
            wordings[task] = tuple(dict.fromkeys((*said, *others)))
    return replace(spec, wordings=wordings)
