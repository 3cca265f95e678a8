"""COCO files become YOLO text: the boxes are the same, and each fault is one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from fusionkit.data.labels import read_boxes
from fusionkit.data.labels.coco_files import coco_to_yolo
from fusionkit.errors import DataError, UsageError

COCO: dict[str, Any] = {
    "images": [
        {"id": 7, "file_name": "train/a.jpg", "height": 40, "width": 80},
        {"id": 9, "file_name": "b.png", "height": 10, "width": 20},
    ],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 3, "bbox": [8, 4, 16, 20], "iscrowd": 0},
        {"id": 2, "image_id": 7, "category_id": 1, "bbox": [0, 0, 80, 40]},
        {"id": 3, "image_id": 7, "category_id": 1, "bbox": [0, 0, 60, 30], "iscrowd": 1},
    ],
    "categories": [{"id": 3, "name": "car"}, {"id": 1, "name": "person", "supercategory": "being"}],
}


def _write(path: Path, **changes: Any) -> Path:
    path.write_text(json.dumps({**COCO, **changes}))
    return path


def test_boxes_and_names_are_the_same(tmp_path: Path) -> None:
    assert coco_to_yolo(_write(tmp_path / "c.json"), tmp_path / "label") == (2, 2)
    assert sorted(file.name for file in (tmp_path / "label").iterdir()) == ["a.txt", "b.txt", "classes.txt"]
    classes = (tmp_path / "label" / "classes.txt").read_text().splitlines()
    assert classes == ["person", "car"]
    found = read_boxes(tmp_path / "label" / "a.txt", (40, 80), classes)
    assert found.classes.tolist() == [1, 0]
    torch.testing.assert_close(found.corners, torch.tensor([[8.0, 4, 24, 24], [0, 0, 80, 40]]), atol=1e-5, rtol=0)
    assert (tmp_path / "label" / "b.txt").read_text() == ""


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"images": 5}, "is no COCO file of instances: images"),
        (
            {"annotations": [{"image_id": 7, "category_id": 1, "bbox": [1, 2, 3]}]},
            "is no COCO file .*annotations.0.bbox",
        ),
        ({"annotations": [{"image_id": 8, "category_id": 1, "bbox": [0, 0, 1, 1]}]}, "no image has the id 8"),
        ({"annotations": [{"image_id": 7, "category_id": 2, "bbox": [0, 0, 1, 1]}]}, "no category has the id 2"),
        ({"images": [*COCO["images"], {**COCO["images"][0], "id": 2}]}, "two images are called a"),
    ],
)
def test_each_fault_is_one_line_and_nothing_is_written(tmp_path: Path, changes: dict[str, Any], what: str) -> None:
    with pytest.raises(DataError, match=what) as raised:
        coco_to_yolo(_write(tmp_path / "c.json", **changes), tmp_path / "label")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "label").exists()


@pytest.mark.parametrize(
    ("text", "what"), [("{", "cannot be read as JSON"), ("[]", "is no COCO file"), (None, "no such")]
)
def test_other_files_are_refused(tmp_path: Path, text: str | None, what: str) -> None:
    if text is not None:
        (tmp_path / "c.json").write_text(text)
    with pytest.raises(DataError, match=what):
        coco_to_yolo(tmp_path / "c.json", tmp_path / "label")


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "label").mkdir()
    (tmp_path / "label" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        coco_to_yolo(_write(tmp_path / "c.json"), tmp_path / "label")
    assert [file.name for file in (tmp_path / "label").iterdir()] == ["mine.txt"]
