"""Labelled pairs by every kind of spec, from small trees of real files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fusionkit.contracts.label_types import LabelKind, LabelSpec
from fusionkit.data import find_pairs, verify
from fusionkit.data.labels import count_labels, find_labelled, verify_labels
from fusionkit.data.manifest import FILENAME, read_manifest, write_manifest
from fusionkit.data.pair_set import PairSet
from fusionkit.errors import DataError, UsageError
from fusionkit.tasks import IVIF, MIF

_VOC = (
    "<annotation><size><width>16</width><height>12</height></size><object><name>car</name>"
    "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>8</xmax><ymax>9</ymax></bndbox></object></annotation>"
)


def _image(file: Path, value: int = 0) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((12, 16), value, np.uint8)
    pixels[0, 0] = 1
    Image.fromarray(pixels).save(file)


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def _sources(root: Path, *names: str) -> None:
    for name in names:
        _image(root / "ir" / f"{name}.png", 50)
        _image(root / "vi" / f"{name}.jpg", 90)


def _labelled(root: Path, kind: LabelKind, *names: str, folder: str = "label", form: str = "txt") -> None:
    for name in names:
        if kind == "segmentation":
            _image(root / folder / f"{name}.png")
        else:
            _write(root / folder / f"{name}.{form}", "1 0.5 0.5 0.25 0.25\n" if form == "txt" else _VOC)


def _sound(found: PairSet) -> PairSet:
    verify(found)
    verify_labels(found)
    return found


@pytest.mark.parametrize("folder", ["label", "Labels", "label_seg", "Segmentation_labels", "masks"])
def test_masks_beside_the_sources(tmp_path: Path, folder: str) -> None:
    _sources(tmp_path, "1", "2")
    _labelled(tmp_path, "segmentation", "1", "2", folder=folder)
    _write(tmp_path / "classes.txt", "ground\nperson\n")
    found = _sound(find_labelled(tmp_path, IVIF, "segmentation"))
    assert found.labels == LabelSpec("segmentation", ("ground", "person"))
    assert [pair.label for pair in found] == [tmp_path / folder / "1.png", tmp_path / folder / "2.png"]
    assert count_labels(found) == {"ground": 2 * (12 * 16 - 1), "person": 2}


@pytest.mark.parametrize("form", ["txt", "xml"])
@pytest.mark.parametrize("below", ["", "train"])
def test_boxes_beside_the_sources_and_beside_those_of_a_split(tmp_path: Path, form: str, below: str) -> None:
    _sources(tmp_path / below, "1", "2")
    _labelled(tmp_path / below, "detection", "1", "2", folder="Annotations", form=form)
    _write(tmp_path / below / "Annotations" / "classes.txt", "person\ncar\n")
    found = _sound(find_labelled(str(tmp_path), IVIF, "detection", split="train"))
    assert found.labels == LabelSpec("detection", ("person", "car"))
    assert [pair.label and pair.label.suffix for pair in found] == [f".{form}"] * 2
    assert count_labels(found) == {"person": 0, "car": 2}


def test_both_kinds_lie_side_by_side(tmp_path: Path) -> None:
    _sources(tmp_path, "1")
    _labelled(tmp_path, "segmentation", "1")
    _labelled(tmp_path, "detection", "1", folder="label_det")
    _write(tmp_path / "classes.txt", "ground\nperson\n")
    _write(tmp_path / "classes_det.txt", "person\ncar\n")
    assert _sound(find_labelled(tmp_path, IVIF, "segmentation")).labels == LabelSpec(
        "segmentation", ("ground", "person")
    )
    assert _sound(find_labelled(tmp_path, IVIF, "detection")).labels == LabelSpec("detection", ("person", "car"))


def test_without_labels_a_folder_is_as_it_was(tmp_path: Path) -> None:
    _sources(tmp_path, "1")
    _labelled(tmp_path, "segmentation", "1")
    _write(tmp_path / "classes.txt", "ground\nperson\n")
    plain, labelled = find_pairs(tmp_path, IVIF), find_labelled(tmp_path, IVIF, "segmentation")
    assert (plain.labels, plain[0].label) == (None, None)
    assert plain.fingerprint() != labelled.fingerprint()


def test_labels_and_their_classes_enter_the_fingerprint(tmp_path: Path) -> None:
    _sources(tmp_path, "1")
    _labelled(tmp_path, "detection", "1")
    _write(tmp_path / "classes.txt", "person\ncar\n")
    seen = {find_labelled(tmp_path, IVIF, "detection").fingerprint() for _ in range(2)}
    assert len(seen) == 1
    _write(tmp_path / "classes.txt", "car\nperson\n")
    seen.add(find_labelled(tmp_path, IVIF, "detection").fingerprint())
    _write(tmp_path / "label" / "1.txt", "0 0.5 0.5 0.25 0.25\n")
    seen.add(find_labelled(tmp_path, IVIF, "detection").fingerprint())
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("missing", "what"),
    [("label", "no sub-folder with boxes .* for detection"), ("classes.txt", r"label: no classes\.txt")],
)
def test_what_a_folder_lacks_is_named(tmp_path: Path, missing: str, what: str) -> None:
    _sources(tmp_path, "1")
    if missing != "label":
        _labelled(tmp_path, "detection", "1")
    _labelled(tmp_path, "segmentation", "1")
    if missing != "classes.txt":
        _write(tmp_path / "classes.txt", "person\ncar\n")
    with pytest.raises(DataError, match=what):
        find_labelled(tmp_path, IVIF, "detection")


def test_a_pair_without_label_and_one_with_two_are_reported(tmp_path: Path) -> None:
    _sources(tmp_path, "1", "2")
    _labelled(tmp_path, "detection", "1")
    _labelled(tmp_path, "detection", "1", form="xml")
    _write(tmp_path / "classes.txt", "person\ncar\n")
    with pytest.raises(DataError) as caught:
        verify_labels(find_labelled(tmp_path, IVIF, "detection"))
    message = str(caught.value)
    assert "/1: two labels (1.txt, 1.xml)" in message
    assert f"/2: no label for {tmp_path / 'ir' / '2.png'}" in message


def _manifest(root: Path, *rows: str, head: str = "dataset,split,name,file_ir,file_vi,file_label") -> Path:
    _write(root / FILENAME, "\n".join([head, *rows]) + "\n")
    return root / FILENAME


def _set(root: Path, name: str, kind: LabelKind, *names: str, classes: str) -> list[str]:
    _sources(root / name, *names)
    _labelled(root / name, kind, *names)
    _write(root / name / "classes.txt", classes)
    form = "png" if kind == "segmentation" else "txt"
    return [f"{name},train,{n},{name}/ir/{n}.png,{name}/vi/{n}.jpg,{name}/label/{n}.{form}" for n in names]


def test_a_manifest_whose_columns_are_named_by_role_needs_no_task(tmp_path: Path) -> None:
    rows = _set(tmp_path, "a", "detection", "1", "2", classes="person\ncar")
    _manifest(tmp_path, *rows)
    found = _sound(find_labelled(tmp_path, IVIF, "detection"))
    assert [pair.key for pair in found] == ["a/1", "a/2"]
    assert found[0].files == (tmp_path / "a/ir/1.png", tmp_path / "a/vi/1.jpg")
    assert len(find_pairs(tmp_path, IVIF)) == 2
    with pytest.raises(DataError, match="no column task"):
        find_pairs(tmp_path, MIF)


def test_each_kind_takes_the_rows_that_have_it(tmp_path: Path) -> None:
    rows = _set(tmp_path, "a", "detection", "1", classes="person\ncar")
    rows += _set(tmp_path, "b", "segmentation", "1", "2", classes="ground\nroad")
    _manifest(tmp_path, *rows)
    assert [pair.key for pair in find_labelled(tmp_path, IVIF, "detection")] == ["a/1"]
    assert [pair.key for pair in find_labelled(tmp_path, IVIF, "segmentation")] == ["b/1", "b/2"]


def test_both_kinds_of_one_row_stand_in_columns_of_their_own(tmp_path: Path) -> None:
    rows = _set(tmp_path, "a", "segmentation", "1", classes="ground\nroad")
    _labelled(tmp_path / "a", "detection", "1", folder="label_det")
    _write(tmp_path / "a" / "classes_det.txt", "person\ncar")
    for column in ("file_label_det", "label_detection", "label_det"):
        head = f"dataset,split,name,file_ir,file_vi,file_label,{column}"
        _manifest(tmp_path, rows[0] + ",a/label_det/1.txt", head=head)
        assert _sound(find_labelled(tmp_path, IVIF, "detection")).labels == LabelSpec("detection", ("person", "car"))
        assert find_labelled(tmp_path, IVIF, "segmentation")[0].label == tmp_path / "a/label/1.png"


def test_data_sets_of_different_classes_are_chosen_by_name_or_by_folder(tmp_path: Path) -> None:
    rows = _set(tmp_path, "a", "detection", "1", classes="person\ncar")
    rows += _set(tmp_path, "b", "detection", "1", "2", classes="crop\nweed")
    _manifest(tmp_path, *rows)
    with pytest.raises(UsageError, match=r"different classes \(a: person, car; b: crop, weed\): choose one"):
        find_labelled(tmp_path, IVIF, "detection")
    by_name = find_labelled(tmp_path, IVIF, "detection", dataset="b")
    by_folder = find_labelled(tmp_path / "b", IVIF, "detection")
    assert by_name.pairs == by_folder.pairs
    assert by_folder.splits == {"train": 2}
    assert find_pairs(tmp_path / "b", IVIF, split="train").splits == {"train": 2}


def test_a_folder_that_the_manifest_beside_it_does_not_list_is_a_plain_folder(tmp_path: Path) -> None:
    _manifest(tmp_path, *_set(tmp_path, "a", "detection", "1", classes="person\ncar"))
    _set(tmp_path, "c", "detection", "7", classes="person\ncar")
    assert find_labelled(tmp_path / "c", IVIF, "detection").splits == {"": 1}


def test_a_row_without_label_in_a_labelled_data_set_is_reported(tmp_path: Path) -> None:
    rows = _set(tmp_path, "a", "detection", "1", "2", classes="person\ncar")
    _manifest(tmp_path, rows[0], rows[1].rpartition(",")[0] + ",")
    with pytest.raises(DataError, match=r"1 problem in 2 pairs: a/2: no label for .*2\.png"):
        verify_labels(find_labelled(tmp_path, IVIF, "detection"))


def test_a_manifest_without_labels_is_an_error(tmp_path: Path) -> None:
    _manifest(tmp_path, *_set(tmp_path, "a", "detection", "1", classes="person\ncar"))
    with pytest.raises(DataError, match=r"no segmentation labels in a column 'label', and .*/a: no sub-folder"):
        find_labelled(tmp_path, IVIF, "segmentation")


def test_a_manifest_that_names_no_labels_does_not_hide_those_beside_the_sources(tmp_path: Path) -> None:
    _sources(tmp_path, "1", "2")
    _labelled(tmp_path, "detection", "1", "2")
    _write(tmp_path / "classes.txt", "person\ncar\n")
    before = find_labelled(tmp_path, IVIF, "detection")
    write_manifest(tmp_path / FILENAME, find_pairs(tmp_path, IVIF))
    after = _sound(find_labelled(tmp_path, IVIF, "detection"))
    assert [pair.label for pair in after] == [pair.label for pair in before]


def test_the_digest_of_a_label_is_written_read_and_checked(tmp_path: Path) -> None:
    _sources(tmp_path, "1")
    _labelled(tmp_path, "detection", "1")
    _write(tmp_path / "classes.txt", "person\ncar\n")
    write_manifest(tmp_path / FILENAME, find_labelled(tmp_path, IVIF, "detection"))
    found = _sound(find_labelled(tmp_path, IVIF, "detection"))
    assert len(found[0].label_sha256) == 64
    assert found.labels == LabelSpec("detection", ("person", "car"))
    assert read_manifest(tmp_path / FILENAME, IVIF)[0].label is None
    _write(tmp_path / "label" / "1.txt", "0 0.5 0.5 0.25 0.25\n")
    with pytest.raises(DataError, match=r"1\.txt is not the file that the manifest lists: its sha256 differs"):
        verify_labels(found)
    verify_labels(found, digests=False)


def test_split_and_names_choose(tmp_path: Path) -> None:
    rows = _set(tmp_path, "a", "detection", "1", "2", "3", classes="person\ncar")
    _manifest(tmp_path, rows[0], rows[1].replace("train", "test"), rows[2])
    assert [pair.name for pair in find_labelled(tmp_path, IVIF, "detection", split="train")] == ["1", "3"]
    assert [pair.name for pair in find_labelled(tmp_path, IVIF, "detection", names=["2"])] == ["2"]
    with pytest.raises(UsageError, match="has no split 'val'"):
        find_labelled(tmp_path, IVIF, "detection", split="val")


@pytest.fixture(scope="module")
def labelled_dir() -> Path:
    folder = os.environ.get("FUSIONKIT_LABELLED")
    if not folder or not (Path(folder) / FILENAME).is_file():
        pytest.skip("set FUSIONKIT_LABELLED to a folder of labelled pairs with a MANIFEST.csv to run this test")
    return Path(folder)


def test_every_labelled_set_of_a_real_folder_is_sound(labelled_dir: Path) -> None:
    datasets = find_pairs(labelled_dir, IVIF).datasets
    checked = 0
    for dataset in datasets:
        kinds: tuple[LabelKind, ...] = ("segmentation", "detection")
        for kind in kinds:
            try:
                found = find_labelled(labelled_dir / dataset, IVIF, kind)
            except DataError:
                continue
            assert len(found) == datasets[dataset]
            verify_labels(found)
            assert sum(count_labels(found).values()) > 0
            checked += 1
    assert checked >= len(datasets)
