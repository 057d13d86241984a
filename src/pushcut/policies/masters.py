"""Digits of trained weights that the files of their policy do not hold.

A bfloat16 checkpoint is trained with float32 weights and saved in bfloat16 again. What is cut off
is saved beside it, 16 bits for each weight, so that a run goes on with the very same weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pushcut.errors import UserError
from pushcut.policies.base import Policy
from pushcut.policies.tensor_files import write_tensors

MASTERS_FILE = "masters.safetensors"

UP = ".up"
"""Ending of the list of those weights that lay in the middle of two and were rounded up."""

HALF = 1 << 15


def digits_of(weight: Tensor) -> dict[str, Tensor]:
    """The lower 16 bits of float32 numbers, by endings of a name; with bfloat16 they make them."""
    whole = weight.detach().to("cpu", torch.float32).contiguous().view(torch.int32)
    rounded = _bits(weight.detach().to("cpu").to(torch.bfloat16))
    low = whole & 0xFFFF
    up = ((whole >> 16) & 0xFFFF) != rounded
    middle = (low == HALF) & up
    found = {"": (low - (low >= HALF) * (1 << 16)).to(torch.int16)}
    return found | ({UP: middle.reshape(-1).nonzero().squeeze(1)} if bool(middle.any()) else {})


def with_digits(rounded: Tensor, digits: Tensor, up: Tensor | None) -> Tensor:
    """The float32 numbers of which ``digits_of`` made bfloat16 numbers and the rest."""
    low = digits.to(torch.int32) & 0xFFFF
    high = _bits(rounded.to(torch.bfloat16)) - (low > HALF).to(torch.int32)
    if up is not None:
        high.reshape(-1)[up] -= 1
    whole = ((high & 0xFFFF).to(torch.int64) << 16) | low
    return (whole - (whole >= 1 << 31) * (1 << 32)).to(torch.int32).view(torch.float32)


def _bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().view(torch.int16).to(torch.int32) & 0xFFFF


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
    tensors = {
        name + ending: digits
        for name, weight in rounded_weights(policy).items()
        for ending, digits in digits_of(weight).items()
    }
    if tensors:
        write_tensors(tensors, file)


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
    exact = with_digits(whole.detach().cpu(), found[name], found.get(name + UP))
    if weight.dtype == torch.float32:
        module, _, own = name.rpartition(".")
        # Knows what to do with weights of which this process holds a part only.
        policy.get_submodule(module).load_state_dict({own: exact}, strict=False)
    else:
        weight.data = exact  # a view of a file, before it is put into its precision
