"""What a downstream network is shown: picture and label go through the same resizing and mirroring."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fusionkit.bench.downstream.samples import Samples, load_samples, resize_mask, resize_picture
from fusionkit.data.labels import find_labelled
from fusionkit.errors import DataError
from fusionkit.label_types import IGNORE, Boxes
from fusionkit.tasks import IVIF
from tests.support.downstreamtoys import make_labelled


def _drawn(corners: torch.Tensor, height: int, width: int) -> torch.Tensor:
    canvas = torch.zeros(1, height, width, dtype=torch.uint8)
    for x0, y0, x1, y1 in corners.int().tolist():
        canvas[0, y0:y1, x0:x1] = 255
    return canvas


@given(st.integers(0, 20), st.integers(0, 12), st.integers(1, 10), st.integers(1, 8), st.booleans(), st.booleans())
def test_a_mirrored_box_lies_on_the_mirrored_object(
    x: int, y: int, wide: int, high: int, across: bool, down: bool
) -> None:
    corners = torch.tensor([[x, y, x + wide, y + high]], dtype=torch.float32)
    picture = _drawn(corners, 20, 30)
    samples = Samples(picture[None].repeat(2, 1, 1, 1), (Boxes(corners, torch.tensor([0])),) * 2)
    flips = torch.tensor([[across, down]])
    fused, batch = samples.batch([1], flips, device=torch.device("cpu"))
    assert torch.equal(_drawn(batch.targets[0].corners, 20, 30), (fused[0] * 255).byte())
    masks = Samples(samples.pictures, (picture[0],) * 2)
    fused, batch = masks.batch([1], flips, device=torch.device("cpu"))
    assert torch.equal(batch.targets[0], (fused[0, 0] * 255).long())


def test_a_resized_mask_holds_ids_of_the_original_alone() -> None:
    mask = torch.tensor([[0, 1], [2, IGNORE]]).repeat_interleave(10, 0).repeat_interleave(10, 1)
    small = resize_mask(mask, (4, 6))
    assert small.tolist() == [[0, 0, 0, 1, 1, 1]] * 2 + [[2, 2, 2, IGNORE, IGNORE, IGNORE]] * 2


def test_a_picture_of_the_right_size_keeps_its_grey_levels() -> None:
    levels = torch.arange(256).reshape(1, 1, 16, 16) / 255
    assert resize_picture(levels, (16, 16)).flatten().tolist() == list(range(256))
    assert resize_picture(torch.full((1, 1, 32, 48), 77 / 255), (16, 24)).unique().tolist() == [77]


def test_the_network_sees_the_luminance_of_the_saved_file(tmp_path: Path) -> None:
    pairs = find_labelled(make_labelled(tmp_path, "segmentation", train=2, test=1), IVIF, "segmentation").split("train")
    files = [pair.files[1] for pair in pairs]
    samples = load_samples(files, pairs, (48, 64))
    blue, green, red = cv2.imread(str(files[0])).astype(np.float64).transpose(2, 0, 1)
    assert np.abs(samples.pictures[0, 0].numpy() - (0.299 * red + 0.587 * green + 0.114 * blue)).max() <= 0.51
    fused, batch = samples.batch([1, 0], torch.tensor([[True, False], [False, False]]), device=torch.device("cpu"))
    assert (fused.dtype, tuple(fused.shape)) == (torch.float32, (2, 1, 48, 64))
    assert batch.targets.dtype == torch.int64
    assert torch.equal(fused[1] * 255, samples.pictures[0].float())
    assert torch.equal(fused[0].flip(-1) * 255, samples.pictures[1].float())
    assert torch.equal(batch.targets[0].flip(-1), samples.targets[1].long())


def test_boxes_come_in_pixels_of_the_size_that_is_shown(tmp_path: Path) -> None:
    pairs = find_labelled(make_labelled(tmp_path, "detection", train=3, test=1), IVIF, "detection").split("train")
    samples = load_samples([pair.files[0] for pair in pairs], pairs, (96, 64))
    for picture, boxes in zip(samples.pictures, samples.targets, strict=True):
        assert isinstance(boxes, Boxes)
        ((x0, y0, x1, y1),) = boxes.corners.round().int().tolist()
        assert (x1 - x0, y1 - y0) == (16, 32)
        assert picture[0, y0 + 2 : y1 - 2, x0 + 1 : x1 - 1].min() > 150


def test_a_label_that_does_not_fit_is_named(tmp_path: Path) -> None:
    pairs = find_labelled(make_labelled(tmp_path, "segmentation", train=1, test=1), IVIF, "segmentation").split("test")
    label = pairs[0].label
    assert label is not None
    cv2.imwrite(str(label), np.full((48, 64), 7, np.uint8))
    with pytest.raises(DataError, match=r"test0.png: unknown class id 7"):
        load_samples([pairs[0].files[0]], pairs, (48, 64))
