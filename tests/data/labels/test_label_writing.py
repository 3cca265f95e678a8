"""Written labels are read back as they were, by this package's readers and by pycocotools."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fusionkit.contracts.label_types import Boxes
from fusionkit.data.labels import read_boxes, read_mask
from fusionkit.data.labels.label_writing import merge_boxes, write_coco, write_mask, write_voc, write_yolo

SIZE = (96, 128)
CLASSES = ("person", "car", 'a: "b" & <c>')


@st.composite
def boxes(draw: st.DrawFn) -> Boxes:
    """Up to six boxes on a grid of quarter pixels, with sides of at least 2 pixels."""
    corners, ids = [], []
    for _ in range(draw(st.integers(0, 6))):
        x0, y0 = draw(st.integers(0, 4 * 120)), draw(st.integers(0, 4 * 90))
        w, h = draw(st.integers(8, 4 * SIZE[1] - x0)), draw(st.integers(8, 4 * SIZE[0] - y0))
        corners.append([value / 4 for value in (x0, y0, x0 + w, y0 + h)])
        ids.append(draw(st.integers(0, len(CLASSES) - 1)))
    return Boxes(torch.tensor(corners).reshape(-1, 4), torch.tensor(ids, dtype=torch.int64))


@given(boxes())
def test_yolo_and_voc_files_are_read_back(tmp_path_factory: pytest.TempPathFactory, given_boxes: Boxes) -> None:
    folder = tmp_path_factory.mktemp("labels")
    write_yolo(folder / "a.txt", given_boxes, SIZE)
    write_voc(folder / "a.xml", given_boxes, SIZE, CLASSES, image="a.png")
    for file in ("a.txt", "a.xml"):
        read = read_boxes(folder / file, SIZE, CLASSES)
        assert torch.equal(read.classes, given_boxes.classes)
        torch.testing.assert_close(read.corners, given_boxes.corners, atol=1e-3, rtol=0)


def test_pycocotools_reads_the_coco_file(tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    two = Boxes(torch.tensor([[1.0, 2, 11, 22], [0, 0, 4, 8]]), torch.tensor([2, 0]))
    none = Boxes(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    write_coco(tmp_path / "c.json", {"a.png": (SIZE, two), "b.png": (SIZE, none)}, CLASSES)
    read = coco.COCO(str(tmp_path / "c.json"))
    assert [image["file_name"] for image in read.loadImgs(read.getImgIds())] == ["a.png", "b.png"]
    found = read.loadAnns(read.getAnnIds(imgIds=[1]))
    assert [annotation["bbox"] for annotation in found] == [[1, 2, 10, 20], [0, 0, 4, 8]]
    assert [read.cats[annotation["category_id"]]["name"] for annotation in found] == [CLASSES[2], CLASSES[0]]
    assert [annotation["area"] for annotation in found] == [200, 32]
    assert read.getAnnIds(imgIds=[2]) == []
    assert json.loads((tmp_path / "c.json").read_text())["images"][0]["height"] == SIZE[0]


def test_a_mask_is_read_back(tmp_path: Path) -> None:
    mask = torch.randint(0, 256, SIZE)
    write_mask(tmp_path / "m.png", mask)
    assert torch.equal(read_mask(tmp_path / "m.png"), mask)


def _iou(a: list[float], b: list[float]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return width * height / (area - width * height)


@given(boxes(), boxes(), st.floats(0.05, 1))
def test_a_union_keeps_the_first_and_drops_only_what_overlaps(first: Boxes, second: Boxes, overlap: float) -> None:
    united, left_out = merge_boxes(first, second, overlap=overlap)
    n = len(first.classes)
    assert torch.equal(united.corners[:n], first.corners)
    assert torch.equal(united.classes[:n], first.classes)
    assert len(united.classes) == n + len(second.classes) - left_out
    assert left_out <= n
    kept = [(box, k) for box, k in zip(united.corners[n:].tolist(), united.classes[n:].tolist(), strict=True)]
    for box, k in zip(second.corners.tolist(), second.classes.tolist(), strict=True):
        if (box, k) not in kept:
            same = [c for c, own in zip(first.corners.tolist(), first.classes.tolist(), strict=True) if own == k]
            assert max(_iou(box, c) for c in same) >= overlap - 1e-6


@given(boxes(), st.floats(0.05, 1))
def test_a_union_with_itself_is_itself(own: Boxes, overlap: float) -> None:
    united, left_out = merge_boxes(own, own, overlap=overlap)
    assert left_out == len(own.classes)
    assert torch.equal(united.corners, own.corners)


def test_objects_that_differ_in_class_or_place_are_all_kept() -> None:
    first = Boxes(torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([0]))
    second = Boxes(torch.tensor([[0.0, 0, 10, 10], [4, 0, 14, 10], [0, 1, 10, 11]]), torch.tensor([1, 0, 0]))
    united, left_out = merge_boxes(first, second, overlap=0.5)
    assert left_out == 1
    assert united.corners.tolist() == [[0, 0, 10, 10], [0, 0, 10, 10], [4, 0, 14, 10]]
