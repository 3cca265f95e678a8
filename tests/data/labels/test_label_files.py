"""Masks, YOLO text and Pascal VOC XML: what is read, and what is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fusionkit.data.labels.label_files import read_boxes, read_mask
from fusionkit.errors import DataError

_CLASSES = ("person", "car")
_IDS = np.random.default_rng(0).integers(0, 9, (7, 5)).astype(np.uint8)


def _voc(*objects: str, size: tuple[int, int] | None = (100, 200)) -> str:
    stated = f"<size><width>{size[1]}</width><height>{size[0]}</height><depth>3</depth></size>" if size else ""
    return f"<annotation>{stated}{''.join(objects)}</annotation>"


def _object(name: str, *corners: object) -> str:
    sides = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    box = "".join(f"<{side}>{value}</{side}>" for side, value in sides)
    return f"<object><name> {name} </name><pose>x</pose><bndbox>{box}</bndbox></object>"


def _refused(tmp_path: Path, text: str, suffix: str = ".txt") -> str:
    file = tmp_path / f"x{suffix}"
    file.write_text(text)
    with pytest.raises(DataError) as caught:
        read_boxes(file, (100, 200), _CLASSES)
    message = str(caught.value)
    assert message.startswith(str(file))
    assert "\n" not in message
    return message


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "pgm"])
def test_a_grey_mask_holds_ids_as_values(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(_IDS).save(tmp_path / f"m.{suffix}")
    mask = read_mask(tmp_path / f"m.{suffix}")
    assert mask.dtype == torch.int64
    assert np.array_equal(mask.numpy(), _IDS)


def test_a_palette_mask_holds_ids_as_indices(tmp_path: Path) -> None:
    picture = Image.fromarray(_IDS, "L").convert("P")
    picture.putpalette([channel for number in range(256) for channel in (0, 255 - number, 200)])
    picture.putdata(_IDS.flatten().tolist())
    picture.save(tmp_path / "m.png")
    assert np.array_equal(read_mask(tmp_path / "m.png").numpy(), _IDS)


def test_three_equal_channels_and_sixteen_bits_are_masks_too(tmp_path: Path) -> None:
    Image.fromarray(np.repeat(_IDS[:, :, None], 3, 2)).save(tmp_path / "rgb.png")
    Image.fromarray(_IDS.astype(np.uint16)).save(tmp_path / "deep.png")
    for name in ("rgb.png", "deep.png"):
        assert np.array_equal(read_mask(tmp_path / name).numpy(), _IDS)


def test_a_picture_of_a_mask_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), (200, 10, 10)).save(tmp_path / "m.png")
    with pytest.raises(DataError, match=r"m\.png: holds colours, not class ids"):
        read_mask(tmp_path / "m.png")
    Image.fromarray(_IDS).save(tmp_path / "m.jpg")
    with pytest.raises(DataError, match=r"m\.jpg: \.jpg does not keep values exactly"):
        read_mask(tmp_path / "m.jpg")
    Image.fromarray(_IDS / np.float32(9)).save(tmp_path / "m.tif")
    with pytest.raises(DataError, match=r"m\.tif: holds fractions"):
        read_mask(tmp_path / "m.tif")


def test_a_damaged_mask_is_refused(tmp_path: Path) -> None:
    Image.fromarray(_IDS).save(tmp_path / "m.png")
    (tmp_path / "m.png").write_bytes((tmp_path / "m.png").read_bytes()[:50])
    with pytest.raises(DataError, match=r"m\.png: is damaged"):
        read_mask(tmp_path / "m.png")


def test_yolo_lines_are_boxes_in_pixels(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("1 0.25 0.5 0.1 0.2\n\n0 0.5 0.5 1 1\n")
    boxes = read_boxes(tmp_path / "x.txt", (100, 200), _CLASSES)
    assert boxes.classes.tolist() == [1, 0]
    assert boxes.classes.dtype == torch.int64
    torch.testing.assert_close(boxes.corners, torch.tensor([[40.0, 40, 60, 60], [0, 0, 200, 100]]))
    assert boxes.scores is None


def test_an_empty_file_means_that_there_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.txt").touch()
    boxes = read_boxes(tmp_path / "x.txt", (100, 200), _CLASSES)
    assert boxes.corners.shape == (0, 4)
    assert boxes.classes.shape == (0,)
    (tmp_path / "x.xml").write_text(_voc())
    assert len(read_boxes(tmp_path / "x.xml", (100, 200), _CLASSES).classes) == 0


@given(
    st.lists(st.tuples(st.integers(0, 1279), st.integers(0, 1023), st.integers(1, 1280), st.integers(1, 1024))),
    st.sampled_from([4, 5, 6]),
)
def test_boxes_that_were_rounded_are_clipped_and_stay_within_half_a_pixel(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[int, int, int, int]], digits: int
) -> None:
    """From whole pixels to relative numbers of some digits, as converters write them, and back."""
    file = tmp_path_factory.mktemp("boxes") / "x.txt"
    corners = [(x, y, min(x + w, 1280), min(y + h, 1024)) for x, y, w, h in drawn]
    numbers = [((x0 + x1) / 2560, (y0 + y1) / 2048, (x1 - x0) / 1280, (y1 - y0) / 1024) for x0, y0, x1, y1 in corners]
    file.write_text("".join("0 " + " ".join(f"{value:.{digits}f}" for value in row) + "\n" for row in numbers))
    read = read_boxes(file, (1024, 1280), ("person",)).corners
    torch.testing.assert_close(read, torch.tensor(corners, dtype=torch.float32).reshape(-1, 4), atol=0.2, rtol=0)
    assert (read >= 0).all()
    assert (read[:, 2] <= 1280).all()
    assert (read[:, 3] <= 1024).all()


def test_voc_objects_are_boxes_of_their_classes(tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_text(_voc(_object("car", 10, 20, 30, "40.5"), _object("person", 0, 0, 200, 101)))
    boxes = read_boxes(tmp_path / "x.xml", (100, 200), _CLASSES)
    assert boxes.classes.tolist() == [1, 0]
    assert boxes.corners.tolist() == [[10, 20, 30, 40.5], [0, 0, 200, 100]]


def test_the_two_forms_of_one_box_agree(tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_text(_voc(_object("car", 287, 12, 351, 99), size=(1024, 1280)))
    (tmp_path / "x.txt").write_text(f"1 {(287 + 351) / 2 / 1280} {(12 + 99) / 2 / 1024} {64 / 1280} {87 / 1024}")
    one, other = (read_boxes(tmp_path / f"x.{suffix}", (1024, 1280), _CLASSES) for suffix in ("xml", "txt"))
    torch.testing.assert_close(one.corners, other.corners)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("0 0.5 0.5 0.1", "line 1: 'class cx cy w h' is expected, got 4 values"),
        ("0 0.5 0.5 0.1 0.1\n0 .5 .5 .1 .1 .9", "line 2: 'class cx cy w h' is expected, got 6 values"),
        ("0 0.5 x 0.1 0.1", "line 1: '0 0.5 x 0.1 0.1' is not 'class cx cy w h' in numbers"),
        ("2 0.5 0.5 0.1 0.1", "line 1: unknown class id 2 (known: 0 to 1, person, car)"),
        ("-1 0.5 0.5 0.1 0.1", "unknown class id -1"),
        ("0.5 0.5 0.5 0.1 0.1", "unknown class id 0.5"),
        ("0 0.96 0.5 0.1 0.1", "line 1: the box (182.0, 45.0) to (202.0, 55.0) is outside the image of 200x100"),
        ("0 50 40 20 10", "is outside the image"),
        ("0 0.5 0.5 0 0.1", "has no area"),
        ("0 0.5 0.5 0.1 -0.1", "has no area"),
        ("0 0.5 nan 0.1 0.1", "numbers are not finite"),
    ],
)
def test_a_yolo_line_that_does_not_fit_is_named(tmp_path: Path, text: str, what: str) -> None:
    assert what in _refused(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("<annotation><object>", "is not sound XML"),
        (_voc(_object("persn", 1, 1, 5, 5)), "object 1: unknown class 'persn': did you mean 'person'?"),
        (_voc(_object("car", 1, 1, "x", 5)), "object 1: no bndbox with xmin, ymin, xmax and ymax in numbers"),
        (_voc("<object><name>car</name></object>"), "object 1: no bndbox"),
        (_voc(_object("car", 1, 1, 5, 5), _object("car", 1, 1, 205, 5)), "object 2: the box"),
        (_voc(_object("car", 5, 1, 5, 9)), "has no area"),
        (_voc(_object("car", 1, 1, 5, 5), size=(1024, 1280)), "for an image of 1280x1024, the image is 200x100"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "XML with entities is not read"),
    ],
)
def test_an_xml_file_that_does_not_fit_is_named(tmp_path: Path, text: str, what: str) -> None:
    assert what in _refused(tmp_path, text, ".xml")


def test_a_size_that_was_not_filled_in_is_no_size(tmp_path: Path) -> None:
    for size in (None, (0, 0)):
        (tmp_path / "x.xml").write_text(_voc(_object("car", 1, 1, 5, 5), size=size))
        assert len(read_boxes(tmp_path / "x.xml", (100, 200), _CLASSES).classes) == 1


def test_a_file_that_is_gone_or_binary_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.txt: no such file"):
        read_boxes(tmp_path / "gone.txt", (100, 200), _CLASSES)
    (tmp_path / "x.txt").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(DataError, match=r"x\.txt: cannot be read"):
        read_boxes(tmp_path / "x.txt", (100, 200), _CLASSES)
