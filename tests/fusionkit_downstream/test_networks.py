"""The shipped downstream networks: what they answer, that they learn, how they say what is missing."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from fusionkit.config import resolve
from fusionkit.contracts import Batch, Downstream
from fusionkit.contracts.label_types import IGNORE, Boxes
from fusionkit.errors import DataError, RenamedOption, UsageError
from fusionkit_downstream.detection import Detector, DetectorOptions
from fusionkit_downstream.segmentation import PixelHead, Segmenter, SegmenterOptions, segmentation_loss
from fusionkit_downstream.suppression import best_boxes

TINY = "test_convnext"
"""timm's own backbone for tests: 0.2 million parameters."""
SMALL_SEGMENTER = SegmenterOptions(backbone=TINY, channels=16)
SMALL_DETECTOR = DetectorOptions(backbone=TINY, channels=16, convs=1)


def _networks() -> dict[str, Callable[[], Downstream]]:
    return {
        "segmentation": lambda: Segmenter(SMALL_SEGMENTER, classes=("ground", "thing")),
        "detection": lambda: Detector(SMALL_DETECTOR, classes=("square", "slab")),
    }


def _scenes(count: int = 4, size: tuple[int, int] = (72, 88)) -> tuple[Tensor, Tensor, tuple[Boxes, ...]]:
    """Bright rectangles on a dark ground, one an image: images, masks, boxes."""
    generator = torch.Generator().manual_seed(6)
    images, masks, boxes = torch.full((count, 1, *size), 0.2), torch.zeros(count, *size, dtype=torch.int64), []
    for k in range(count):
        top, left = (int(torch.randint(4, 40, (), generator=generator)) for _ in range(2))
        images[k, :, top : top + 24, left : left + 30] = 0.8
        masks[k, top : top + 24, left : left + 30] = 1
        boxes.append(Boxes(torch.tensor([[left, top, left + 30.0, top + 24.0]]), torch.tensor([1])))
    return images, masks, tuple(boxes)


def _trained(network: Downstream, images: Tensor, targets: object, steps: int) -> Downstream:
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(steps):
        optimiser.zero_grad()
        network.loss(images, Batch((images,), targets))["total"].backward()
        optimiser.step()
    return network


def test_the_segmentation_loss_is_the_weighted_mean_over_the_pixels_that_count() -> None:
    logits = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    masks = torch.randint(0, 3, (2, 4, 5))
    masks[0, :2] = IGNORE
    weights = torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64)
    summed = counted = 0.0
    for b in range(2):
        for y in range(4):
            for x in range(5):
                if (known := int(masks[b, y, x])) != IGNORE:
                    scores = [math.exp(float(v)) for v in logits[b, :, y, x]]
                    summed -= float(weights[known]) * math.log(scores[known] / sum(scores))
                    counted += float(weights[known])
    assert float(segmentation_loss(logits, masks, weights)) == pytest.approx(summed / counted, rel=1e-12)


def test_where_no_pixel_counts_the_loss_and_its_gradient_are_zero() -> None:
    logits = torch.randn(1, 3, 4, 5, requires_grad=True)
    loss = segmentation_loss(logits, torch.full((1, 4, 5), IGNORE), torch.ones(3))
    (slope,) = torch.autograd.grad(loss, logits)
    assert float(loss.detach()) == 0
    assert not slope.any()


def test_the_head_computes_what_segformers_concatenation_and_mixing_computes() -> None:
    """Two 1x1 convolutions in a row are one, and a 1x1 convolution of a resized map is the resized result."""
    widths, channels = (3, 4, 5), 16
    features = [torch.randn(2, width, 24 // 2**k, 16 // 2**k, dtype=torch.float64) for k, width in enumerate(widths)]
    first = [nn.Conv2d(width, channels, 1, bias=False).double() for width in widths]
    mix = nn.Conv2d(len(widths) * channels, channels, 1, bias=False).double()
    head = PixelHead(widths, channels, 2).double()
    with torch.no_grad():
        for level, own, part in zip(head.levels, first, mix.weight[..., 0, 0].split(channels, 1), strict=True):
            level.weight.copy_((part @ own.weight[..., 0, 0])[..., None, None])  # type: ignore[union-attr,operator]
    resized = [
        nn.functional.interpolate(own(f), (24, 16), mode="bilinear") for own, f in zip(first, features, strict=True)
    ]
    assert torch.allclose(head(features), head.classify(mix(torch.cat(resized, 1))), rtol=1e-9, atol=1e-9)


def test_masks_have_the_size_of_the_image_however_small() -> None:
    network = _networks()["segmentation"]()
    for size in ((1, 1), (33, 50)):
        found = network.predict(torch.rand(2, 1, *size))
        assert found.shape == (2, *size)  # type: ignore[union-attr]


def test_the_segmenter_learns_where_the_rectangle_is() -> None:
    images, masks, _ = _scenes()
    network = _trained(_networks()["segmentation"](), images, masks, 40)
    found = network.predict(images)
    assert isinstance(found, Tensor)
    both, either = ((found == 1) & (masks == 1)).sum(), ((found == 1) | (masks == 1)).sum()
    assert float(both / either) > 0.7


def test_the_detector_learns_where_the_rectangle_is_and_its_class() -> None:
    images, _, boxes = _scenes()
    network = _trained(_networks()["detection"](), images, boxes, 80)
    for known, found in zip(boxes, network.predict(images), strict=True):
        assert isinstance(found, Boxes)
        x0, y0, x1, y1 = found.corners[0].tolist()
        a0, b0, a1, b1 = known.corners[0].tolist()
        both = max(min(x1, a1) - max(x0, a0), 0) * max(min(y1, b1) - max(y0, b0), 0)
        assert both / ((x1 - x0) * (y1 - y0) + (a1 - a0) * (b1 - b0) - both) > 0.6
        assert int(found.classes[0]) == 1


def test_suppression_keeps_the_best_of_each_class_and_what_stands_apart() -> None:
    corners = torch.tensor(
        [[0.0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 10], [30, 30, 40, 40], [5, 5, 5, 9], [0, 0, 3, 3]]
    )
    scores = torch.tensor([[0.9, 0.0], [0.8, 0.0], [0.0, 0.7], [0.6, 0.0], [0.99, 0.0], [0.01, 0.02]])
    found = best_boxes(corners, scores, score_threshold=0.05, iou_threshold=0.5, max_boxes=10)
    assert found.scores is not None
    assert found.scores.tolist() == pytest.approx([0.9, 0.7, 0.6])
    assert found.classes.tolist() == [0, 1, 0]
    assert found.corners.tolist() == [[0, 0, 10, 10], [0, 0, 10, 10], [30, 30, 40, 40]]
    assert len(best_boxes(corners, scores, score_threshold=0.05, iou_threshold=0.5, max_boxes=2).classes) == 2
    assert best_boxes(corners, scores, score_threshold=1.0, iou_threshold=0.5, max_boxes=2).corners.shape == (0, 4)
    # Below IoU 9/11 the shifted box stays.
    assert len(best_boxes(corners, scores, score_threshold=0.05, iou_threshold=0.9, max_boxes=10).classes) == 4


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: Segmenter(SegmenterOptions(class_weights=(1.0,)), classes=("a", "b")), "1 given for the 2 classes"),
        (
            lambda: Segmenter(SegmenterOptions(class_weights=(1.0, -1.0)), classes=("a", "b")),
            "class_weights.1=-1.0",
        ),
        (lambda: Segmenter(SegmenterOptions(channels=0), classes=("a",)), "channels=0 is not valid"),
        (lambda: Detector(DetectorOptions(convs=0), classes=("a",)), "convs=0 is not valid"),
        (
            lambda: Detector(DetectorOptions(iou_threshold=1.5), classes=("a",)),
            r"iou_threshold=1.5 is not valid",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused_by_name(build: Callable[[], Downstream], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        build()


@pytest.mark.parametrize("name", ["segmentation", "detection"])
def test_labels_of_another_kind_are_refused(name: str) -> None:
    images, masks, boxes = _scenes(1)
    with pytest.raises(DataError, match=f"{name} learns from"):
        _networks()[name]().loss(images, Batch((images,), boxes if name == "segmentation" else masks))


def test_former_names_of_options_are_read_and_sizes_of_former_networks_are_refused_with_what_to_do() -> None:
    with pytest.warns(RenamedOption, match="most is now max_boxes"):
        assert resolve(DetectorOptions, ("--set", {"most": 7})).max_boxes == 7
    for options, name, value in ((DetectorOptions, "width", 16), (SegmenterOptions, "depths", [2, 2, 2, 2])):
        with pytest.raises(UsageError, match=f"{name} is no option any more: backbone names a timm model"):
            resolve(options, ("--set", {name: value}))
