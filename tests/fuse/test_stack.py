"""Stacks that are read one source at a time: the result of all sources at once, in bounded memory."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from fusionkit.contracts import Capabilities, Fuser
from fusionkit.errors import DataError, PluginError
from fusionkit.fuse.model import Model, fuse_tensors
from fusionkit.fuse.stack import fuse_stack
from fusionkit.io.images import Image, write_image


class Mean(Fuser):
    """The mean of any number of sources."""

    capabilities = Capabilities(max_sources=None)

    def forward(self, *sources: Tensor) -> Tensor:
        return self.fuse_stream(sources)

    def fuse_stream(self, sources: Sequence[Tensor]) -> Tensor:
        total = sources[0]
        for k in range(1, len(sources)):
            total = total + sources[k]
        return total / len(sources)


class RgbMean(Mean):
    space = "rgb"


class PairMean(Fuser):
    """The mean of two sources; more are folded."""

    def forward(self, *sources: Tensor) -> Tensor:
        return (sources[0] + sources[1]) / 2


class Empty(Mean):
    def fuse_stream(self, sources: Sequence[Tensor]) -> Tensor:
        return None  # type: ignore[return-value]


def sources(count: int, channels: Sequence[int]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(1, channels[k % len(channels)], 9, 14, generator=generator) for k in range(count)]


@pytest.mark.parametrize("kind", [Mean, RgbMean, PairMean])
@pytest.mark.parametrize("channels", [(1,), (3,), (1, 3)])
@pytest.mark.parametrize("stretch", ["none", "full"])
def test_a_stack_is_fused_like_all_sources_at_once(kind: type[Fuser], channels: tuple[int, ...], stretch: str) -> None:
    given = sources(5, channels)
    known = fuse_tensors(kind(), *given, stretch=stretch)
    assert torch.allclose(fuse_stack(kind(), given.__getitem__, 5, stretch=stretch), known, atol=1e-6)


@pytest.mark.parametrize("kind", [RgbMean, PairMean])
def test_few_sources_are_in_memory_at_once(kind: type[Fuser]) -> None:
    alive: weakref.WeakSet[Tensor] = weakref.WeakSet()
    most = 0

    def read(k: int) -> Tensor:
        nonlocal most
        gc.collect()
        source = torch.full((1, 3, 4, 4), k / 30)
        alive.add(source)
        most = max(most, len(alive))
        return source

    fuse_stack(kind(), read, 30)
    assert most <= 4


def write(folder: Path, sizes: Sequence[tuple[int, int]], *, depth: type = np.uint8) -> list[Path]:
    files = []
    for k, size in enumerate(sizes):
        files.append(folder / f"{k}.png")
        top = np.iinfo(depth).max
        write_image(files[-1], Image(np.random.default_rng(k).integers(0, top, (*size, 3)).astype(depth)))
    return files


def test_files_are_fused_like_their_arrays_with_their_bits(tmp_path: Path) -> None:
    files = write(tmp_path, [(8, 11)] * 4, depth=np.uint16)
    model = Model(RgbMean())
    fused = model.fuse(*files)
    tensors = [torch.from_numpy(np.asarray(model.fuse(file, file).array(bits=32)).transpose(2, 0, 1)) for file in files]
    assert fused.bits == 16
    assert torch.allclose(fused.tensor[0], torch.stack(tensors).mean(0), atol=1e-5)


def test_a_source_of_another_size_is_named_with_its_size(tmp_path: Path) -> None:
    files = write(tmp_path, [(8, 11), (8, 11), (8, 12)])
    with pytest.raises(DataError, match=r"2\.png 12x8"):
        Model(RgbMean()).fuse(*files)


def test_a_damaged_source_is_named(tmp_path: Path) -> None:
    files = write(tmp_path, [(8, 11)] * 3)
    files[2].write_bytes(files[2].read_bytes()[:40])
    with pytest.raises(DataError, match=r"2\.png"):
        Model(RgbMean()).fuse(*files)


def test_a_stream_that_gives_back_no_tensor_is_the_plugins_fault(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="a fuser returns a tensor"):
        Model(Empty()).fuse(*write(tmp_path, [(8, 11)] * 3))
