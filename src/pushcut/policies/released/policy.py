"""Base of policies of released checkpoints: precision, saving, separate adapters."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from pushcut.errors import UserError
from pushcut.policies.adapter_files import BESIDE, Adapters, save_adapters
from pushcut.policies.base import Policy
from pushcut.policies.lora import ADAPTER, BASE, adapted_layers, has_peft, with_adapter
from pushcut.policies.precision import Compute
from pushcut.policies.pretrained import frozen_names, policy_weights
from pushcut.policies.released.adapters import (
    can_be_worn,
    own_name,
    put_besides,
    trained_besides,
    wear,
)
from pushcut.policies.released.files import write_ours, write_small_files
from pushcut.policies.released.tensors import NETWORK, save_tensors
from pushcut.policies.tensor_files import Later, Tensors, made
from pushcut.policies.told import write_told
from pushcut.system.progress import say
from pushcut.weights import ParameterDtypes


class Aside(dict[str, Tensor]):
    """Tensors as files have them, by released names: what memory has rounded, or has no use for.

    Mostly views of the files, which take no memory. Copies of a policy share them.
    """

    def __deepcopy__(self, memo: object) -> Aside:
        return self


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

    file_dtypes: Mapping[str, torch.dtype] = MappingProxyType({})
    """Precision of the files that the weights were read from, by released name."""
    aside: Aside
    """What files have and memory has not: see ``Aside``."""

    def __init__(self) -> None:
        super().__init__()
        self.aside = Aside()

    @abstractmethod
    def fill(self, path: Path) -> None:
        """Reads the weights of a folder into the network."""

    def saved_dtypes(self) -> Mapping[str, torch.dtype]:
        if self.adapters_apart:
            return {}
        parameters = dict(self.network.named_parameters(remove_duplicate=False))
        names = {name.replace(BASE, "."): name for name in parameters}
        # Who computes in float32 needs all digits, and of float16 we keep no digits apart.
        exact = self.compute.precision == "float32"
        found = {names.get(name, name): dtype for name, dtype in self.file_dtypes.items()}
        return {
            f"{NETWORK}{name}": dtype
            for name, dtype in found.items()
            if not (
                name in parameters
                and parameters[name].requires_grad
                and (exact or dtype == torch.float16)
            )
        }

    def released_weights(self) -> dict[str, Tensor | Later]:
        """What is saved, by released names: frozen weights as they were read.

        Adapters are added, but in the checkpoints of a run, where they lie beside the weights.
        """
        own = policy_weights(self, merged=False)
        weights: dict[str, Tensor | Later] = {
            name.removeprefix(NETWORK): x for name, x in own.items()
        }
        weights |= self.aside
        if self.sharing is None:
            for layer, adapted in adapted_layers(self.network):
                name = f"{layer}.weight"
                weights[name] = with_adapter(made(weights[name]), adapted)
        return weights

    def write(self, weights: Tensors, path: Path, *, sharded: bool) -> None:
        """Writes released weights, each in the precision that it was read in."""
        merged = self.sharing is None
        frozen = frozen_names(self, merged=merged) | {f"{NETWORK}{name}" for name in self.aside}
        sums = {name for name, x in weights.items() if isinstance(x, Later)}
        dtypes = {
            name.removeprefix(NETWORK).replace(BASE, "."): dtype
            for name, dtype in self.saved_dtypes().items()
        }
        save_tensors(
            {f"{self.prefix}{name}": x for name, x in weights.items()},
            path,
            sharded=sharded,
            dtypes={f"{self.prefix}{name}": x for name, x in dtypes.items() if name not in sums},
            frozen={self.prefix + name.removeprefix(NETWORK) for name in frozen},
            shared=self.sharing,
        )

    @abstractmethod
    def save_weights(self, path: Path) -> None:
        """Writes the weights into a folder, as they were when they were read."""

    def stays_float32(self, name: str) -> bool:
        """Whether a parameter of the network is float32 in any precision."""
        return False

    def cast(self, *, now: bool = True) -> None:
        """Puts the weights into the precision asked for, once it is known which are trained."""
        self.merge_adapters()
        self._remember_files()
        if now:
            self.compute.cast(self.network, self.stays_float32)
        self._is_cast = True

    def cast_to_act(self) -> None:
        found, parts = self.adapters, list(self.adaptable.values())
        if found is not None and can_be_worn(found, self.network, parts):
            if has_peft():
                wear(found, self.network)
                self.adapters = None
            elif self.compute.precision == "bfloat16":
                say(
                    f"{found.path}: its adapters are merged, which rounds them: with peft (pip "
                    "install 'pushcut[lora]') it acts as in training"
                )
        self.merge_adapters()
        self._remember_files()
        self.compute.cast(self.network, self.stays_float32, training=False)
        self._is_cast = True
        self.requires_grad_(False)

    def merge_adapters(self) -> None:
        """Merges the folder's adapters into the weights, in the precision that these will have."""
        found, self.adapters = self.adapters, None
        if found is None:
            return
        self.note_file_dtypes()
        types = {
            name.replace(BASE, "."): its.kept
            for name, its in self.compute.parameter_dtypes(self.network, self.stays_float32).items()
        }
        found.merge(self.network, lambda layer: types[f"{layer}.weight"])
        # No file has the sums: they are saved as memory has them.
        sums = {f"{layer}.weight" for layer in found.layers}
        self.file_dtypes = {k: x for k, x in self.file_dtypes.items() if k not in sums}

    def note_file_dtypes(self) -> None:
        if not self.file_dtypes:
            parameters = self.network.named_parameters(remove_duplicate=False)
            own = {
                name.replace(BASE, "."): x.dtype for name, x in parameters if ADAPTER not in name
            }
            self.file_dtypes = own | {name: x.dtype for name, x in self.aside.items()}

    def _remember_files(self) -> None:
        """Notes the precision of the files, and keeps what is frozen and would be rounded."""
        if self._is_cast:
            return
        self.note_file_dtypes()
        parameters = dict(self.network.named_parameters(remove_duplicate=False))
        types = self.compute.parameter_dtypes(self.network, self.stays_float32)
        kept = {id(parameters[name]): its.kept for name, its in types.items()}  # tied ones too
        for name, parameter in parameters.items():
            rounded = kept[id(parameter)].itemsize < parameter.dtype.itemsize
            plain = name.replace(BASE, ".")
            if rounded and not parameter.requires_grad and plain in self.file_dtypes:
                self.aside[plain] = parameter.data

    @property
    def is_mixed(self) -> bool:
        """Whether the files leave some weights in float32 beside bfloat16."""
        return {torch.float32, torch.bfloat16} <= set(self.file_dtypes.values())

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
        """Reads the weights of a folder that ``save_pretrained`` wrote, and its adapters."""
        adapters = Adapters.read(path, own_name)
        if not self.adapters_apart:
            self.fill(path)
        if adapters is None:
            return
        put_besides(self.network, adapters)
        if next(adapted_layers(self.network), None):
            adapters.put_into(self.network)
        else:
            adapters.merge(self.network)

    def save_pretrained(self, path: Path) -> None:
        """Writes the folder in the layout that it was read from."""
        path = Path(path)
        path.mkdir(parents=True, exist_ok=True)
        write_small_files(self.files, path)
        write_ours(self.config, path)
        write_told(self.told, path)
        apart = self.adapters_apart and self.origin is not None
        if not apart:
            self.save_weights(path)
        if apart or (self.sharing is not None and next(adapted_layers(self.network), None)):
            save_adapters(
                self.network,
                path,
                base=str(self.origin) if apart else BESIDE,
                prefix=self.prefix,
                besides=trained_besides(self.network) if apart else {},
            )
