"""Lower bounds of a step's time: arithmetic at the rate of a matrix product, kept memory at the rate of a copy."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


@dataclass(frozen=True)
class Machine:
    """Measured rates: FLOP/s of a product of 1024x1024 matrices, byte/s read and written by a large copy."""

    flops: float
    bytes: float


@dataclass(frozen=True)
class Floors:
    """Lower bounds of one step.

    Attributes:
        flops: of its matrix products and convolutions, forward, backward and forward mode.
        kept: bytes that it keeps for its backward passes, each written once and read once at least.
        seconds: the larger of the two at the machine's rates.
    """

    flops: float
    kept: float
    seconds: float


def measure_machine(device: torch.device) -> Machine:
    """Measure both rates, the best of several tries each, on the current number of threads."""
    a, b = torch.randn(2, 1024, 1024, device=device)
    source = torch.randn(2**26, device=device)
    target = torch.empty_like(source)
    product = _least_seconds(lambda: a @ b, device, 10)
    copy = _least_seconds(lambda: target.copy_(source), device, 5)
    return Machine(flops=2 * 1024**3 / product, bytes=2 * source.numel() * source.element_size() / copy)


def step_floors(step: Callable[[], object], machine: Machine) -> Floors:
    """Take one step and count its operations."""
    kept: dict[int, StorageWeakRef] = {}
    total = 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal total
        storage = tensor.untyped_storage()
        known = kept.get(storage.data_ptr())
        # A storage that several operations keep is written once; an address is used again when its storage has gone.
        if known is None or known.expired():
            kept[storage.data_ptr()] = StorageWeakRef(storage)
            total += storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), _Arithmetic() as arithmetic:
        step()
    seconds = max(arithmetic.flops / machine.flops, 2 * total / machine.bytes)
    return Floors(flops=arithmetic.flops, kept=total, seconds=seconds)


class _Arithmetic(TorchDispatchMode):
    """Count the operations of everything that runs inside."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.convolution_backward.default:
            slope, _, weight, *rest = args
            # PyTorch's own formula forgets the groups in the gradient of the weight.
            self.flops += 2 * math.prod(slope.shape) * math.prod(weight.shape[1:]) * sum(rest[-1][:2])
        elif func._overloadpacket in flop_registry:
            self.flops += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=out)
        return out


def _least_seconds(call: Callable[[], object], device: torch.device, tries: int) -> float:
    least = math.inf
    for _ in range(tries):
        _wait(device)
        clock = time.process_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
        began = clock()
        call()
        _wait(device)
        least = min(least, clock() - began)
    return least


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
