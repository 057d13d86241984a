"""Which policy to train or evaluate, and how it explores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from pushcut.errors import UserError
from pushcut.policies.base import Policy
from pushcut.policies.flow.policy import FlowMatchingPolicy
from pushcut.policies.flow.transitions import Denoising
from pushcut.policies.from_data import PolicyConfig
from pushcut.policies.kinds import load
from pushcut.policies.lora import LoRAConfig, adapt
from pushcut.policies.masters import MASTERS_FILE, load_masters
from pushcut.policies.normalisation import DataStats
from pushcut.policies.places import policy_folder
from pushcut.policies.pretrained import load_noise_network
from pushcut.policies.released.before_download import before_download
from pushcut.policies.released.camera_order import with_camera_names
from pushcut.policies.released.hub import local_folder
from pushcut.policies.released.options import ReleasedConfig
from pushcut.policies.released.tensors import check_host_memory, in_file, leave_files
from pushcut.policies.small.token_vla import TinyConfig
from pushcut.policies.tokens.policy import TokenPolicy
from pushcut.system.progress import say
from pushcut.weights import ParameterDtype


def named(path: Path | None) -> Path:
    """The path of a policy; UserError where none was given."""
    if path is None:
        raise UserError(
            "which policy? give --policy.path FOLDER; "
            "`pushcut sft PRESET` makes one from demonstrations"
        )
    return path


def load_any(
    path: Path | None,
    released: ReleasedConfig,
    data: DataStats | None = None,
    *,
    in_files: bool = False,
    cameras: Mapping[str, str] | None = None,
) -> Policy:
    """Reads the checkpoint at ``path``; UserError in one line where it cannot.

    Args:
        path: Its folder, a run's, or a model of the hub.
        released: As for ``load``.
        data: As for ``load``.
        in_files: As for ``load``.
        cameras: The demonstrations' names of cameras -> the environment's; those that the folder
            knows by the first are found by the second.
    """
    path = named(path)
    folder = local_folder(path, download=released.download, check=before_download(released))
    found = policy_folder(folder)
    if cameras:
        released = with_camera_names(found, released, cameras)
    return load(found, released, data, in_files=in_files)


SAID_BYTES = 1_000_000_000
"""Loading of so much is announced: it takes a while."""


def taken_from_files(
    policy: Policy,
    *,
    path: Path | None,
    device: torch.device | str | None = None,
    training: bool = True,
) -> Policy:
    """The policy with its weights in memory, in their precision, without a second copy of them."""
    size = sum(parameter.nbytes for parameter in policy.parameters() if in_file(parameter))
    if size >= SAID_BYTES:
        say(f"loading {path}: {size / 1e9:.1f} GB")
    if torch.device(device or "cpu").type == "cpu":
        types = policy.parameter_dtypes()
        if not training:
            types = {name: ParameterDtype(its.read, its.read) for name, its in types.items()}
        check_host_memory(policy, types, path=path)
    if training:
        policy.cast()
    else:
        policy.cast_to_act()
    policy.to(device)
    leave_files(policy)
    return policy


def adapt_only(policy: Policy, lora: LoRAConfig, *, seed: int) -> None:
    """Trains adapters on all parts that can have them, or on those named, and nothing else."""
    policy.requires_grad_(False)
    add_adapters(policy, lora, policy.adaptable, seed=seed)


def add_adapters(policy: Policy, lora: LoRAConfig, parts: Iterable[str], *, seed: int) -> None:
    """Puts fresh adapters on the parts that ``lora`` names, or on these."""
    ranks = dict(lora.rank_of) or dict.fromkeys(parts, lora.rank)
    adapt(policy.adaptable, ranks, alpha=lora.alpha, seed=seed, init=lora.init)
    if lora.saved == "separate":
        policy.keep_adapters_apart()


@dataclass(frozen=True)
class PolicyFolder:
    """A checkpoint, and which of its weights are trained."""

    path: Path | None = None
    """Policy folder (config.json, model.safetensors, statistics.json) or a run's checkpoint."""
    released: ReleasedConfig = ReleasedConfig()
    trained: Literal["expert", "lora", "all"] = "all"
    lora: LoRAConfig = LoRAConfig()

    def _restore_masters(self, policy: Policy, *, training: bool = True) -> None:
        """Gives weights the digits that a run's checkpoint keeps beside the policy's folder."""
        if self.path is None or not self.path.is_dir():
            return
        file = policy_folder(self.path).parent / MASTERS_FILE
        if file.exists():
            policy.note_file_dtypes()
            load_masters(policy, file, all_of_them=training)


@dataclass(frozen=True)
class StartPolicy(PolicyFolder):
    """What fine-tuning starts from: a checkpoint or, without a path, a new small policy."""

    trained: Literal["expert", "lora", "all"] = "all"
    """The whole policy, low-rank adapters on parts of it, or the action expert of a flow policy."""
    new: PolicyConfig = TinyConfig()

    def load(
        self,
        data: DataStats | None,
        *,
        seed: int,
        in_files: bool = False,
        cameras: Mapping[str, str] | None = None,
    ) -> Policy:
        """Reads the checkpoint; ``data`` and ``cameras`` are those of ``load_any``.

        ``in_files``: as for ``PolicySource.load``.
        """
        policy = load_any(self.path, self.released, data, in_files=True, cameras=cameras)
        self._restore_masters(policy)
        if self.trained == "lora":
            adapt_only(policy, self.lora, seed=seed)
        if self.trained == "expert":
            if not isinstance(policy, FlowMatchingPolicy):
                raise UserError(
                    "only flow policies have an action expert: --policy.trained all or lora"
                )
            policy.train_prefix(False)
        if in_files:
            policy.cast(now=False)
            return policy
        return taken_from_files(policy, path=self.path)


@dataclass(frozen=True)
class PolicySource(PolicyFolder):
    """A checkpoint, and how it explores; as it stands, for policies without settings for that."""

    trained: Literal["expert", "lora", "all"] = "all"
    """The whole policy, or low-rank adapters on parts of it."""

    def load(
        self,
        *,
        seed: int = 0,
        in_files: bool = False,
        device: torch.device | str | None = None,
        check: Callable[[Policy], None] = lambda policy: None,
    ) -> Policy:
        """Reads the checkpoint to train it; UserError in one line where it cannot.

        Args:
            seed: Draws what is new.
            in_files: As for ``pushcut.policies.load``; who takes the weights out of the files puts
                them into their precision then.
            device: Where the weights go.
            check: May refuse the policy before its weights are read: they are views of files.
        """
        policy = self._in_files(seed=seed, check=check)
        if in_files:
            policy.cast(now=False)
            return policy
        return taken_from_files(policy, path=self.path, device=device)

    def load_to_act(
        self,
        *,
        device: torch.device | str | None = None,
        check: Callable[[Policy], None] = lambda policy: None,
    ) -> Policy:
        """Reads the checkpoint to evaluate it: no weight has digits that only training needs."""
        policy = self._in_files(seed=0, check=check, training=False)
        return taken_from_files(policy, path=self.path, device=device, training=False)

    def look(self, check: Callable[[Policy], None]) -> None:
        """Lets ``check`` see the policy before its weights are read; it may refuse it."""
        self._in_files(seed=0, check=check, training=False)

    def _in_files(
        self, *, seed: int, check: Callable[[Policy], None], training: bool = True
    ) -> Policy:
        policy = load_any(self.path, self.released, in_files=True)
        self._restore_masters(policy, training=training)
        self.set_up(policy, seed=seed)
        check(policy)
        return policy

    def set_up(self, policy: Policy, *, seed: int) -> None:
        """Makes a loaded policy explore as this says, and chooses the weights that are trained.

        Raises:
            UserError: Where the policy is of another kind.
        """
        if self.trained == "lora":
            adapt_only(policy, self.lora, seed=seed)

    def without_exploration(self) -> PolicySource:
        """What deterministic actions depend on; the rest at its default."""
        return type(self)(path=self.path, released=self.released)

    def explorations(self) -> Mapping[str, PolicySource]:
        """Settings of exploration worth comparing, by what to call them."""
        return {}


@dataclass(frozen=True)
class TokenPolicySource(PolicySource):
    """A checkpoint of an action-token policy, and how it explores."""

    trained: Literal["lora", "all"] = "all"
    """The whole policy (SimpleVLA-RL), or low-rank adapters on parts of it."""
    temperature: float = 1.6
    """Sampling temperature of the action tokens (SimpleVLA-RL: 1.6; 1.0 turns it off)."""

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature must be > 0, got {self.temperature}")

    def set_up(self, policy: Policy, *, seed: int) -> None:
        if not isinstance(policy, TokenPolicy):
            raise UserError(
                f"{self.path} is not an action-token policy, which the settings are for; "
                "--policy NAME chooses those of another"
            )
        policy.explore(self.temperature)
        super().set_up(policy, seed=seed)

    def explorations(self) -> dict[str, TokenPolicySource]:
        """Settings of exploration worth comparing."""
        levels = sorted({1.0, 1.6, 2.0, self.temperature})
        return {f"temperature {level:g}": replace(self, temperature=level) for level in levels}


@dataclass(frozen=True)
class FlowPolicySource(PolicySource, Denoising):
    """A checkpoint of a flow policy, and how it denoises and explores."""

    trained: Literal["expert", "lora", "all"] = "expert"
    """The action expert, with a frozen encoder of image, words and state (pi_RL); the expert, and
    low-rank adapters on the encoder; or the whole policy."""
    keep_prefix: bool = True
    """Keep the encoder's output (keys and values) of each observation, so that updates need not run
    the encoder again: more memory, less time. Only if the expert alone is trained."""

    def set_up(self, policy: Policy, *, seed: int) -> None:
        """Also draws a noise network where the checkpoint is not that of a run with Flow-Noise."""
        if not isinstance(policy, FlowMatchingPolicy):
            raise UserError(
                f"{self.path} is not a flow policy, which the settings are for; "
                "--policy NAME chooses those of another"
            )
        policy.explore(self, seed=seed)
        assert self.path is not None
        load_noise_network(policy, policy_folder(self.path).parent)
        kept = self.keep_prefix and self.trained == "expert"
        policy.train_prefix(self.trained == "all", kept=kept)
        if self.trained == "lora":
            add_adapters(policy, self.lora, ["language"], seed=seed)

    def without_exploration(self) -> FlowPolicySource:
        """What the ODE depends on; the rest at its default."""
        return FlowPolicySource(path=self.path, released=self.released, num_steps=self.num_steps)

    def explorations(self) -> dict[str, FlowPolicySource]:
        """Settings of exploration worth comparing: noise and denoising steps (pi_RL, app. G)."""
        if self.noise == "flow-noise":
            bounds = sorted({(0.04, 0.1), (0.08, 0.16), (0.16, 0.32), self.std_bounds})
            noises = [replace(self, std_bounds=pair) for pair in bounds]
        else:
            levels = sorted({0.2, 0.5, 0.8, self.noise_level})
            noises = [self._if_possible(noise_level=level) for level in levels]
        steps = [self._if_possible(num_steps=k) for k in sorted({1, 2, 4, 8, self.steps})]
        settings = dict.fromkeys(source for source in (*noises, *steps) if source is not None)
        return {source._setting(): source for source in settings}

    def _if_possible(self, **fields: Any) -> FlowPolicySource | None:
        """With other settings, or None where they are refused."""
        try:
            return replace(self, **fields)
        except ValueError:
            return None

    def _setting(self) -> str:
        low, high = self.std_bounds
        noise = f"std {low:g} to {high:g}" if self.noise == "flow-noise" else self.noise_level
        steps = "of the policy" if self.num_steps is None else self.num_steps
        return f"{self.noise} {noise}, K = {steps}"
