"""A fuser is called within its capabilities only: type and size are converted, the rest is refused before any work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fusionkit.contracts import Capabilities, Fuser
from fusionkit.errors import DataError, UsageError
from fusionkit.fuse.adapter import call_maps, plan_calls
from fusionkit.fuse.batch import check_jobs, plan_jobs
from fusionkit.fuse.model import Model, fuse_tensors
from fusionkit.fuse.tiling import tiles


class Recorder(Fuser):
    """The mean of its sources; it keeps what it was called with."""

    def __init__(self, capabilities: Capabilities = Capabilities()) -> None:  # noqa: B008
        super().__init__()
        self.capabilities = capabilities
        self.calls: list[tuple[Tensor, ...]] = []

    def forward(self, *sources: Tensor) -> Tensor:
        self.calls.append(sources)
        return torch.stack(sources).mean(0)

    def maps(self, *sources: Tensor) -> dict[str, Tensor]:
        self.calls.append(sources)
        return {"w_a": sources[0]}


class Weighted(Recorder):
    """With weights of a type of their own."""

    def __init__(self, dtype: torch.dtype, capabilities: Capabilities = Capabilities()) -> None:  # noqa: B008
        super().__init__(capabilities)
        self.share = nn.Parameter(torch.tensor(0.5, dtype=dtype))


def sources(height: int, width: int, *, count: int = 2, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    return [torch.rand(1, 1, height, width).to(dtype) for _ in range(count)]


@pytest.mark.parametrize("size", [(8, 8), (9, 8), (5, 13), (16, 23)])
def test_sizes_are_extended_by_the_last_pixel_to_the_multiple_and_cropped(size: tuple[int, int]) -> None:
    fuser = Recorder(Capabilities(multiple=8))
    a, b = sources(*size)
    fused = fuse_tensors(fuser, a, b)
    assert torch.equal(fused, (a + b) / 2)
    ((seen, _),) = fuser.calls
    height, width = (-(-n // 8) * 8 for n in size)
    edge = np.pad(a[0, 0].numpy(), ((0, height - size[0]), (0, width - size[1])), mode="edge")
    np.testing.assert_array_equal(seen[0, 0].numpy(), edge)
    assert torch.equal(call_maps(fuser, [a, b])["w_a"], a)


@pytest.mark.parametrize(
    ("able", "given", "called"),
    [
        ((torch.float32,), torch.float16, torch.float32),
        ((torch.float32,), torch.float64, torch.float32),
        ((torch.float32, torch.float64), torch.float64, torch.float64),
        ((torch.float64, torch.float32), torch.bfloat16, torch.float32),
        ((torch.float16, torch.float32), torch.float16, torch.float16),
        ((torch.bfloat16, torch.float64), torch.float16, torch.float64),
    ],
)
def test_a_type_that_it_does_not_state_is_converted_and_the_result_converted_back(
    able: tuple[torch.dtype, ...], given: torch.dtype, called: torch.dtype
) -> None:
    fuser = Recorder(Capabilities(dtypes=able))
    fused = fuse_tensors(fuser, *sources(4, 5, dtype=given))
    assert (fuser.calls[0][0].dtype, fused.dtype) == (called, given)


def test_a_fuser_is_called_in_the_type_of_its_weights() -> None:
    fuser = Weighted(torch.float64)
    assert fuse_tensors(fuser, *sources(3, 3)).dtype == torch.float32
    assert fuser.calls[0][0].dtype == torch.float64
    with pytest.raises(UsageError, match=r"Weighted has weights of torch\.float16, and its results are right in torch"):
        fuse_tensors(Weighted(torch.float16), *sources(3, 3))


def test_sources_that_are_no_floats_are_refused() -> None:
    with pytest.raises(UsageError, match="floating type"):
        fuse_tensors(Recorder(), *(torch.zeros(1, 1, 3, 3, dtype=torch.uint8) for _ in range(2)))


@pytest.mark.parametrize(
    ("least", "most", "count", "expected"),
    [
        (2, 2, 4, [(0, 2), (2, 3), (3, 4)]),
        (2, None, 4, [(0, 4)]),
        (2, 3, 4, [(0, 3), (3, 4)]),
        (3, 3, 5, [(0, 3), (3, 5)]),
        (3, None, 3, [(0, 3)]),
        (2, 4, 3, [(0, 3)]),
    ],
)
def test_sources_are_shared_out_into_calls(least: int, most: int | None, count: int, expected: list[Any]) -> None:
    calls = plan_calls(Capabilities(min_sources=least, max_sources=most), count, name="m")
    assert [(call.start, call.stop) for call in calls] == expected


@pytest.mark.parametrize(
    ("least", "most", "count", "words"),
    [(3, 3, 2, "m fuses 3 sources"), (3, 3, 4, "and 4 do not"), (3, None, 2, "3 or more"), (4, 5, 6, "4 to 5 sources")],
)
def test_a_number_of_sources_that_does_not_come_out_is_refused(
    least: int, most: int | None, count: int, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        plan_calls(Capabilities(min_sources=least, max_sources=most), count, name="m")


def test_a_number_of_sources_is_refused_before_any_file_is_read() -> None:
    model = Model(Recorder(Capabilities(min_sources=3, max_sources=3)), name="three")
    with pytest.raises(UsageError, match="three fuses 3 sources at a time, and 2 do not come out"):
        model.fuse("nowhere.png", "nowhere.png")


def test_small_images_are_refused_with_file_and_size(tmp_path: Path) -> None:
    files = [tmp_path / "a.png", tmp_path / "b.png"]
    for file in files:
        PIL.Image.fromarray(np.zeros((9, 16), np.uint8)).save(file)
    fuser = Recorder(Capabilities(min_size=10, multiple=4))
    with pytest.raises(DataError) as caught:
        Model(fuser, name="large").fuse(*files)
    words = "a.png: is 16x9 pixels, and large takes 10x10 or more: give larger images, or use another model"
    assert str(caught.value) == f"{tmp_path}/{words}"
    assert fuser.calls == []
    with pytest.raises(DataError, match="a source: is 9x12 pixels"):
        fuse_tensors(fuser, *sources(12, 9))


def test_small_images_of_folders_are_found_before_the_first_result(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for name, size in (("small", 4), ("large", 12)):
            PIL.Image.fromarray(np.zeros((size, size), np.uint8)).save(tmp_path / folder / f"{name}.png")
    plan = plan_jobs([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    checked = check_jobs(plan, model=Model(Recorder(Capabilities(min_size=8)), name="m"))
    assert [job.target.stem for job in checked.jobs] == ["large"]
    words = "is 4x4 pixels, and m takes 8x8 or more: give larger images, or use another model"
    assert checked.problems == (f"small: {tmp_path}/a/small.png: {words}",)
    with pytest.raises(UsageError, match="m fuses 3 sources"):
        check_jobs(plan, model=Model(Recorder(Capabilities(min_sources=3, max_sources=3)), name="m"))


def test_a_fuser_that_needs_cuda_is_refused_on_the_cpu() -> None:
    with pytest.raises(UsageError, match="m needs a CUDA device and cannot run on cpu: use --device cuda"):
        Model(Recorder(Capabilities(needs_cuda=True)), name="m", device="cpu")


class Cramped(Fuser):
    """A mean over 7x7 pixels that has memory for few pixels at once; it keeps the sizes that it fused."""

    def __init__(self, capabilities: Capabilities, room: int, error: type[Exception] = torch.OutOfMemoryError) -> None:
        super().__init__()
        self.capabilities = capabilities
        self.room = room
        self.error = error
        self.sizes: list[tuple[int, ...]] = []

    def forward(self, *sources: Tensor) -> Tensor:
        if sources[0][0, 0].numel() > self.room:
            raise self.error("can't allocate memory")
        self.sizes.append(tuple(sources[0].shape[2:]))
        return nn.functional.avg_pool2d(sources[0] * sources[1], 7, 1, 3, count_include_pad=False)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError, RuntimeError])
@pytest.mark.parametrize("size", [(40, 40), (23, 61), (57, 20)])
@pytest.mark.parametrize("multiple", [1, 4])
def test_an_image_that_does_not_fit_into_memory_is_fused_in_exact_tiles(
    size: tuple[int, int], multiple: int, error: type[Exception]
) -> None:
    pair = sources(*size, dtype=torch.float64)
    able = Capabilities(halo=3, multiple=multiple)
    whole = fuse_tensors(Cramped(able, room=10**9), *pair)
    fuser = Cramped(able, room=500, error=error)
    assert torch.allclose(fuse_tensors(fuser, *pair), whole, rtol=0, atol=1e-12)
    assert len(fuser.sizes) > 2
    assert all(height % multiple == width % multiple == 0 for height, width in fuser.sizes)


@pytest.mark.parametrize(
    "able", [Capabilities(), Capabilities(halo=20), Capabilities(halo=3, min_size=30)], ids=["none", "wide", "large"]
)
def test_without_exact_tiles_that_are_smaller_the_lack_of_memory_is_one_line(able: Capabilities) -> None:
    fuser = Cramped(able, room=500)
    with pytest.raises(DataError, match="40x40 images do not fit into the memory of cpu"):
        Model(fuser, name="m").fuse(*(tensor[0] for tensor in sources(40, 40)))
    assert fuser.sizes == []


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 60), st.sampled_from([(0, 1), (5, 4), (3, 8)]))
def test_tiles_cover_every_pixel_once_and_keep_the_remainder(
    height: int, width: int, side: int, reach: tuple[int, int]
) -> None:
    halo, grid = reach
    able = Capabilities(halo=halo, grid=grid, min_size=3)
    covered = np.zeros((height, width), int)
    for tile in tiles((height, width), side, able):
        covered[tile.kept] += 1
        for seen, kept, inner, length in zip(tile.seen, tile.kept, tile.inner, (height, width), strict=True):
            assert (inner.start, inner.stop) == (kept.start - seen.start, kept.stop - seen.start)
            assert seen.start % grid == 0
            assert (seen.stop - seen.start) % grid == length % grid
            assert seen.start <= max(kept.start - halo, 0)
            assert seen.stop >= min(kept.stop + halo, length)
            assert seen.stop - seen.start >= min(3, length)
    assert (covered == 1).all()


def test_a_large_image_is_fused_in_tiles_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = sources(57, 90, dtype=torch.float64)
    fuser = Cramped(Capabilities(halo=3, grid=4), room=10**9)
    whole = fuse_tensors(fuser, *pair)
    assert fuser.sizes == [(57, 90)]
    monkeypatch.setattr("fusionkit.fuse.adapter.LARGE_PIXELS", 1000)
    monkeypatch.setattr("fusionkit.fuse.adapter.TILE_SIDE", 20)
    with torch.no_grad():
        assert torch.equal(fuse_tensors(fuser, *pair), whole)
    assert max(height * width for height, width in fuser.sizes[1:]) <= 32 * 32
