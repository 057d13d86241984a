"""Small released VLAs as policies, as training loads them, and what a folder is refused for."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pushcut.errors import UserError
from pushcut.policies import load
from pushcut.policies.base import Policy
from pushcut.policies.lora import LoRAConfig, adapter_parameters
from pushcut.policies.released.options import ReleasedConfig
from pushcut.policies.source import FlowPolicySource, PolicySource, TokenPolicySource
from tests.policies.released.folders import OPENVLA, PI0, write_lerobot, write_openpi, write_openvla

READING = ReleasedConfig(cameras=("top",), image_size=32, chunk=4)

PI05 = replace(PI0, pi05=True)

LORA = LoRAConfig(rank_of=(("language", 2), ("expert", 3)))


def bfloat16(master: bool) -> ReleasedConfig:
    return replace(READING, precision="bfloat16", master_weights=master)


READINGS = {"float32": READING, "bfloat16": bfloat16(True)}


def flow(path: Path, reading: ReleasedConfig = READING, **fields: Any) -> FlowPolicySource:
    return FlowPolicySource(path=path, released=reading, num_steps=2, **fields)


def tokens(path: Path, reading: ReleasedConfig = READING, **fields: Any) -> TokenPolicySource:
    return TokenPolicySource(path=path, released=reading, **fields)


SOURCES: dict[str, Callable[[Path, ReleasedConfig], PolicySource]] = {
    "pi0-frozen": lambda at, read: flow(write_openpi(at), read),
    "pi0-encoded-anew": lambda at, read: flow(write_openpi(at), read, keep_prefix=False),
    "pi0-trained": lambda at, read: flow(write_openpi(at), read, trained="all"),
    "pi0-lora": lambda at, read: flow(write_openpi(at), read, trained="lora", lora=LORA),
    "pi05-frozen": lambda at, read: flow(write_lerobot(at, PI05), read),
    "pi05-trained": lambda at, read: flow(write_lerobot(at, PI05), read, trained="all"),
    "openvla": lambda at, read: tokens(write_openvla(at), read),
    "openvla-proprio": lambda at, read: tokens(
        write_openvla(at, replace(OPENVLA, proprio_dim=2)), read
    ),
    "openvla-lora": lambda at, read: tokens(
        write_openvla(at), read, trained="lora", lora=LoRAConfig(rank=2)
    ),
}


def disturb(policy: Policy) -> None:
    """As if the adapters, or everything that is trained, had learnt something."""
    parameters = list(adapter_parameters(policy))
    generator = torch.Generator().manual_seed(0)
    for parameter in parameters or [p for p in policy.parameters() if p.requires_grad]:
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data += 0.05 * noise.to(parameter)


WRITERS: list[Callable[[Path], Path]] = [write_openpi, write_lerobot, write_openvla]


def refusal(folder: Path, **fields: Any) -> str:
    """What the user is told."""
    with pytest.raises(UserError) as error:
        load(folder, replace(READING, **fields))
    message = str(error.value)
    assert "\n" not in message
    return message
