"""Listings, manifests and labels that are damaged or hostile are refused by name, never read as something else."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusionkit.data import find_pairs
from fusionkit.data.labels import read_boxes
from fusionkit.data.labels.class_names import read_classes
from fusionkit.data.manifest import read_manifest
from fusionkit.errors import DataError
from fusionkit.tasks import IVIF
from tests.support.refusals import refusal

OBJECT = "<object><name>car</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox></object>"


@pytest.mark.parametrize(
    "text",
    [
        f'<annotation xmlns="http://host.robots.ox.ac.uk/">{OBJECT}</annotation>',
        f"<Annotation>{OBJECT}</Annotation>",
        "<html><body>404 not found</body></html>",
        f"<x><annotation>{OBJECT}</annotation></x>",
    ],
)
def test_another_xml_file_is_not_an_image_with_nothing_in_it(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.xml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="'annotation'"):
        read_boxes(file, (10, 10), ("car",))


def test_a_nested_object_is_a_part_and_counts_once(tmp_path: Path) -> None:
    file = tmp_path / "x.xml"
    inner = OBJECT.replace("</object>", f"<part>{OBJECT}</part></object>")
    file.write_text(f"<annotation>{inner}</annotation>", encoding="utf-8")
    assert len(read_boxes(file, (10, 10), ("car",)).corners) == 1


def test_classes_numbered_from_1_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "classes.txt"
    file.write_text("1 back\n2 car\n", encoding="utf-8")
    with pytest.raises(DataError, match="begin at 0"):
        read_classes(file)
    file.write_text("0 back\n1 car\n", encoding="utf-8")
    assert read_classes(file) == ("back", "car")


def test_a_class_list_of_any_length_is_refused_at_once(tmp_path: Path) -> None:
    file = tmp_path / "classes.txt"
    file.write_text("\n".join(f"c{k}" for k in range(100_000)), encoding="utf-8")
    with pytest.raises(DataError, match="at most"):
        read_classes(file)
    file.write_text("9" * 6000 + " car\n", encoding="utf-8")
    assert len(read_classes(file)) == 1


@pytest.mark.parametrize("name", [b"caf\xe9.png", b"a\x1b[31m.png", b"a\rb.png", "a\u202eb.png".encode()])
def test_a_file_name_that_no_record_could_hold_is_refused_at_the_listing(tmp_path: Path, name: bytes) -> None:
    for folder in ("ir", "vi"):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "x.png"), np.zeros((4, 4), np.uint8))
        os.rename(tmp_path / folder / "x.png", os.path.join(os.fsencode(tmp_path / folder), name))
    with pytest.raises(DataError, match="rename it") as caught:
        find_pairs(str(tmp_path), IVIF)
    assert "\x1b" not in str(caught.value)
    str(caught.value).encode()


def manifest(folder: Path, *, dataset: str = "d", name: str = "n") -> Path:
    file = folder / "MANIFEST.csv"
    file.write_bytes(
        b"task,dataset,split,name,file_a,file_b\n"
        + f'ivif,"{dataset}",test,"{name}",a.png,b.png\n'.encode("utf-8", "surrogatepass")
    )
    return file


@pytest.mark.parametrize("bad", ["/elsewhere/other", "../../other", "..", "a\x1bb", "x" * 300, "a\\b"])
@pytest.mark.parametrize("column", ["dataset", "name"])
def test_names_in_a_manifest_that_lead_elsewhere_are_refused(tmp_path: Path, column: str, bad: str) -> None:
    with pytest.raises(DataError, match=f"line 2: {column}"):
        read_manifest(manifest(tmp_path, **{column: bad}), IVIF)


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_any_bytes_are_labels_classes_or_one_line(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    for name in ("x.xml", "x.txt", "classes.txt", "MANIFEST.csv"):
        (folder / name).write_bytes(content)
    for said in (
        refusal(lambda: read_boxes(folder / "x.xml", (10, 10), ("car",))),
        refusal(lambda: read_boxes(folder / "x.txt", (10, 10), ("car",))),
        refusal(lambda: read_classes(folder / "classes.txt")),
        refusal(lambda: read_manifest(folder / "MANIFEST.csv", IVIF)),
    ):
        assert said is None or len(said) < 1500
