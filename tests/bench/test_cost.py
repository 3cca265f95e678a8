"""Costs: what a call takes is measured around that call alone."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor

from fusionkit.bench.cost import device_name, metered
from fusionkit.contracts import Fuser
from fusionkit.fuse.model import fuse_tensors

CPU = torch.device("cpu")
_MIB = 2**20


class Hungry(Fuser):
    """Copies the first source, after filling 64 MiB of memory."""

    def forward(self, *sources: Tensor) -> Tensor:
        torch.ones(64 * _MIB // 4)
        return sources[0].clone()


class Raising(Fuser):
    """Raises."""

    def forward(self, *sources: Tensor) -> Tensor:
        raise ZeroDivisionError


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory of the CPU is measured on Linux alone")
def test_the_peak_of_memory_shows_in_every_call() -> None:
    image = torch.zeros(1, 1, 8, 8)
    for _ in range(3):
        with metered(Hungry(), CPU, memory=True) as meter:
            fuse_tensors(Hungry(), image, image)
        assert meter.peak is None  # another fuser than the one that is measured
        fuser = Hungry()
        with metered(fuser, CPU, memory=True) as meter:
            fuse_tensors(fuser, image, image)
        assert meter.peak is not None
        assert 60 * _MIB < meter.peak < 80 * _MIB


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_the_allocator_tells_the_peak_of_the_call() -> None:
    device = torch.device("cuda")
    fuser, image = Hungry(), torch.zeros(1, 1, 1024, 1024, device=device)
    held = torch.ones(_MIB, device=device)
    with metered(fuser, device, memory=True) as meter:
        fuse_tensors(fuser, image, image)
    assert meter.peak == 4 * _MIB  # the copy of the source; what was held before does not count
    found = meter.cost()
    assert found.memory == "cuda allocator"
    assert found.device == f"cuda ({torch.cuda.get_device_name()})"
    assert len(held) == _MIB


def test_calls_add_up_and_memory_is_measured_only_where_asked_for() -> None:
    fuser, image = Hungry(), torch.zeros(1, 1, 8, 8)
    seen = []
    with metered(fuser, CPU, memory=False) as meter:
        for _ in range(3):
            fuse_tensors(fuser, image, image, image)  # two calls: ((a, b), c)
            seen.append(meter.seconds)
    assert 0 < seen[0] < seen[1] < seen[2]
    assert meter.peak is None
    fuse_tensors(fuser, image, image)
    assert meter.seconds == seen[2]
    assert meter.cost().memory == "not measured"


def test_nothing_is_left_on_a_fuser_that_raises() -> None:
    fuser = Raising()
    with pytest.raises(ZeroDivisionError), metered(fuser, CPU, memory=True):
        fuser(torch.zeros(1, 1, 2, 2))
    assert not fuser._forward_hooks
    assert not fuser._forward_pre_hooks


def test_the_device_is_named_with_its_threads() -> None:
    assert device_name(CPU).startswith("cpu (")
    assert f"{torch.get_num_threads()} thread" in device_name(CPU)
