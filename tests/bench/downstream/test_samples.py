"""What a downstream network is shown: picture and label go through the same resizing."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from fusionkit.bench.downstream.samples import load_samples, resize_picture
from fusionkit.contracts.label_types import Boxes
from fusionkit.data.epoch_plan import PAIR
from fusionkit.data.labels import find_labelled
from fusionkit.errors import DataError
from fusionkit.tasks import IVIF
from tests.support.downstreamtoys import make_labelled

CPU = torch.device("cpu")


def test_a_picture_of_the_right_size_keeps_its_grey_levels() -> None:
    levels = torch.arange(256).reshape(1, 1, 16, 16) / 255
    assert resize_picture(levels, (16, 16)).flatten().tolist() == list(range(256))
    assert resize_picture(torch.full((1, 1, 32, 48), 77 / 255), (16, 24)).unique().tolist() == [77]


def test_the_network_sees_the_luminance_of_the_saved_file(tmp_path: Path) -> None:
    pairs = find_labelled(make_labelled(tmp_path, "segmentation", train=2, test=1), IVIF, "segmentation").split("train")
    files = [pair.files[1] for pair in pairs]
    samples = load_samples(files, pairs, (48, 64), CPU)
    blue, green, red = cv2.imread(str(files[0])).astype(np.float64).transpose(2, 0, 1)
    rows = torch.zeros(2, 6, dtype=torch.int64)
    rows[:, PAIR] = torch.tensor([1, 0])
    batch = samples.resized(rows, (48, 64))
    (fused,) = batch.sources
    assert (fused.dtype, tuple(fused.shape)) == (torch.float32, (2, 1, 48, 64))
    seen = fused[1, 0].numpy() * 255
    assert np.abs(seen - (0.299 * red + 0.587 * green + 0.114 * blue)).max() <= 0.51
    assert np.abs(seen - seen.round()).max() < 1e-4
    assert batch.targets.dtype == torch.int64
    assert torch.equal(batch.targets[1], samples.label(0))


def test_boxes_come_in_pixels_of_the_size_that_is_shown(tmp_path: Path) -> None:
    pairs = find_labelled(make_labelled(tmp_path, "detection", train=3, test=1), IVIF, "detection").split("train")
    samples = load_samples([pair.files[0] for pair in pairs], pairs, (96, 64), CPU)
    for k in range(3):
        (picture,), boxes = (255 * source[0] for source in samples.whole(k)), samples.label(k)
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
        load_samples([pairs[0].files[0]], pairs, (48, 64), CPU)
