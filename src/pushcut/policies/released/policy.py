"""Base of policies of released checkpoints: precision, saving, separate adapters."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pushcut.errors import UserError
from pushcut.policies.base import Policy
from pushcut.policies.precision import Compute
from pushcut.policies.released.adapters import read_trained, save_adapters
from pushcut.policies.released.files import write_ours, write_small_files
from pushcut.policies.released.tensors import NETWORK
from pushcut.policies.told import write_told
from pushcut.weights import ParameterDtypes


class ReleasedPolicy(Policy):
    """A policy that is read from a folder of others and saved as such a folder."""

    config: Any
    """A dataclass of JSON values, saved beside the released files."""
    network: Any
    """The network, under the released parameter names."""
    files: dict[str, bytes]
    """The folder's files that are no weights."""
    compute: Compute
    origin: Path | None
    """The folder that it was read from; None where that held adapters of another."""
    prefix = ""
    """Prefix of the released names in the files."""

    _is_cast = False

    @abstractmethod
    def fill(self, path: Path) -> None:
        """Reads the weights of a folder into the network."""

    @abstractmethod
    def save_weights(self, path: Path) -> None:
        """Writes the weights into a folder, as they were when they were read."""

    def stays_float32(self, name: str) -> bool:
        """Whether a parameter of the network is float32 in any precision."""
        return False

    def cast(self, *, now: bool = True) -> None:
        """Puts the weights into the precision asked for, once it is known which are trained."""
        if now:
            self.compute.cast(self.network, self.stays_float32)
        self._is_cast = True

    def parameter_dtypes(self) -> ParameterDtypes:
        """Dtypes of the network; what is trained besides it is float32."""
        types = self.compute.parameter_dtypes(self.network, self.stays_float32)
        return {f"{NETWORK}{name}": its for name, its in types.items()}

    @contextlib.contextmanager
    def computing(self) -> Iterator[None]:
        """Computes in the precision asked for, also where ``cast`` was never called."""
        if not self._is_cast:
            self.cast()
        with self.compute.context(self.device):
            yield

    def keep_adapters_apart(self) -> None:
        """Saves adapters, and what else is trained, beside the weights from now on."""
        if self.origin is None:
            raise UserError(
                "this checkpoint holds adapters of another one: use --policy.lora.saved merged"
            )
        self.adapters_apart = True

    def load_weights(self, path: Path) -> None:
        """Reads the weights of a folder that ``save_pretrained`` wrote."""
        if self.adapters_apart:
            read_trained(self.network, path)
        else:
            self.fill(path)

    def save_pretrained(self, path: Path) -> None:
        """Writes the folder in the layout that it was read from."""
        path = Path(path)
        path.mkdir(parents=True, exist_ok=True)
        write_small_files(self.files, path)
        write_ours(self.config, path)
        write_told(self.told, path)
        if self.adapters_apart and self.origin is not None:
            save_adapters(self.network, path, base=self.origin, prefix=self.prefix)
        else:
            self.save_weights(path)
