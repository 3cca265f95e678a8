"""The shipped downstream networks: what they answer, that they learn, how they say what is missing."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from fusionkit.contracts import Batch, Downstream
from fusionkit.errors import DataError, UsageError
from fusionkit.label_types import IGNORE, Boxes
from fusionkit_downstream.detection import Fcos, FcosOptions
from fusionkit_downstream.segmentation import SegFormer, SegFormerOptions, segmentation_loss
from fusionkit_downstream.suppression import best_boxes

SMALL_SEGFORMER = SegFormerOptions(widths=(8, 8, 8, 8), depths=(1, 1, 1, 1), heads=(1, 1, 1, 1), decoder=16)
SMALL_FCOS = FcosOptions(width=8, blocks=1, channels=16, convs=1)


def _networks() -> dict[str, Callable[[], Downstream]]:
    return {
        "segmentation": lambda: SegFormer(SMALL_SEGFORMER, classes=("ground", "thing")),
        "detection": lambda: Fcos(SMALL_FCOS, classes=("square", "slab")),
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


def test_the_default_segformer_has_the_size_of_mit_b0_and_no_batch_statistics() -> None:
    network = SegFormer(classes=("a", "b", "c"))
    assert 3.6e6 < sum(p.numel() for p in network.parameters()) < 3.8e6
    assert not any(isinstance(m, nn.BatchNorm2d | nn.Dropout) and getattr(m, "p", 1) > 0 for m in network.modules())
    assert network.network.segformer.config.num_channels == 1


def test_segformer_answers_at_the_images_size_however_small() -> None:
    network = _networks()["segmentation"]()
    for size in ((1, 1), (33, 50)):
        found = network.predict(torch.rand(2, 1, *size))
        assert found.shape == (2, *size)  # type: ignore[union-attr]


def test_segformer_learns_where_the_rectangle_is() -> None:
    images, masks, _ = _scenes()
    network = _trained(_networks()["segmentation"](), images, masks, 40)
    found = network.predict(images)
    assert isinstance(found, Tensor)
    both, either = ((found == 1) & (masks == 1)).sum(), ((found == 1) | (masks == 1)).sum()
    assert float(both / either) > 0.7


def test_fcos_learns_where_the_rectangle_is_and_what() -> None:
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
    found = best_boxes(corners, scores, least_score=0.05, overlap=0.5, most=10)
    assert found.scores is not None
    assert found.scores.tolist() == pytest.approx([0.9, 0.7, 0.6])
    assert found.classes.tolist() == [0, 1, 0]
    assert found.corners.tolist() == [[0, 0, 10, 10], [0, 0, 10, 10], [30, 30, 40, 40]]
    assert len(best_boxes(corners, scores, least_score=0.05, overlap=0.5, most=2).classes) == 2
    assert best_boxes(corners, scores, least_score=1.0, overlap=0.5, most=2).corners.shape == (0, 4)
    # Below IoU 9/11 the shifted box stays.
    assert len(best_boxes(corners, scores, least_score=0.05, overlap=0.9, most=10).classes) == 4


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: SegFormer(SegFormerOptions(class_weights=(1.0,)), classes=("a", "b")), "1 values for the 2 classes"),
        (lambda: SegFormer(SegFormerOptions(class_weights=(1.0, -1.0)), classes=("a", "b")), "must be numbers of 0"),
        (lambda: SegFormer(SegFormerOptions(heads=(3, 1, 1, 1)), classes=("a",)), "heads=3 does not divide"),
        (lambda: Fcos(FcosOptions(blocks=0), classes=("a",)), "blocks=0 must be at least 1"),
        (lambda: Fcos(FcosOptions(overlap=1.5), classes=("a",)), r"overlap=1.5 must lie in \[0, 1\]"),
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


def test_a_missing_extra_is_one_line_that_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UsageError, match=r"pip install 'image-fusionkit\[downstream\]'") as caught:
        SegFormer(classes=("a", "b"))
    assert "\n" not in str(caught.value)
