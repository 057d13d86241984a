"""A GPU that is none: its tensors live in the host's memory and refuse the company of the host's.

For tests of what nobody notices on the CPU: a tensor that was left on the host, and a wait of the
host for the device. ``switched_on`` registers the device ``gpu`` with torch for the rest of the
process, which only one backend may do, once: tests run it in a process of its own.

A copy to the host that nobody waits for holds nonsense until the device is synchronised.

Known differences to a real one: no kernels of its own, no autocast, no streams.
"""

from __future__ import annotations

import copy
import types
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import backend_registration as registration
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

GPU = "gpu:0"
COPIES = ("aten::_to_copy", "aten::copy_")
"""Operations that are made to take tensors of both sides."""
INDEXED = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_")
"""Operations that take positions from the host; they are copied first, and waited for."""
SIZED_BY_DATA = ("aten::nonzero", "aten::masked_select", "aten::_unique2")
"""Operations whose result has a size that only the device knows: the host waits for it."""


class OtherDeviceError(RuntimeError):
    """An operation had tensors of the host and of the device."""


class Traffic:
    """What went between host and device, and what the host waited for."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    @property
    def reads(self) -> int:
        """How often the host waited for something that the device had computed."""
        return self.counts["item"] + self.counts["to host"] + self.counts["size"]

    @property
    def waits(self) -> int:
        """Reads, and copies to the device that are not from pinned memory."""
        return self.reads + self.counts["pageable"]


TRAFFIC: list[Traffic] = []
"""Who counts at the moment."""


def note(kind: str) -> None:
    for traffic in TRAFFIC:
        traffic.counts[kind] += 1


@contextmanager
def counted() -> Iterator[Traffic]:
    """Counts what goes between host and device."""
    TRAFFIC.append(traffic := Traffic())
    try:
        yield traffic
    finally:
        TRAFFIC.remove(traffic)


class OnGpu(Tensor):
    """A tensor that says it is on the device; its numbers are in ``held``, on the host."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> OnGpu:
        tensor = Tensor._make_wrapper_subclass(  # pyright: ignore[reportAttributeAccessIssue]
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=torch.device(GPU),
        )
        tensor.held = held
        return tensor

    def __repr__(self, *, tensor_contents: object = None) -> str:
        return f"OnGpu({self.held})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if id(self) not in memo:
            made: Tensor = OnGpu(self.held.detach().clone())
            if getattr(self, "_is_param", False):
                made = nn.Parameter(made, requires_grad=self.requires_grad)
            memo[id(self)] = made
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Read on a machine without the device, a pickle gives tensors of the host."""
        return self.held.detach().__reduce_ex__(protocol)

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return computed(func, args, kwargs or {})


class _Everything(TorchDispatchMode):
    """Sees what is made on the device, too, where no tensor of it takes part yet."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return computed(func, args, kwargs or {})


def computed(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """An operation's result, on the device that its tensors or ``device`` name."""
    name, given = func._schema.name, [*tensors_of(args), *tensors_of(kwargs.values())]
    ours = [x for x in given if isinstance(x, OnGpu)]
    theirs = [x for x in given if not isinstance(x, OnGpu)]
    if name == "aten::_pin_memory":
        made = args[0].clone()
        made.pinned = True
        return made
    if name == "aten::is_pinned":
        return hasattr(args[0], "pinned")
    asked = kwargs.get("device")
    target = None if asked is None else torch.device(asked).type
    check_devices(name, args, ours, theirs)
    count(name, args, ours, theirs, target)
    if target == "gpu":
        kwargs = kwargs | {"device": torch.device("cpu")}
    if name == "aten::_fused_sdp_choice":
        return 0  # plain operations: the fused ones want pointers
    result = func(*map(held, args), **{key: held(value) for key, value in kwargs.items()})
    if ours and not_waited_for(name, args, kwargs, target):
        under_way(args[0] if name == "aten::copy_" else result)
    if name in ("aten::copy_", "aten::_local_scalar_dense"):
        return args[0] if name == "aten::copy_" else result
    here = target == "gpu" or (bool(ours) and target != "cpu")
    # What works in place returns the very tensors that it was given.
    same = {id(x.held): x for x in ours}

    def placed(x: Any) -> Any:
        if isinstance(x, Tensor):
            return same[id(x)] if id(x) in same else OnGpu(x) if here else x
        return type(x)(map(placed, x)) if isinstance(x, list | tuple) else x

    return placed(result)


def tensors_of(values: Iterable[Any]) -> Iterator[Tensor]:
    """All tensors among an operation's arguments; torch's own way there is slow."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from tensors_of(value)


def held(value: Any) -> Any:
    """An argument with the host's tensors in the place of the device's."""
    if isinstance(value, OnGpu):
        return value.held
    return type(value)(map(held, value)) if isinstance(value, list | tuple) else value


def check_devices(name: str, args: Any, ours: list[OnGpu], theirs: list[Tensor]) -> None:
    """Refuses what a real device refuses; numbers without dimensions may come from the host."""
    strangers = [x for x in theirs if x.dim() > 0]
    if not ours or not strangers or name in COPIES:
        return
    written = args[2] if name in INDEXED and len(args) > 2 else None
    at_home = written is None or isinstance(written, OnGpu) or written.dim() == 0
    if name in INDEXED and isinstance(args[0], OnGpu) and at_home:
        return
    shapes = [tuple(x.shape) for x in ours], [tuple(x.shape) for x in strangers]
    raise OtherDeviceError(f"{name}: on the device {shapes[0]}, on the host {shapes[1]}")


def count(
    name: str, args: Any, ours: list[OnGpu], theirs: list[Tensor], target: str | None
) -> None:
    """Notes copies and waits."""
    if name == "aten::_local_scalar_dense" and ours:
        note("item")
    if name in SIZED_BY_DATA and ours:
        note("size")
    if name == "aten::_to_copy" and ours and target == "cpu":
        note("to host")
    if name == "aten::_to_copy" and theirs and target == "gpu":
        note("pinned" if hasattr(theirs[0], "pinned") else "pageable")
    if name == "aten::copy_" and ours and theirs:
        note("pageable" if isinstance(args[0], OnGpu) else "to host")
    if name in INDEXED and ours and any(x.dim() > 0 for x in theirs):
        note("pageable")
    if name in INDEXED and any(x.dtype in (torch.bool, torch.uint8) for x in ours[1:]):
        note("size")


UNDER_WAY: list[tuple[Tensor, Tensor]] = []
"""Copies to the host that have not arrived: where to, and what."""


def not_waited_for(name: str, args: Any, kwargs: dict[str, Any], target: str | None) -> bool:
    """Whether an operation copies to the host and does not wait for the end of it."""
    if name == "aten::_to_copy":
        return target == "cpu" and bool(kwargs.get("non_blocking"))
    into_host = name == "aten::copy_" and not isinstance(args[0], OnGpu)
    return into_host and len(args) > 2 and bool(args[2])


def under_way(copied: Tensor) -> None:
    """Takes back what a copy has brought, until somebody waits for it."""
    UNDER_WAY.append((copied, copied.clone()))
    copied.fill_(float("nan") if copied.is_floating_point() else 77)


def arrive(*device: object) -> None:
    """What ``torch.gpu.synchronize`` does."""
    while UNDER_WAY:
        copied, brought = UNDER_WAY.pop()
        copied.copy_(brought)


def moved(module: nn.Module) -> nn.Module:
    """Puts a module on the device; weights that two parts share stay shared."""
    made: dict[int, nn.Parameter] = {}
    for part in module.modules():
        for name, weight in part._parameters.items():
            if weight is not None and not isinstance(weight.data, OnGpu):
                there = made.get(id(weight))
                if there is None:
                    held = OnGpu(weight.detach().clone())
                    there = made[id(weight)] = nn.Parameter(held, weight.requires_grad)
                part._parameters[name] = there
        for name, buffer in part._buffers.items():
            if buffer is not None and not isinstance(buffer, OnGpu):
                part._buffers[name] = OnGpu(buffer.clone())
    return module


class _Backend(types.ModuleType):
    """What torch asks ``torch.gpu``."""

    def __init__(self) -> None:
        super().__init__("gpu")
        answers: dict[str, Callable[..., Any]] = {
            "is_initialized": lambda: True,
            "is_available": lambda: True,
            "current_device": lambda: 0,
            "device_count": lambda: 1,
            "_is_in_bad_fork": lambda: False,
            "manual_seed_all": lambda seed: None,
            "get_amp_supported_dtype": lambda: [torch.bfloat16],
            "synchronize": arrive,
            "get_rng_state": lambda *device: torch.get_rng_state(),
            "set_rng_state": lambda *state: None,
        }
        for name, answer in answers.items():
            setattr(self, name, answer)


class _Hook(registration._DummyPrivateUse1Hook):  # pyright: ignore[reportAttributeAccessIssue]
    def is_available(self) -> bool:
        return True

    def is_built(self) -> bool:
        return True

    def has_primary_context(self, dev_id: int) -> bool:
        return True


_KEPT: list[object] = []
"""What must live as long as torch knows the device."""


@contextmanager
def switched_on() -> Iterator[None]:
    """Makes torch know the device; only inside can tensors be put on it."""
    registration._setup_privateuseone_for_python_backend(
        rename="gpu",
        backend_module=_Backend(),
        hook=_Hook(),
        device_guard=registration._DummyDeviceGuard(),  # pyright: ignore[reportAttributeAccessIssue]
    )
    library = torch.library.Library("_", "IMPL")
    library.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    _KEPT.append(library)
    # module.to(device) puts new parameters into their places: a wrapper cannot change its kind.
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    with _Everything():
        yield


def working() -> TorchDispatchMode:
    """A context for threads of their own: each must be told of the device."""
    return _Everything()


@contextmanager
def only_host() -> Iterator[None]:
    """Inside, torch is as without the device, and as fast; tied weights stay tied."""
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(False)
    try:
        with _disable_current_modes():
            yield
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(before)


def twin(module: nn.Module) -> nn.Module:
    """A copy of a module on the device."""
    return moved(copy.deepcopy(module))
