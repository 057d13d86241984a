"""What is common to loading the released flow VLAs: the policy from its parts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pushcut.policies.networks.gradient_checkpointing import checkpoint_activations
from pushcut.policies.normalisation import DataStats
from pushcut.policies.released.adapters import adapters_of, base_of
from pushcut.policies.released.flow_policy import FlowVLAConfig, ReleasedFlowPolicy
from pushcut.policies.released.options import ReleasedConfig
from pushcut.policies.released.prompts import PromptTokenizer

Kind = TypeVar("Kind", bound=ReleasedFlowPolicy)


def assembled(
    kind: type[Kind],
    path: Path,
    config: FlowVLAConfig,
    network: Any,
    *,
    statistics: DataStats,
    tokenizer: bytes,
    bos: str | None,
    files: Mapping[str, bytes],
    omitted: Collection[str],
    options: ReleasedConfig,
) -> Kind:
    """A policy of a folder, with its adapters if it has some.

    Args:
        kind: Its class.
        path: The folder.
        config: What is known of it besides the weights.
        network: The network, filled.
        statistics: Of "state" and "action".
        tokenizer: Content of its tokenizer.json.
        bos: Token that prompts begin with, if any.
        files: The folder's other small files.
        omitted: Names of weights that the folder does without.
        options: How it is read.
    """
    adapters = adapters_of(path, network)
    checkpoint_activations(network, options.gradient_checkpointing)
    whole = base_of(path) == path and adapters is None
    policy = kind(
        config,
        network,
        statistics,
        PromptTokenizer(tokenizer, source=f"{path}'s tokenizer.json", bos=bos),
        files={**files, "tokenizer.json": tokenizer},
        omitted=omitted,
        compute=options.compute,
        origin=path.absolute() if whole else None,
    )
    policy.adapters = adapters
    return policy.eval()
