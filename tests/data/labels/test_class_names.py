"""classes.txt: its forms, where it is looked for, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusionkit.data.labels.class_names import find_classes, read_classes
from fusionkit.errors import DataError


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("person\ncar\n", ("person", "car")),
        ("\ufeffperson\r\ncar stop\r\n\r\n", ("person", "car stop")),
        ("0 background\n1 crop\n2 weed", ("background", "crop", "weed")),
        ("0: background\n1: traffic light", ("background", "traffic light")),
        ("1 lane\n3 lanes", ("1 lane", "3 lanes")),
        ("0 1 lane\n1 2 lanes", ("1 lane", "2 lanes")),
    ],
)
def test_a_line_is_a_class_and_may_begin_with_its_id(tmp_path: Path, text: str, names: tuple[str, ...]) -> None:
    (tmp_path / "classes.txt").write_bytes(text.encode())
    assert read_classes(tmp_path / "classes.txt") == names


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "is empty: write one class per line"),
        ("a\n\nb", "line 2 is empty"),
        ("a\nb\na", "names the class 'a' twice"),
        ("\n".join(map(str, range(256))), "names 256 classes; at most 255"),
    ],
)
def test_an_unusable_list_is_named(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(DataError, match=rf"classes\.txt: {what}"):
        read_classes(tmp_path / "classes.txt")


def test_the_list_is_found_beside_or_above_the_labels_but_not_above_the_data_set(tmp_path: Path) -> None:
    labels = tmp_path / "set" / "train" / "label"
    labels.mkdir(parents=True)
    (tmp_path / "classes.txt").write_text("outside")
    with pytest.raises(DataError, match=r"label: no classes\.txt there or beside it"):
        find_classes(labels, "detection", top=tmp_path / "set")
    for place, name in ((tmp_path / "set", "far"), (tmp_path / "set" / "train", "near"), (labels, "in")):
        (place / "classes.txt").write_text(name)
        assert find_classes(labels, "detection", top=tmp_path / "set") == (name,)


def test_the_list_of_a_kind_or_of_a_folder_comes_first(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("masks")
    (tmp_path / "classes_det.txt").write_text("boxes")
    (tmp_path / "classes_human.txt").write_text("human")
    (tmp_path / "classes.txt").write_text("masks")
    assert find_classes(tmp_path / "label_det", "detection", top=tmp_path) == ("boxes",)
    assert find_classes(tmp_path / "label", "detection", top=tmp_path) == ("boxes",)
    assert find_classes(tmp_path / "label", "segmentation", top=tmp_path) == ("masks",)
    assert find_classes(tmp_path / "label_human", "detection", top=tmp_path) == ("human",)
