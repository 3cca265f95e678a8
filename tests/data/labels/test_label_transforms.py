"""Scaling, flipping and cropping of boxes, against boxes measured on a painted image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from fusionkit.contracts.label_types import Boxes
from fusionkit.data.labels.label_transforms import crop_boxes, flip_boxes, resize_mask, scale_boxes

_SIZE = (24, 32)


@st.composite
def _box(draw: st.DrawFn) -> tuple[int, int, int, int]:
    x0, y0 = draw(st.integers(0, _SIZE[1] - 1)), draw(st.integers(0, _SIZE[0] - 1))
    return x0, y0, draw(st.integers(x0 + 1, _SIZE[1])), draw(st.integers(y0 + 1, _SIZE[0]))


def _boxes(*corners: tuple[float, ...]) -> Boxes:
    return Boxes(torch.tensor(corners, dtype=torch.float32).reshape(-1, 4), torch.arange(len(corners)))


def _painted(box: tuple[int, int, int, int]) -> Tensor:
    image = torch.zeros(_SIZE)
    image[box[1] : box[3], box[0] : box[2]] = 1
    return image


def _measured(image: Tensor) -> list[float]:
    ys, xs = torch.nonzero(image > 0.5, as_tuple=True)
    return [float(xs.min()), float(ys.min()), float(xs.max()) + 1, float(ys.max()) + 1]


@given(_box(), st.booleans(), st.booleans())
def test_a_flipped_box_is_where_the_flipped_paint_is(box: tuple[int, int, int, int], rows: bool, columns: bool) -> None:
    image = _painted(box).flip([axis for axis, flip in enumerate((rows, columns)) if flip])
    flipped = flip_boxes(_boxes(box), _SIZE, rows=rows, columns=columns)
    assert flipped.corners[0].tolist() == _measured(image)
    again = flip_boxes(flipped, _SIZE, rows=rows, columns=columns)
    assert torch.equal(again.corners, _boxes(box).corners)


@given(_box(), st.integers(1, 4), st.integers(1, 4))
def test_an_enlarged_box_is_where_the_enlarged_paint_is(box: tuple[int, int, int, int], down: int, across: int) -> None:
    to = (_SIZE[0] * down, _SIZE[1] * across)
    image = F.interpolate(_painted(box)[None, None], to, mode="nearest")[0, 0]
    assert scale_boxes(_boxes(box), _SIZE, to).corners[0].tolist() == _measured(image)


@given(_box(), st.integers(1, 64), st.integers(1, 64))
def test_a_scaled_box_stays_inside_and_keeps_an_area(box: tuple[int, int, int, int], height: int, width: int) -> None:
    corners = scale_boxes(_boxes(box), _SIZE, (height, width)).corners[0]
    x0, y0, x1, y1 = corners.tolist()
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height


@given(_box(), st.integers(0, 12), st.integers(0, 16), st.integers(1, 12))
def test_a_cropped_box_is_what_is_left_of_the_paint(
    box: tuple[int, int, int, int], top: int, left: int, side: int
) -> None:
    image = _painted(box)[top : top + side, left : left + side]
    left_over = float(image.sum()) / ((box[2] - box[0]) * (box[3] - box[1]))
    assume(abs(left_over - 0.25) > 1e-6)
    cut = crop_boxes(_boxes(box), top=top, left=left, size=(side, side))
    if left_over > 0.25:
        assert cut.corners[0].tolist() == _measured(image)
        assert cut.classes.tolist() == [0]
    else:
        assert cut.corners.shape == (0, 4)
        assert cut.classes.shape == (0,)


def test_boxes_keep_their_classes_and_scores_and_none_stay_none() -> None:
    some = Boxes(torch.tensor([[0.0, 0, 4, 4], [20, 20, 24, 24]]), torch.tensor([3, 5]), torch.tensor([0.9, 0.2]))
    cut = crop_boxes(some, top=18, left=18, size=(6, 6))
    assert cut.classes.tolist() == [5]
    assert cut.scores is not None
    torch.testing.assert_close(cut.scores, torch.tensor([0.2]))
    none = _boxes()
    assert flip_boxes(none, _SIZE, rows=True, columns=True).corners.shape == (0, 4)
    assert scale_boxes(none, _SIZE, (5, 5)).corners.shape == (0, 4)
    assert crop_boxes(none, top=0, left=0, size=(5, 5)).scores is None


@given(st.integers(1, 70), st.integers(1, 70))
def test_the_nearest_pixel_is_the_one_under_the_middle(length: int, to: int) -> None:
    columns = torch.arange(length).repeat(3, 1)
    positions = resize_mask(columns, (3, to))[0].tolist()
    assert resize_mask(columns.T, (to, 3)).T.tolist() == [positions] * 3
    assert positions == [int((i + 0.5) * length / to) for i in range(to)]
    line = torch.arange(length, dtype=torch.float64).reshape(1, 1, 1, length)
    by_torch = F.interpolate(line, (1, to), mode="nearest-exact").flatten().tolist()
    # Where a middle falls on the border of two pixels, rounding decides.
    assert all(
        ours == theirs or (2 * i + 1) * length % (2 * to) == 0
        for i, (ours, theirs) in enumerate(zip(positions, by_torch, strict=True))
    )
