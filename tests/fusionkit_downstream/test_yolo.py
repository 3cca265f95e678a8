"""YOLOv8 as a downstream network: its loss is the library's own, it learns, and its import leaves nothing behind."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from fusionkit.contracts import Batch
from fusionkit.contracts.label_types import Boxes
from fusionkit.errors import DataError, UsageError
from fusionkit_downstream.yolo import YoloDetector, YoloOptions


@pytest.fixture
def library() -> None:
    if importlib.util.find_spec("ultralytics") is None:  # not imported here: how it is imported is under test
        pytest.skip("the extra yolo is not installed")


def _scenes() -> tuple[Tensor, tuple[Boxes, ...]]:
    """Two images of a bright rectangle and one of nothing."""
    images, boxes = torch.full((3, 1, 72, 88), 0.2), []
    for k, (left, top) in enumerate(((37, 30), (24, 19))):
        images[k, :, top : top + 24, left : left + 30] = 0.8
        boxes.append(Boxes(torch.tensor([[left, top, left + 30.0, top + 24.0]]), torch.tensor([k])))
    boxes.append(Boxes(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)))
    return images, tuple(boxes)


@pytest.mark.usefixtures("library")
def test_the_loss_is_that_of_the_library_per_image() -> None:
    torch.manual_seed(1)
    network = YoloDetector(classes=("slab", "square"))
    images, boxes = _scenes()
    terms = network.loss(images, Batch((images,), boxes))
    # The library's own way: boxes as YOLO text has them, of an image whose sides are multiples of 32.
    padded = nn.functional.pad((images - 0.5) * 4, (0, 8, 0, 24), mode="replicate")
    text = torch.tensor([[0, 0, 52 / 96, 42 / 96, 30 / 96, 24 / 96], [1, 1, 39 / 96, 31 / 96, 30 / 96, 24 / 96]])
    batch = {"img": padded, "batch_idx": text[:, 0], "cls": text[:, 1], "bboxes": text[:, 2:]}
    network.network.criterion = None
    network.network.args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5)
    expected, _ = network.network.loss(batch)
    assert torch.allclose(terms["total"], expected.sum() / len(images), rtol=1e-5)
    assert torch.allclose(torch.stack([terms[k] for k in ("boxes", "classes", "sides")]), expected / 3, rtol=1e-5)


@pytest.mark.usefixtures("library")
def test_it_has_no_batch_statistics_and_a_call_changes_nothing() -> None:
    network = YoloDetector(classes=("slab", "square")).train()
    assert not any(isinstance(part, nn.BatchNorm2d) for part in network.modules())
    images, boxes = _scenes()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    first, second = (network.loss(images, Batch((images,), boxes))["total"] for _ in range(2))
    assert torch.equal(first, second)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


@pytest.mark.usefixtures("library")
def test_it_learns_where_the_rectangles_are_and_their_classes() -> None:
    torch.manual_seed(0)
    network = YoloDetector(classes=("slab", "square"))
    images, boxes = _scenes()
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    for _ in range(25):
        optimiser.zero_grad()
        network.loss(images, Batch((images,), boxes))["total"].backward()
        optimiser.step()
    *found, nothing = network.predict(images)
    for k, known in enumerate(boxes[:2]):
        x0, y0, x1, y1 = found[k].corners[0].tolist()
        a0, b0, a1, b1 = known.corners[0].tolist()
        both = max(min(x1, a1) - max(x0, a0), 0) * max(min(y1, b1) - max(y0, b0), 0)
        assert both / ((x1 - x0) * (y1 - y0) + (a1 - a0) * (b1 - b0) - both) > 0.5
    assert nothing.scores is None or not (nothing.scores > 0.5).any()


@pytest.mark.usefixtures("library")
def test_masks_are_refused() -> None:
    images, _ = _scenes()
    with pytest.raises(DataError, match="yolov8 learns from one Boxes per sample, not from Tensor"):
        YoloDetector(classes=("a",)).loss(images, Batch((images,), torch.zeros(3, 72, 88, dtype=torch.int64)))


@pytest.mark.usefixtures("library")
def test_its_import_prints_nothing_and_leaves_opencvs_threads() -> None:
    code = (
        "import cv2; before = cv2.getNumThreads(); from fusionkit_downstream.yolo import YoloDetector;"
        "YoloDetector(classes=('a',)); assert cv2.getNumThreads() == before"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_without_the_library_the_extra_and_its_licence_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from fusionkit_downstream import yolo

    yolo._load_ultralytics.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "ultralytics"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    with pytest.raises(UsageError, match=r"image-fusionkit\[yolo\].*AGPL"):
        YoloDetector(YoloOptions(), classes=("a",))
    yolo._load_ultralytics.cache_clear()
