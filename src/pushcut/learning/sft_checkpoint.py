"""Checkpoints of fine-tuning: the policy so far, and all that the next step depends on."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pushcut.errors import DivergedError, UserError
from pushcut.learning.checkpoint import SHARDS, Progress, Writing
from pushcut.learning.sft import Fitting
from pushcut.learning.shards import frozen_in_shards, policy_tensors
from pushcut.policies.base import Policy
from pushcut.policies.tensor_files import SharedFiles
from pushcut.policies.told import read_told, write_told
from pushcut.ranks.shard_files import local_part, read_shards, shard_shapes, sharded_like

TRAINING = "training.pt"
"""Trained weights to the bit, the optimiser's state and averages; also where the policy that lies
beside them is rounded, merged or averaged."""
STATE = "fit.json"
"""The step and the generator's state."""


def save(folder: Path, fitting: Fitting) -> Path:
    """Writes a checkpoint of the steps that are done; UserError where the disk is full.

    The policies of earlier ones stay, what is needed to go on from them goes.
    """
    path = folder / f"{fitting.step:06d}"
    if not all(bool(local_part(p).isfinite().all()) for p in fitting.trained.values()):
        raise DivergedError(
            f"fine-tuning has diverged: the weights of step {fitting.step} are not finite numbers; "
            "start anew with a lower --fit.lr"
        )
    ranks = fitting.ranks
    writing = Writing(path, Progress(iteration=fitting.step), keep=sys.maxsize)

    def begin() -> None:
        writing.begin()
        (writing.aside / STATE).write_text(json.dumps(state_of(fitting)) + "\n")

    def finish() -> None:
        writing.finish()
        forget_all_but(path)

    needed = 0 if ranks.sharded else sum(x.nbytes for x in tensors_of(fitting).values())
    with writing.one_line_errors(needed):
        if ranks.sharded:
            ranks.wait_for_writes()
            with ranks.together():
                if ranks.first:
                    begin()
                    write_told(fitting.policy.told, writing.aside)
            ranks.write_shards(
                policy_tensors(fitting.policy) | tensors_of(fitting),
                writing.aside / SHARDS,
                finish,
                frozen=frozen_in_shards(fitting.policy),
            )
        elif ranks.first:
            begin()
            with fitting.averaged() as policy:
                policy.save_shared(writing.aside / "policy", SharedFiles(folder))
            torch.save(tensors_of(fitting), writing.aside / TRAINING)
            finish()
    return path


def state_of(fitting: Fitting) -> dict[str, Any]:
    """What is no tensor."""
    return {"step": fitting.step, "generator": fitting.drawn}


def tensors_of(fitting: Fitting) -> dict[str, Tensor]:
    """Trained weights, the optimiser's state and averages, by the names of the weights."""
    found = {f"policy.{name}": p.detach() for name, p in fitting.trained.items()}
    for name, parameter in fitting.trained.items():
        for key, value in fitting.optimizer.state.get(parameter, {}).items():
            found[f"optimizer.{name}.{key}"] = value
    averages = {} if fitting.average is None else fitting.average.tensors
    return found | {f"average.{name}": average for name, average in averages.items()}


def forget_all_but(path: Path) -> None:
    """Leaves of the other checkpoints what has a policy in it: that alone."""
    for other in path.parent.glob("[0-9]*"):
        if other != path and (other / "policy").is_dir():
            (other / TRAINING).unlink(missing_ok=True)


@dataclass(frozen=True)
class Found:
    """A checkpoint to go on from."""

    path: Path
    step: int


def newest(folder: Path) -> list[Found]:
    """The checkpoints that can be gone on from, the newest first."""
    found = [
        Found(path, int(path.name))
        for path in folder.glob("[0-9]*")
        if (path / STATE).exists() and ((path / TRAINING).exists() or (path / SHARDS).exists())
    ]
    return sorted(found, key=lambda one: one.step, reverse=True)


def restore_newest(found: Iterable[Found], fitting: Fitting) -> list[str]:
    """Restores the first of some checkpoints that can be read; what is wrong with those before it.

    UserError where all are damaged.
    """
    damaged = []
    for one in found:
        try:
            restore(one.path, fitting)
        except UserError as error:
            damaged.append(str(error))
        else:
            return damaged
    if damaged:
        raise UserError(f"none of {len(damaged)} checkpoints can be read; the newest: {damaged[0]}")
    return []


def restore(path: Path, fitting: Fitting) -> None:
    """Restores everything from a checkpoint; UserError where it is damaged.

    Whole and sharded checkpoints, into weights that are whole or sharded over any number of ranks.
    """
    try:
        state = json.loads((path / STATE).read_text())
        if (path / SHARDS).exists():
            tensors = from_shards(path / SHARDS, fitting)
        else:
            tensors = torch.load(path / TRAINING, "cpu", weights_only=True, mmap=True)
        put_weights(fitting, tensors)
        put_optimizer(fitting, tensors)
        if fitting.average is not None:
            fitting.average.restore(part(tensors, "average."))
        fitting.generator.bit_generator.state = fitting.drawn = state["generator"]
        fitting.step = state["step"]
    # torch.load raises many kinds of errors on damaged files.
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"checkpoint {path} is damaged: {reason}") from error


def from_shards(folder: Path, fitting: Fitting) -> dict[str, Tensor]:
    """What ``tensors_of`` has, from a sharded checkpoint."""
    shapes = shard_shapes(folder)

    def like(name: str, parameter: nn.Parameter) -> Tensor:
        shape = shapes[name]
        return torch.zeros_like(parameter) if shape == parameter.shape else torch.zeros(shape)

    tensors = {}
    for name, parameter in fitting.trained.items():
        tensors[f"policy.{name}"] = like(f"policy.{name}", parameter).detach()
        start = f"optimizer.{name}."
        tensors |= {key: like(key, parameter) for key in shapes if key.startswith(start)}
    if fitting.average is not None:
        for name, average in fitting.average.tensors.items():
            tensors[f"average.{name}"] = torch.zeros_like(average)
    read_shards(tensors, folder)
    return tensors


@torch.no_grad()
def put_weights(fitting: Fitting, tensors: dict[str, Tensor]) -> None:
    """Puts stored weights into the policy."""
    for name, parameter in fitting.trained.items():
        parameter.copy_(sharded_like(tensors[f"policy.{name}"], parameter))


def put_optimizer(fitting: Fitting, tensors: dict[str, Tensor]) -> None:
    """Puts stored moments into the optimiser, in the types and places that it wants."""
    state = {
        number: {
            # A copy: the optimiser must not write into a file.
            key: sharded_like(value, parameter).clone()
            for key, value in part(tensors, f"optimizer.{name}.").items()
        }
        for number, (name, parameter) in enumerate(fitting.trained.items())
    }
    state = {number: values for number, values in state.items() if values}
    groups = fitting.optimizer.state_dict()["param_groups"]
    fitting.optimizer.load_state_dict({"state": state, "param_groups": groups})


def read_policy(path: Path, policy: Policy) -> None:
    """Puts the weights of a sharded checkpoint into a whole policy, averages where it has them.

    Also the sentences that it was fine-tuned on, where the checkpoint remembers them.
    """
    folder, stored = path / SHARDS, shard_shapes(path / SHARDS)
    own, averages = policy_tensors(policy), dict[str, Tensor]()
    for average in [name for name in stored if name.startswith("average.")]:
        tensor = own.pop(average.replace("average.", "policy.", 1))
        averages[average] = torch.zeros_like(tensor, dtype=torch.float32)
    read_shards(own | averages, folder)
    state = policy.state_dict()
    for name, average in part(averages, "average.").items():
        state[name].copy_(average)
    policy.told = read_told(path) or policy.told


def part(tensors: dict[str, Tensor], start: str) -> dict[str, Tensor]:
    """The entries whose names begin so, without that beginning."""
    return {
        name.removeprefix(start): tensor
        for name, tensor in tensors.items()
        if name.startswith(start)
    }
