"""The kinds of policy: what each is made from, read by and trained with."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pushcut.errors import UserError
from pushcut.policies.base import Policy
from pushcut.policies.evidence import PolicyFacts
from pushcut.policies.from_data import PolicyConfig, PolicyFromData
from pushcut.policies.normalisation import DataStats
from pushcut.policies.places import kind_of
from pushcut.policies.pretrained import read_description
from pushcut.policies.released.options import ReleasedConfig
from pushcut.policies.released.tensors import check_host_memory, leave_files
from pushcut.policies.told import read_told
from pushcut.registry import PLUGIN_HINT, Registry
from pushcut.system.progress import say

if TYPE_CHECKING:
    from pushcut.policies.source import PolicySource

Load = Callable[[Path, dict[str, Any], ReleasedConfig, DataStats | None], Policy]


@dataclass(frozen=True)
class PolicyKind:
    """One type of policy, by the name that a folder's config.json gives it."""

    load: Load
    """Reads a folder with its config.json, what that does not say, and statistics of other data."""
    source: type[PolicySource] | None = None
    """With which settings it is trained and evaluated; None: the plain ``PolicySource``."""
    made_of: type[PolicyFromData] | None = None
    """The class of policies that are made from demonstrations alone."""
    facts: PolicyFacts | None = None
    """What is known of it; None: another kind's, or nothing."""

    @staticmethod
    def of(
        made_of: type[PolicyFromData],
        source: type[PolicySource] | None = None,
        facts: PolicyFacts | None = None,
    ) -> PolicyKind:
        """The kind of policies of a class that are made from demonstrations."""

        def read(path: Path, description: dict[str, Any], *_: Any) -> Policy:
            return made_of.from_folder(path, description).eval()

        return PolicyKind(read, source or made_of.source_type, made_of, facts)

    @property
    def new(self) -> type[PolicyConfig] | None:
        """The settings of a new policy."""
        return self.made_of.config_type if self.made_of else None


def _adapt(name: str, part: Any) -> PolicyKind:
    """What is registered under a name, as a kind."""
    if isinstance(part, PolicyKind):
        return part
    if not (isinstance(part, type) and issubclass(part, PolicyFromData)):
        raise TypeError(f"a policy is a subclass of PolicyFromData, got {part!r}")
    if not hasattr(part, "config_type"):
        raise TypeError(f"{part.__name__} needs config_type, the dataclass of its settings")
    part.kind = name
    return PolicyKind.of(part)


POLICIES: Registry[PolicyKind] = Registry("policy", "pushcut.policies", {}, adapt=_adapt)
"""Every kind of policy, by the type that a folder's config.json names."""


def new_policy(
    config: PolicyConfig, *, statistics: DataStats, instructions: Collection[str]
) -> Policy:
    """A fresh policy for demonstrations."""
    for kind in POLICIES.usable()[0].values():
        if kind.made_of is not None and kind.new is type(config):
            return kind.made_of.for_data(config, statistics=statistics, instructions=instructions)
    raise UserError(f"no policy is made of {type(config).__name__}; {PLUGIN_HINT}")


def load(
    path: Path,
    released: ReleasedConfig | None = None,
    data: DataStats | None = None,
    *,
    in_files: bool = False,
) -> Policy:
    """The policy in a folder, of the class that its config.json tells.

    Args:
        path: A folder that pushcut, LeRobot, openpi's conversion or OpenVLA-OFT's programs wrote.
        released: What a folder of others does not say itself.
        data: Statistics of "state" and "action" in environment units that take the place of a
            released checkpoint's own.
        in_files: Whether a released checkpoint's weights may stay views of its files, for those
            who copy what they need of them. Files must not be written to meanwhile.

    Raises:
        UserError: In one line, where the folder does not fit.
    """
    path = Path(path)
    description = read_description(path)
    kind = kind_of(description)
    if kind not in POLICIES:
        raise UserError(
            f"{path / 'config.json'}: unknown policy type {kind!r}; have {', '.join(POLICIES)}; "
            f"{PLUGIN_HINT}"
        )
    found = POLICIES[kind]
    released = released or ReleasedConfig()
    if found.made_of and released != ReleasedConfig():
        say(f"{path}: a policy of type {kind} is no released VLA; --policy.released… has no effect")
    policy = found.load(path, description, released, data)
    policy.told = read_told(path)
    if not (in_files or found.made_of):
        check_host_memory(policy, {}, path=path)
        policy.merge_adapters()
        leave_files(policy)
    return policy
