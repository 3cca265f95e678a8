"""Resized pairs and labelled crops: image and label go the same way, seen by painting the label into the image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from fusionkit.contracts.label_types import Boxes, LabelSpec
from fusionkit.data.epoch_plan import draw_epoch
from fusionkit.data.labels.labelled_store import LabelledStore
from fusionkit.data.pair_set import Pair, PairSet
from fusionkit.errors import DataError, UsageError
from fusionkit.tasks import IVIF

CPU = torch.device("cpu")
_SIZES = [(40, 56), (32, 32), (48, 36)]
_MASKS = LabelSpec("segmentation", ("ground", "person", "car"))
_BOXES = LabelSpec("detection", ("person", "car"))


def _painted(size: tuple[int, int], seed: int) -> tuple[Tensor, Boxes]:
    """A mask with two rectangles, and their boxes; the second lies over the first nowhere."""
    rng = np.random.default_rng(seed)
    height, width = size
    mask = torch.zeros(size, dtype=torch.int64)
    corners = []
    for number, (low, high) in enumerate(((0, width // 2), (width // 2, width)), 1):
        x0, y0 = int(rng.integers(low, high - 8)), int(rng.integers(0, height - 8))
        x1, y1 = int(rng.integers(x0 + 7, high + 1)), int(rng.integers(y0 + 7, height + 1))
        mask[y0:y1, x0:x1] = number
        corners.append((x0, y0, x1, y1))
    return mask, Boxes(torch.tensor(corners, dtype=torch.float32), torch.tensor([0, 1]))


def _store(kind: str, *, smallest: int = 1, seed: int = 0) -> LabelledStore:
    """Sources that are their own labels: a is white where the mask is 1, b where it is 2."""
    drawn = [_painted(size, 10 * seed + k) for k, size in enumerate(_SIZES)]
    pairs = [[(255 * (mask == number)).to(torch.uint8)[None] for number in (1, 2)] for mask, _ in drawn]
    labels = [mask if kind == "masks" else boxes for mask, boxes in drawn]
    spec = _MASKS if kind == "masks" else _BOXES
    return LabelledStore(IVIF, pairs, labels, spec, device=CPU, smallest=smallest)


def _rows(store: LabelledStore, seed: int, crop: int = 16) -> Tensor:
    plan = draw_epoch(store.sizes, seed=seed, epoch=0, meta_steps=0, fusion_steps=1, batch=6, crop=crop, swap=True)
    return plan.ftr[0]


def _unswapped(sources: tuple[Tensor, ...], rows: Tensor) -> tuple[Tensor, Tensor]:
    """What shows class 1 and what shows class 2, ``(B, H, W)``."""
    pairs = [(b, a) if swap else (a, b) for a, b, swap in zip(*sources, rows[:, 5].tolist(), strict=True)]
    return torch.stack([first[0] for first, _ in pairs]), torch.stack([second[0] for _, second in pairs])


def _ids(sources: tuple[Tensor, ...]) -> Tensor:
    """The mask ``(B, H, W)`` that unswapped sources show."""
    one, two = (source.reshape(-1, *source.shape[-2:]) for source in sources)
    return (one + 2 * two).round().long()


def _extent(image: Tensor) -> list[float]:
    """Tight box of what is more white than black."""
    ys, xs = torch.nonzero(image > 0.5, as_tuple=True)
    return [float(xs.min()), float(ys.min()), float(xs.max()) + 1, float(ys.max()) + 1]


@given(seed=st.integers(0, 200), height=st.integers(16, 90), width=st.integers(16, 90))
def test_a_resized_mask_lies_on_its_resized_image(seed: int, height: int, width: int) -> None:
    store = _store("masks", seed=seed)
    rows = _rows(store, seed)
    batch = store.resized(rows, (height, width))
    assert batch.targets.shape == (6, height, width)
    assert batch.targets.dtype == torch.int64
    one, two = _unswapped(batch.sources, rows)
    # Where the image has one class's paint alone, the mask has that class.
    for number, pure in ((0, one + two == 0), (1, one == 1), (2, two == 1)):
        assert (batch.targets[pure] == number).all()
        assert pure.any()


@given(seed=st.integers(0, 200), height=st.integers(24, 90), width=st.integers(24, 90))
def test_resized_boxes_lie_on_their_resized_image(seed: int, height: int, width: int) -> None:
    store = _store("boxes", seed=seed)
    rows = _rows(store, seed)
    batch = store.resized(rows, (height, width))
    assert isinstance(batch.targets, tuple)
    for one, two, boxes in zip(*_unswapped(batch.sources, rows), batch.targets, strict=True):
        assert boxes.classes.tolist() == [0, 1]
        for image, corners in zip((one, two), boxes.corners.tolist(), strict=True):
            assert np.abs(np.array(_extent(image)) - np.array(corners)).max() <= 1


def test_at_its_own_size_a_pair_is_itself_flipped() -> None:
    for kind in ("masks", "boxes"):
        store = _store(kind)
        for upside in (0, 1):
            for mirrored in (0, 1):
                batch = store.resized(torch.tensor([[1, 0, 0, upside, mirrored, 0]]), _SIZES[1])
                axes = [axis for axis, flip in ((2, upside), (3, mirrored)) if flip]
                assert torch.equal(batch.sources[0], store.whole(1)[0].flip(axes))
                if kind == "masks":
                    assert torch.equal(batch.targets[0], store.label(1).flip([axis - 2 for axis in axes]))
                    assert torch.equal(_ids(batch.sources)[0], batch.targets[0])
                else:
                    for source, corners in zip(batch.sources, batch.targets[0].corners, strict=True):
                        assert corners.tolist() == _extent(source[0, 0])


@given(seed=st.integers(0, 300))
def test_a_labelled_crop_has_the_label_of_its_pixels(seed: int) -> None:
    store = _store("masks", seed=seed)
    rows = _rows(store, seed)
    batch = store.labelled_crops(rows, 16)
    plain = store.crops(rows, 16)
    assert all(torch.equal(one, other) for one, other in zip(batch.sources, plain.sources, strict=True))
    assert torch.equal(_ids(_unswapped(batch.sources, rows)), batch.targets)


@given(seed=st.integers(0, 300))
def test_the_boxes_of_a_crop_are_around_what_is_left_of_the_objects(seed: int) -> None:
    store = _store("boxes", seed=seed)
    rows = _rows(store, seed)
    batch = store.labelled_crops(rows, 16, least_visible=0.0)
    for one, two, boxes in zip(*_unswapped(batch.sources, rows), batch.targets, strict=True):
        shown = {number: image for number, image in enumerate((one, two)) if image.any()}
        assert boxes.classes.tolist() == list(shown)
        assert boxes.corners.tolist() == [_extent(image) for image in shown.values()]


def test_a_pair_smaller_than_the_crop_keeps_its_own_size_where_it_is_used_whole() -> None:
    store = _store("masks", smallest=44)
    assert store.sizes == [(44, 56), (44, 44), (48, 44)]
    assert [tuple(store.whole(k)[0].shape[2:]) for k in range(3)] == _SIZES
    batch = store.resized(torch.tensor([[1, 0, 0, 0, 0, 0]]), (32, 32))
    assert torch.equal(_ids(batch.sources)[0], batch.targets[0])
    with pytest.raises(DataError, match="labelled crops of 44x44: the smallest pair has a side of 32"):
        store.labelled_crops(_rows(store, 0, crop=44), 44)


def test_deep_pairs_are_resized_without_rounding() -> None:
    pixels = torch.rand(1, 8, 8)
    store = LabelledStore(IVIF, [[pixels, pixels]], [torch.zeros(8, 8).long()], _MASKS, device=CPU)
    batch = store.resized(torch.zeros(1, 6, dtype=torch.int64), (4, 4))
    expected = torch.nn.functional.interpolate(pixels[None], (4, 4), mode="bilinear", antialias=True)
    torch.testing.assert_close(batch.sources[0], expected)


def test_pixels_that_do_not_count_stay_so() -> None:
    mask = torch.full((8, 8), 255)
    image = torch.zeros(1, 8, 8, dtype=torch.uint8)
    store = LabelledStore(IVIF, [[image, image]], [mask], _MASKS, device=CPU)
    rows = torch.zeros(1, 6, dtype=torch.int64)
    assert (store.resized(rows, (5, 3)).targets == 255).all()
    assert (store.labelled_crops(rows, 4).targets == 255).all()


@pytest.mark.parametrize(
    ("size", "published"), [((480, 640), (240, 320)), ((1024, 1280), (256, 320)), ((200, 300), (200, 300))]
)
def test_whole_pairs_are_shrunk_to_the_sizes_that_tdfusion_publishes(
    size: tuple[int, int], published: tuple[int, int]
) -> None:
    store = _store("segmentation")
    store.whole_sizes = [size, size, (50, 60)]
    assert store.fitting_size(None, 320) == published


def test_a_size_without_pixels_is_an_error() -> None:
    with pytest.raises(UsageError, match="size: a height and a width of at least 1"):
        _store("masks").resized(torch.zeros(1, 6, dtype=torch.int64), (0, 4))


def test_a_set_is_decoded_with_its_labels(tmp_path: Path) -> None:
    mask, _ = _painted(_SIZES[0], 3)
    for name, pixels in (("ir", 100 * mask), ("vi", 255 - 100 * mask), ("label", mask)):
        Image.fromarray(pixels.numpy().astype(np.uint8)).save(tmp_path / f"{name}.png")
    pair = Pair("x", (tmp_path / "ir.png", tmp_path / "vi.png"), label=tmp_path / "label.png")
    pairs = PairSet(IVIF, (pair,), "here", labels=_MASKS)
    store = LabelledStore.from_pairs(pairs, device=CPU)
    assert store.spec == _MASKS
    assert torch.equal(store.label(0), mask)
    assert torch.equal((store.whole(0)[0][0, 0] * 255).round().long(), 100 * mask)
    with pytest.raises(DataError, match="found without labels"):
        LabelledStore.from_pairs(PairSet(IVIF, (pair,), "here"), device=CPU)
