"""The labels of the published infrared-visible data sets: found in their layouts, and read with their classes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fusionkit.data import verify
from fusionkit.data.dataset_layout import Layout, Part
from fusionkit.data.labels import count_labels, verify_labels
from fusionkit.data.named_dataset import NamedDataset, PublishedLabels
from fusionkit.data.published.ivif import FMB, LLVIP, M3FD, MFNET, MSRS, ROADSCENE
from fusionkit.errors import DataError, UsageError
from fusionkit.tasks import IVIF

_RECORDS = (MSRS, FMB, M3FD, LLVIP, MFNET)
_NAMES = ("00001D", "00002N")


def _template(part: Part, labels: PublishedLabels) -> str:
    return part.masks if labels.kind == "segmentation" else part.boxes


_CASES = [
    pytest.param(record, layout, labels, id=f"{record.name}-{labels.kind}-{record.layouts.index(layout)}")
    for record in _RECORDS
    for labels in record.labels
    for layout in record.layouts
    if any(_template(part, labels) for part in layout.parts)
]


def _fill(template: str, name: str) -> str:
    return re.sub(r"\{\w+\}", name, template).replace("*", "mid")


def _make(root: Path, layout: Layout, labels: PublishedLabels, form: str) -> None:
    """Two pairs of every part, with every class in each label."""
    for part in layout.parts:
        for name in _NAMES:
            for source in part.sources:
                file = root / (_fill(source, name) + ".png")
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.new("L", (20, 10), 50).save(file)
            label = root / (_fill(_template(part, labels), name) + form)
            label.parent.mkdir(parents=True, exist_ok=True)
            _write_label(label, labels.classes)
        if part.listed:
            (root / part.listed).parent.mkdir(parents=True, exist_ok=True)
            (root / part.listed).write_text("\n".join(_NAMES))


def _write_label(file: Path, classes: tuple[str, ...]) -> None:
    if file.suffix == ".png":
        Image.fromarray(np.resize(np.arange(len(classes), dtype=np.uint8), (10, 20))).save(file)
    elif file.suffix == ".txt":
        file.write_text("".join(f"{number} 0.5 0.5 0.2 0.2\n" for number in range(len(classes))))
    else:
        box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
        objects = "".join(f"<object><name>{name}</name>{box}</object>" for name in classes)
        file.write_text(f"<annotation>{objects}</annotation>")


@pytest.mark.parametrize(("record", "layout", "labels"), _CASES)
def test_the_labels_of_a_layout_are_found_and_fit(
    tmp_path: Path, record: NamedDataset, layout: Layout, labels: PublishedLabels
) -> None:
    xml = record in (M3FD, LLVIP) and "labels/" not in str([part.boxes for part in layout.parts])
    _make(tmp_path, layout, labels, ".png" if labels.kind == "segmentation" else ".xml" if xml else ".txt")
    found = record.locate(tmp_path, IVIF, labels=labels.kind)
    labelled = [part for part in layout.parts if _template(part, labels)]
    assert len(found) == 2 * len(labelled)
    assert set(found.splits) == {part.split for part in labelled}
    sound = type(found)(IVIF, found.pairs, found.origin, labels=found.labels)
    verify(sound)
    verify_labels(sound)
    assert list(count_labels(sound)) == list(labels.classes)
    assert min(count_labels(sound).values()) > 0
    assert "publishes it" in found.origin
    # Without labels nothing of them is seen, and no pair is lost.
    plain = record.locate(tmp_path, IVIF)
    assert len(plain) >= len(found)
    assert plain.labels is None


def test_every_record_says_what_its_classes_rest_on() -> None:
    assert sum(len(record.labels) for record in _RECORDS) == len(_RECORDS) + 1
    for record in _RECORDS:
        for labels in record.labels:
            assert len(labels.verified) > 40
            assert len(set(labels.classes)) == len(labels.classes)


def test_the_numbers_of_classes_are_those_of_the_papers() -> None:
    counts = {(record.name, labels.kind): len(labels.classes) for record in _RECORDS for labels in record.labels}
    assert counts["MSRS", "segmentation"] == counts["MFNet", "segmentation"] == 9
    assert counts["FMB", "segmentation"] == 15
    assert counts["M3FD", "detection"] == 6
    assert counts["LLVIP", "detection"] == 1


def test_a_set_without_such_labels_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="data set RoadScene: no detection labels are known"):
        ROADSCENE.locate(tmp_path, IVIF, labels="detection")
    with pytest.raises(UsageError, match="no segmentation labels are known; it has labels for detection"):
        LLVIP.locate(tmp_path, IVIF, labels="segmentation")


def test_images_without_the_labels_that_belong_to_them_are_reported(tmp_path: Path) -> None:
    _make(tmp_path, LLVIP.layouts[0], LLVIP.labels[0], ".xml")
    (tmp_path / "Annotations" / "00001D.xml").unlink()
    with pytest.raises(DataError, match="LLVIP/00001D: no label for"):
        verify_labels(LLVIP.locate(tmp_path, IVIF, labels="detection"))
