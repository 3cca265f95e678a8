"""Fused labelled data sets: images as ``fuse`` makes them, labels read back, interrupted and shared work the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import fusionkit
from fusionkit.contracts.label_types import LabelKind
from fusionkit.data.labels import find_labelled, read_boxes, read_mask
from fusionkit.errors import DataError, UsageError
from fusionkit.fuse.fused_dataset import DATASET_RECORD, FusedDataset, fuse_dataset
from fusionkit.tasks import IVIF

SIZE = (24, 32)
CLASSES = ("person", "a 'car': #1")


@pytest.fixture
def streets(tmp_path: Path) -> Path:
    """Three pairs for training and two to test, with boxes drawn on either source, and masks."""
    draw = np.random.default_rng(0)
    root = tmp_path / "streets"
    for split, names in {"train": "abc", "test": "de"}.items():
        for folder in ("ir", "vi", "label_ir", "label_vi", "masks"):
            (root / split / folder).mkdir(parents=True)
        for name in names:
            place = root / split
            Image.fromarray(draw.integers(0, 256, SIZE, dtype=np.uint8)).save(place / "ir" / f"{name}.png")
            Image.fromarray(draw.integers(0, 256, (*SIZE, 3), dtype=np.uint8)).save(place / "vi" / f"{name}.png")
            Image.fromarray(draw.integers(0, 2, SIZE, dtype=np.uint8)).save(place / "masks" / f"{name}.png")
            (place / "label_ir" / f"{name}.txt").write_text("0 0.5 0.5 0.25 0.25\n1 0.25 0.25 0.5 0.5\n")
            (place / "label_vi" / f"{name}.txt").write_text("0 0.5 0.5 0.24 0.24\n0 0.8 0.8 0.2 0.2\n")
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    return root


def _plan(root: Path, out: Path, *folders: str, kind: LabelKind = "detection", **changes: Any) -> FusedDataset:
    labelled = tuple(find_labelled(root, IVIF, kind, label_folder=folder) for folder in folders)
    settings = {"model": fusionkit.load("average", "ivif", device="cpu"), "form": "yolo", **changes}
    return FusedDataset(labelled, out=out, folders=folders, **settings)


def _content(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def test_yolo_is_laid_out_as_ultralytics_reads_it(streets: Path, tmp_path: Path) -> None:
    record = fuse_dataset(_plan(streets, tmp_path / "out", "label_ir"))
    out = tmp_path / "out"
    data = yaml.safe_load((out / "data.yaml").read_text())
    assert data["names"] == dict(enumerate(CLASSES))
    assert (data["train"], data["val"], data["test"]) == ("images/train", "images/test", "images/test")
    for split, names in {"train": "abc", "test": "de"}.items():
        assert [f.name for f in sorted((out / data[split]).iterdir())] == [f"{name}.png" for name in names]
        for name in names:
            # Ultralytics finds the labels of an image by putting labels in the place of images.
            boxes = read_boxes(out / "labels" / split / f"{name}.txt", SIZE, CLASSES)
            truth = read_boxes(streets / split / "label_ir" / f"{name}.txt", SIZE, CLASSES)
            torch.testing.assert_close(boxes.corners, truth.corners, atol=1e-5, rtol=0)
            assert torch.equal(boxes.classes, truth.classes)
            fused = fusionkit.load("average", "ivif", device="cpu").fuse(
                streets / split / "ir" / f"{name}.png", streets / split / "vi" / f"{name}.png"
            )
            fused.save(tmp_path / "one.png")
            assert np.array_equal(
                np.asarray(Image.open(tmp_path / "one.png")),
                np.asarray(Image.open(out / "images" / split / f"{name}.png")),
            )
    assert record["complete"]
    assert (record["images"], record["boxes"], record["splits"]) == (5, 10, {"train": 3, "test": 2})
    assert json.loads((out / DATASET_RECORD).read_text()) == record


def test_boxes_of_two_folders_are_united(streets: Path, tmp_path: Path) -> None:
    record = fuse_dataset(_plan(streets, tmp_path / "out", "label_ir", "label_vi", form="voc"))
    assert (record["boxes"], record["duplicates"]) == (15, 5)
    boxes = read_boxes(tmp_path / "out" / "Annotations" / "a.xml", SIZE, CLASSES)
    assert boxes.classes.tolist() == [0, 1, 0]
    assert boxes.corners[0].tolist() == [12, 9, 20, 15]
    assert (tmp_path / "out" / "ImageSets" / "Main" / "test.txt").read_text() == "d\ne\n"


def test_coco_has_one_file_per_split(streets: Path, tmp_path: Path) -> None:
    fuse_dataset(_plan(streets, tmp_path / "out", "label_vi", form="coco"))
    train = json.loads((tmp_path / "out" / "annotations" / "instances_train.json").read_text())
    assert [image["file_name"] for image in train["images"]] == ["a.png", "b.png", "c.png"]
    assert len(train["annotations"]) == 6
    assert [category["name"] for category in train["categories"]] == list(CLASSES)


def test_masks_keep_their_ids(streets: Path, tmp_path: Path) -> None:
    fuse_dataset(_plan(streets, tmp_path / "out", "masks", kind="segmentation", form="mask"))
    made, truth = tmp_path / "out" / "masks" / "test" / "d.png", streets / "test" / "masks" / "d.png"
    assert torch.equal(read_mask(made), read_mask(truth))


def test_a_stack_holds_the_channels_of_all_sources(streets: Path, tmp_path: Path) -> None:
    record = fuse_dataset(_plan(streets, tmp_path / "out", "label_ir", model=None))
    there, pages = cv2.imreadmulti(str(tmp_path / "out" / "images" / "train" / "a.tiff"), flags=cv2.IMREAD_UNCHANGED)
    assert there
    infrared = np.asarray(Image.open(streets / "train" / "ir" / "a.png"))
    visible = np.asarray(Image.open(streets / "train" / "vi" / "a.png"))
    assert np.array_equal(np.stack(pages), np.stack([infrared, *np.moveaxis(visible, 2, 0)]))
    assert yaml.safe_load((tmp_path / "out" / "data.yaml").read_text())["channels"] == 4
    assert record["channels"] == ["infrared", "visible red", "visible green", "visible blue"]


def test_a_source_that_turns_coloured_is_refused_in_a_stack(streets: Path, tmp_path: Path) -> None:
    colour = np.random.default_rng(1).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    Image.fromarray(colour).save(streets / "train" / "ir" / "b.png")
    with pytest.raises(DataError, match=r"b\.png: has colour, and the same source of the first pair is grey"):
        fuse_dataset(_plan(streets, tmp_path / "out", "label_ir", model=None))


class _Killed(Exception):
    pass


def _stop_after(number: int) -> Callable[[str, int, int], None]:
    def report(_: str, done: int, __: int) -> None:
        if done == number:
            raise _Killed

    return report


@pytest.mark.parametrize("form", ["yolo", "coco"])
def test_stopped_and_resumed_equals_the_whole(streets: Path, tmp_path: Path, form: str) -> None:
    fuse_dataset(_plan(streets, tmp_path / "whole", "label_ir", form=form))
    for number in (2, 4):
        with pytest.raises(_Killed):
            fuse_dataset(_plan(streets, tmp_path / "out", "label_ir", form=form), report=_stop_after(number))
        assert not json.loads((tmp_path / "out" / DATASET_RECORD).read_text())["complete"]
    made = {f: f.stat().st_mtime_ns for f in (tmp_path / "out" / "images").rglob("*.png")}
    fuse_dataset(_plan(streets, tmp_path / "out", "label_ir", form=form))
    assert _content(tmp_path / "out") == _content(tmp_path / "whole")
    assert len(made) == 4
    assert all(file.stat().st_mtime_ns == time for file, time in made.items())


def test_shares_together_equal_the_whole(streets: Path, tmp_path: Path) -> None:
    fuse_dataset(_plan(streets, tmp_path / "whole", "label_ir"))
    done = [fuse_dataset(_plan(streets, tmp_path / "out", "label_ir", shard=(k, 3)))["complete"] for k in (2, 3, 1)]
    assert done == [False, False, True]
    assert _content(tmp_path / "out") == _content(tmp_path / "whole")


def test_a_folder_made_otherwise_is_refused(streets: Path, tmp_path: Path) -> None:
    fuse_dataset(_plan(streets, tmp_path / "out", "label_ir"))
    with pytest.raises(UsageError, match=r"was made with another fingerprints, label_folders"):
        fuse_dataset(_plan(streets, tmp_path / "out", "label_vi"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("")
    with pytest.raises(UsageError, match="holds something else"):
        fuse_dataset(_plan(streets, tmp_path / "mine", "label_ir"))
    assert [f.name for f in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_two_images_of_one_name_are_refused_before_work(streets: Path, tmp_path: Path) -> None:
    for folder, suffix in {"ir": ".png", "vi": ".png", "label_ir": ".txt"}.items():
        (streets / "test" / folder / f"d{suffix}").rename(streets / "test" / folder / f"a{suffix}")
    assert fuse_dataset(_plan(streets, tmp_path / "yolo", "label_ir"))["images"] == 5
    with pytest.raises(DataError, match="two images would be called a"):
        fuse_dataset(_plan(streets, tmp_path / "voc", "label_ir", form="voc"))
    assert not (tmp_path / "voc").exists()


@pytest.mark.parametrize(
    ("folders", "kind", "form", "what"),
    [
        (("label_ir",), "detection", "mask", "--format mask: does not hold detection labels"),
        (("masks",), "segmentation", "coco", "--format coco: does not hold segmentation labels"),
        (("masks", "masks"), "segmentation", "mask", "masks are taken from one folder"),
    ],
)
def test_labels_of_another_kind_are_refused(
    streets: Path, tmp_path: Path, folders: tuple[str, ...], kind: LabelKind, form: str, what: str
) -> None:
    with pytest.raises(UsageError, match=what):
        fuse_dataset(_plan(streets, tmp_path / "out", *folders, kind=kind, form=form))
    assert not (tmp_path / "out").exists()
