"""Promises about the config and the spec: what is known before the simulator starts."""

from __future__ import annotations

import pickle
from dataclasses import fields

import numpy as np

from pushcut.envs.base import Env
from pushcut.envs.contract.case import EnvCase
from pushcut.promises import ContractError
from pushcut.types import EnvSpec


def the_config_travels(case: EnvCase) -> None:
    """The config pickles, and its copy is equal and describes the same environment."""
    mend = (
        "make it a frozen dataclass at the top of a module that can be imported, with plain "
        "values in its fields"
    )
    expected = "a config that travels to the worker processes by pickle"
    try:
        copy = pickle.loads(pickle.dumps(case.config))
    except Exception as error:
        raise ContractError(expected, f"{type(error).__name__}: {error}", mend) from error
    if copy != case.config:
        raise ContractError(expected, "a copy that is not equal to it", mend)
    if copy.spec != case.config.spec:
        raise ContractError(expected, "a copy with another spec", mend)


def the_spec_is_known_before_building(case: EnvCase) -> None:
    """The spec is known before the environment is built, and building does not change it."""
    if not isinstance(case.env, Env):
        lacks = [
            name
            for name in ("spec", *(n for n in vars(Env) if not n.startswith("_")))
            if not hasattr(case.env, name)
        ]
        raise ContractError(
            "an environment with all that pushcut.envs.base.Env lists",
            f"none of {sorted(set(lacks))} in {type(case.env).__name__}",
            "add them; docs/how-to/adding-an-environment.md says what each must do",
        )
    before, built = case.config.spec, case.env.spec
    if before != built:
        name = next(
            field.name
            for field in fields(EnvSpec)
            if getattr(before, field.name) != getattr(built, field.name)
        )
        raise ContractError(
            f"{name} {getattr(before, name)!r} as the config says",
            f"{getattr(built, name)!r} in what it built",
            "let the environment take its spec from the config (self.spec = config.spec)",
        )


def the_spec_adds_up(case: EnvCase) -> None:
    """The spec names every dimension of state and action, and bounds every action."""
    spec = case.env.spec
    mend = "correct the EnvSpec that the config's spec returns"
    lengths = {
        "state_names": (len(spec.state_names), spec.state_size),
        "action_names": (len(spec.action_names), spec.action_size),
        "action_low": (len(spec.action_low), spec.action_size),
        "action_high": (len(spec.action_high), spec.action_size),
    }
    for name, (found, expected) in lengths.items():
        if found != expected:
            raise ContractError(f"{expected} {name}", str(found), mend)
    bounds = np.array([spec.action_low, spec.action_high])
    if not (np.isfinite(bounds).all() and (bounds[0] <= bounds[1]).all()):
        found = f"{spec.action_low} and {spec.action_high}"
        raise ContractError("finite action_low, and no action_high below it", found, mend)
    if not spec.tasks:
        raise ContractError("at least one task", "none", mend)
    if strange := [task for task in spec.wordings if task not in spec.tasks]:
        raise ContractError("wordings of the tasks of the spec", f"{strange[0]!r}", mend)
    for name in ("max_steps", "sim_steps_per_control", "control_hz"):
        if not getattr(spec, name) > 0:
            raise ContractError(f"{name} > 0", str(getattr(spec, name)), mend)
