"""A device other than the CPU for machines that have none: tensors that cannot be mixed with the CPU's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

OTHER = torch.device("meta")
"""The name of the emulated device: one that every build of PyTorch knows and that runs no kernels of its own."""


_aten = torch.ops.aten
ACROSS = (_aten._to_copy.default, _aten.copy_.default, _aten.index.Tensor, _aten.index_put_.default)
"""Operations that take tensors of two devices: copies, and positions on the CPU."""


class OtherTensor(Tensor):
    """A tensor on the emulated device. Its values lie on the CPU, out of reach of the program under test."""

    values: Tensor

    @staticmethod
    def __new__(cls, values: Tensor) -> OtherTensor:
        made: OtherTensor = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            values.shape,
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=OTHER,
            requires_grad=False,
        )
        made.values = values
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})

    @property
    def is_meta(self) -> bool:  # type: ignore[override]
        """Whether the tensor has no values: PyTorch asks before it loads weights."""
        return False

    def tolist(self) -> Any:  # type: ignore[override]
        """The values as Python numbers, which PyTorch does not give of a subclass."""
        return self.values.tolist()

    def __repr__(self) -> str:  # type: ignore[override]
        return f"OtherTensor({self.values})"


def run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run one operation where its tensors lie; tensors of two devices are refused as CUDA refuses them."""
    tensors: list[Tensor] = []
    tree_map(lambda value: tensors.append(value) if isinstance(value, Tensor) else None, (args, kwargs))
    there = any(isinstance(tensor, OtherTensor) for tensor in tensors)
    target = kwargs.get("device")
    if there and func not in ACROSS and any(not isinstance(t, OtherTensor) and t.ndim for t in tensors):
        raise RuntimeError(f"{func}: expected all tensors to be on the same device, but found the CPU and another one")
    plain = {
        name: torch.device("cpu") if name == "device" and value is not None else value for name, value in kwargs.items()
    }
    result = func(*_unwrap(args), **_unwrap(plain))
    goes = there if target is None else torch.device(target) == OTHER
    if func == _aten.copy_.default:
        return args[0]
    return _wrap(result, args) if goes else result


def _unwrap(value: Any) -> Any:
    return tree_map(lambda each: each.values if isinstance(each, OtherTensor) else each, value)


def _wrap(result: Any, args: Any) -> Any:
    """Results on the emulated device; an argument changed in place is returned as itself."""
    known = {id(each.values): each for each in args if isinstance(each, OtherTensor)} if isinstance(args, tuple) else {}

    def wrap(value: Any) -> Any:
        if not isinstance(value, Tensor) or isinstance(value, OtherTensor):
            return value
        if value._is_zerotensor():  # a gradient of zeros that no memory was taken for
            value = torch.zeros(value.shape, dtype=value.dtype)
        return known[id(value)] if id(value) in known else OtherTensor(value)

    return tree_map(wrap, result)


class _Mode(TorchDispatchMode):
    """Sends what is made on the emulated device, or moved to it, there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


class _Constants(TorchFunctionMode):
    """``torch.tensor(numbers, device=...)`` fills memory by itself and calls no operation that could be sent there."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.tensor and torch.device(kwargs.get("device") or "cpu") == OTHER:
            return func(*args, **{**kwargs, "device": "cpu"}).to(OTHER)
        return func(*args, **kwargs)


@contextmanager
def other_device() -> Iterator[torch.device]:
    """Emulate a device; inside, ``.to(device)`` and ``device=device`` lead to it."""
    future = torch.__future__
    kept = future.get_overwrite_module_params_on_conversion()
    # Else a module's .to() changes the parameter's own record and leaves its values in the former type.
    future.set_overwrite_module_params_on_conversion(True)
    try:
        with _Mode(), _Constants():
            yield OTHER
    finally:
        future.set_overwrite_module_params_on_conversion(kept)
