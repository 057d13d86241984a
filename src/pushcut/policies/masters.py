"""Digits of trained weights that the files of their policy do not hold.

A bfloat16 checkpoint is trained with float32 weights and saved in bfloat16 again. What is cut off
is saved beside it, 16 bits for each weight, so that a run goes on with the very same weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pushcut.errors import UserError
from pushcut.policies.base import Policy
from pushcut.policies.tensor_files import Later, write_tensors

MASTERS_FILE = "masters.safetensors"

UP = ".up"
"""Ending of the list of those weights that lay in the middle of two and were rounded up."""

HALF = 1 << 15

AT_ONCE = 1 << 22
"""Numbers that are taken apart together: what is made on the way takes memory too."""


def digits_of(weight: Tensor) -> Tensor:
    """The lower 16 bits of float32 numbers; with their bfloat16 they make the numbers again."""
    flat, digits = _flat(weight), torch.empty(weight.numel(), dtype=torch.int16)
    for numbers, found in zip(flat.split(AT_ONCE), digits.split(AT_ONCE), strict=True):
        low = numbers.view(torch.int32) & 0xFFFF
        found.copy_(low - (low >= HALF) * (1 << 16))
    return digits.view(weight.shape)


def rounded_up(weight: Tensor) -> Tensor:
    """Places of numbers in the middle of two of bfloat16 that are rounded away from zero.

    The lower bits do not tell these from those that are rounded towards zero.
    """
    places = []
    for number, numbers in enumerate(_flat(weight).split(AT_ONCE)):
        bits = numbers.view(torch.int32)
        found = ((bits & 0xFFFF) == HALF) & ((bits >> 16) != _upper(numbers.to(torch.bfloat16)))
        places.append(found.nonzero().squeeze(1) + number * AT_ONCE)
    return torch.cat(places)


def with_digits(rounded: Tensor, digits: Tensor, up: Tensor | None) -> Tensor:
    """The float32 numbers that were rounded, of their lower bits and ``rounded_up``."""
    flat = rounded.detach().cpu().to(torch.bfloat16).reshape(-1)
    whole = torch.empty(rounded.numel(), dtype=torch.float32)
    bits = whole.view(torch.int32)
    parts = (x.split(AT_ONCE) for x in (flat, digits.reshape(-1), bits))
    for numbers, lower, out in zip(*parts, strict=True):
        low = lower.to(torch.int32) & 0xFFFF
        high = _upper(numbers) - (low > HALF).to(torch.int32)
        out.copy_(high * (1 << 16) + low)
    if up is not None:
        bits[up] -= 1 << 16
    return whole.view(rounded.shape)


def _flat(weight: Tensor) -> Tensor:
    return weight.detach().to("cpu", torch.float32).contiguous().reshape(-1)


def _upper(numbers: Tensor) -> Tensor:
    return numbers.view(torch.int16).to(torch.int32)


def rounded_weights(policy: Policy) -> dict[str, nn.Parameter]:
    """Weights that are trained in float32 and saved in bfloat16, by their names in the policy."""
    saved = policy.saved_dtypes()
    return {
        name: parameter
        for name, parameter in policy.named_parameters()
        if saved.get(name) == torch.bfloat16 and parameter.requires_grad
        if parameter.dtype == torch.float32
    }


def save_masters(policy: Policy, file: Path) -> None:
    """Writes what the policy's folder cuts off; nothing where it holds all digits."""
    weights = rounded_weights(policy)
    if not weights:
        return
    ups = {name + UP: found for name, x in weights.items() if len(found := rounded_up(x))}
    # Made when they are written: all of them would take half of what the weights take.
    digits = {
        name: Later(x.shape, torch.int16, partial(digits_of, x)) for name, x in weights.items()
    }
    write_tensors(digits | ups, file)


def load_masters(policy: Policy, file: Path, *, all_of_them: bool = True) -> None:
    """Gives weights, as the policy's folder has them, the digits that it cut off.

    Not ``all_of_them``: only to those that computations read in float32. UserError where the file
    does not fit.
    """
    try:
        found = load_file(file)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file} is damaged (truncated copy?): {error}") from None
    parameters = dict(policy.named_parameters())
    types = policy.parameter_dtypes()
    for name in [name for name in found if not name.endswith(UP)]:
        wanted = parameters.get(name)
        if wanted is None or wanted.shape != found[name].shape:
            raise UserError(f"{file} does not fit: {name}")
        if all_of_them or (name in types and types[name].read == torch.float32):
            restore(policy, name, wanted, found)


@torch.no_grad()
def restore(policy: Policy, name: str, weight: nn.Parameter, found: Mapping[str, Tensor]) -> None:
    """Gives one weight its digits."""
    sharded: Any = weight
    whole: Tensor = sharded.full_tensor() if hasattr(sharded, "full_tensor") else weight
    exact = with_digits(whole, found[name], found.get(name + UP))
    if weight.dtype == torch.float32:
        module, _, own = name.rpartition(".")
        # Knows what to do with weights of which this process holds a part only.
        policy.get_submodule(module).load_state_dict({own: exact}, strict=False)
    else:
        weight.data = exact  # a view of a file, before it is put into its precision
