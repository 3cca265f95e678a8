"""The scores against slow counts, and against torchmetrics' own where it has them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fusionkit.bench.downstream.downstream_records import split_scores
from fusionkit.bench.downstream.label_scores import confusion, detection_scores
from fusionkit.contracts.label_types import IGNORE, Boxes
from fusionkit.runtime.torchvision import load_torchvision


def _masks(classes: int, shape: tuple[int, int] = (9, 11)) -> tuple[torch.Tensor, torch.Tensor]:
    predicted = torch.randint(0, classes, shape)
    known = torch.where(torch.rand(shape) < 0.5, predicted, torch.randint(0, classes, shape))
    return predicted, torch.where(torch.rand(shape) < 0.1, IGNORE, known)


@pytest.mark.parametrize("classes", [1, 2, 5])
def test_the_confusion_counts_known_by_predicted_without_what_is_ignored(classes: int) -> None:
    predicted, known = _masks(classes)
    counts = [[0] * classes for _ in range(classes)]
    for p, k in zip(predicted.flatten().tolist(), known.flatten().tolist(), strict=True):
        if k != IGNORE:
            counts[k][p] += 1
    assert confusion(predicted, known, classes).tolist() == counts


def test_iou_and_accuracy_are_of_the_whole_split_and_agree_with_torchmetrics() -> None:
    load_torchvision()
    from torchmetrics.functional.classification import multiclass_accuracy, multiclass_jaccard_index

    masks = [_masks(4) for _ in range(3)]
    overall, per_class = split_scores([confusion(p, k, 4).tolist() for p, k in masks], tuple("abcd"))
    predicted, known = (torch.stack(side) for side in zip(*masks, strict=True))
    iou = multiclass_jaccard_index(predicted, known, 4, average="none", ignore_index=IGNORE)
    acc = multiclass_accuracy(predicted, known, 4, average="none", ignore_index=IGNORE)
    assert [per_class[name]["IoU"] for name in "abcd"] == pytest.approx(iou.tolist())
    assert [per_class[name]["Acc"] for name in "abcd"] == pytest.approx(acc.tolist())
    assert overall == pytest.approx({"mIoU": float(iou.mean()), "mAcc": float(acc.mean())})


def test_a_class_that_is_not_there_is_in_no_mean_but_its_false_pixels_count() -> None:
    overall, per_class = split_scores(
        [[[6, 0, 1], [1, 5, 0], [0, 0, 0]], [[0, 2, 0], [0, 0, 0], [0, 0, 0]]], ("a", "b", "c")
    )
    assert per_class["c"] == {"IoU": None, "Acc": None}
    assert overall["mIoU"] == pytest.approx((6 / 10 + 5 / 8) / 2)
    assert overall["mAcc"] == pytest.approx((6 / 9 + 5 / 6) / 2)
    assert split_scores([[[0, 0], [0, 0]]], ("a", "b"))[0] == {"mIoU": None, "mAcc": None}


def _average_precision(predicted: list[Boxes], known: list[Boxes], label: int, least: float) -> float:
    """COCO's, redone: greedy matching image by image, precision made monotone, read off at 101 recalls."""
    marks: list[tuple[float, bool]] = []
    total = 0
    for p, k in zip(predicted, known, strict=True):
        wanted = k.corners[k.classes == label].tolist()
        total += len(wanted)
        taken: set[int] = set()
        assert p.scores is not None
        own = sorted(zip(p.scores.tolist(), p.corners.tolist(), p.classes.tolist(), strict=True), key=lambda e: -e[0])
        for score, box, number in own:
            if number != label:
                continue
            best, place = least - 1e-10, -1
            for n, other in enumerate(wanted):
                across = max(min(box[2], other[2]) - max(box[0], other[0]), 0)
                down = max(min(box[3], other[3]) - max(box[1], other[1]), 0)
                areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, other)]
                overlap = across * down / (sum(areas) - across * down)
                if n not in taken and overlap >= best:
                    best, place = overlap, n
            taken |= {place} - {-1}
            marks.append((score, place >= 0))
    hits = np.cumsum([hit for _, hit in sorted(marks, key=lambda mark: -mark[0])])
    recall, precision = hits / total, hits / np.arange(1, len(hits) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    found = [precision[recall >= level][0] if (recall >= level).any() else 0.0 for level in np.linspace(0, 1, 101)]
    return float(np.mean(found))


def _scenes(count: int) -> tuple[list[Boxes], list[Boxes]]:
    predicted, known = [], []
    for _ in range(count):
        corner = torch.rand(6, 2) * 60
        boxes = torch.cat([corner, corner + 15 + 10 * torch.rand(6, 2)], 1)
        labels = torch.randint(0, 2, (6,))
        seen = torch.cat([boxes[:5] + 3 * torch.randn(5, 4), boxes[:2] + 40])
        classes = torch.cat([labels[:5], torch.tensor([0, 1])])
        known.append(Boxes(boxes, labels))
        predicted.append(Boxes(seen, classes, torch.rand(7)))
    return predicted, known


def test_average_precision_is_cocos() -> None:
    predicted, known = _scenes(6)
    overall, per_class = detection_scores(predicted, known, ("person", "car", "bicycle"))
    levels = np.linspace(0.5, 0.95, 10)
    slow = {
        name: [_average_precision(predicted, known, label, least) for least in levels]
        for label, name in enumerate(("person", "car"))
    }
    assert per_class["bicycle"] == {"AP50-95": None, "AP50": None}
    for name, values in slow.items():
        assert per_class[name]["AP50"] == pytest.approx(values[0], abs=1e-6)
        assert per_class[name]["AP50-95"] == pytest.approx(np.mean(values), abs=1e-6)
    means = np.mean([slow["person"], slow["car"]], axis=0)
    wanted = {"mAP50-95": means.mean(), "mAP50": means[0], "mAP75": means[5]}
    assert overall == pytest.approx(wanted, abs=1e-6)
    assert 0.05 < means.mean() < 0.95


def test_nothing_found_is_0_and_nothing_to_find_is_no_score() -> None:
    none = Boxes(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0))
    one = Boxes(torch.tensor([[1.0, 1, 9, 9]]), torch.tensor([0]), torch.tensor([0.5]))
    missed = detection_scores([none], [one], ("person",))
    assert missed[0] == {"mAP50-95": 0, "mAP50": 0, "mAP75": 0}
    assert missed[1] == {"person": {"AP50-95": 0, "AP50": 0}}
    empty = detection_scores([one], [none], ("person",))
    assert empty[0] == {"mAP50-95": None, "mAP50": None, "mAP75": None}
