"""Radiometric JPEG: temperatures by the published formula, the photograph, and one line where a file has neither."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from fusionkit.errors import DataError
from fusionkit.io.images import decode_file, read_image
from fusionkit.io.ranges import parse_range
from fusionkit.io.thermal_cameras import holds_temperatures, visible_to_thermal
from tests.support.radiometric import Air, celsius_of, write_flir

pytest.importorskip("flyr")
Y, X = np.mgrid[:60, :80]
RAW = (13000 + 40 * X + 25 * Y).astype(np.uint16)
PHOTOGRAPH = np.random.default_rng(0).integers(0, 256, (240, 320, 3)).astype(np.uint8)


@pytest.mark.parametrize("as_png", [True, False])
@pytest.mark.parametrize(
    "air", [Air(), Air(emissivity=0.7, distance=25, reflected=283.15, air=303.15, humidity=0.8, transmission=0.9)]
)
def test_temperatures_follow_the_published_formula(tmp_path: Path, air: Air, as_png: bool) -> None:
    write_flir(tmp_path / "a.jpg", RAW, air=air, as_png=as_png)
    known = celsius_of(RAW, air)
    found = decode_file(tmp_path / "a.jpg[thermal]").pixels
    assert found.dtype == np.float32
    assert found.shape == (60, 80, 1)
    # Constants are stored in single precision.
    assert np.abs(found[..., 0] - known).max() < 2e-3
    assert known.std() > 5


def test_the_photograph_and_the_false_colours_are_read(tmp_path: Path) -> None:
    write_flir(tmp_path / "a.jpg", RAW, photograph=PHOTOGRAPH)
    assert np.array_equal(read_image(tmp_path / "a.jpg[visible]").pixels, PHOTOGRAPH)
    plain = read_image(tmp_path / "a.jpg")
    assert plain.size == "80x60"
    assert "a.jpg[thermal] names the temperatures" in plain.notes[0]


def test_temperatures_become_an_image_by_a_range(tmp_path: Path) -> None:
    write_flir(tmp_path / "a.jpg", RAW)
    known = celsius_of(RAW, Air())
    image = read_image(tmp_path / "a.jpg[thermal]", values=parse_range("20,30", option="range"))
    assert np.abs(image.pixels[..., 0] - ((known - 20) / 10).clip(0, 1)).max() < 1e-3


def test_large_files_have_several_segments(tmp_path: Path) -> None:
    write_flir(tmp_path / "a.jpg", np.tile(RAW, (8, 8)), photograph=PHOTOGRAPH, as_png=False)
    assert (tmp_path / "a.jpg").read_bytes().count(b"FLIR\0\x01") > 8
    assert decode_file(tmp_path / "a.jpg[thermal]").pixels.shape == (480, 640, 1)


def test_the_stated_offset_maps_centre_to_centre(tmp_path: Path) -> None:
    write_flir(tmp_path / "a.jpg", RAW, photograph=PHOTOGRAPH, offset=(2.0, 10, -6))
    matrix = visible_to_thermal((tmp_path / "a.jpg").read_bytes())
    assert matrix is not None
    # Twice the field of view: 160 of the 320 columns are 80 thermal ones, about a centre at (169.5, 113.5).
    for visible, thermal in {(169.5, 113.5): (39.5, 29.5), (89.5, 113.5): (-0.5, 29.5)}.items():
        assert matrix @ np.array([*visible, 1]) == pytest.approx([*thermal, 1])
    write_flir(tmp_path / "b.jpg", RAW, photograph=PHOTOGRAPH)
    assert visible_to_thermal((tmp_path / "b.jpg").read_bytes()) is None


def test_a_file_without_photograph_says_so(tmp_path: Path) -> None:
    write_flir(tmp_path / "a.jpg", RAW)
    with pytest.raises(DataError, match=r"a\.jpg\[visible\]: holds no visible photograph"):
        read_image(tmp_path / "a.jpg[visible]")


def test_other_makers_are_named(tmp_path: Path) -> None:
    exif = Pillow.Exif()
    exif[271] = "DJI"
    Pillow.new("RGB", (8, 8)).save(tmp_path / "dji.jpg", exif=exif)
    with pytest.raises(DataError, match=r"holds no temperatures that are read \(its maker is 'DJI'\).*maker's program"):
        read_image(tmp_path / "dji.jpg[thermal]")
    Pillow.new("RGB", (8, 8)).save(tmp_path / "plain.png")
    with pytest.raises(DataError, match="it is no JPEG"):
        read_image(tmp_path / "plain.png[thermal]")


@pytest.mark.parametrize("kept", [0.02, 0.2, 0.5, 0.8])
def test_a_cut_file_is_one_line(tmp_path: Path, kept: float) -> None:
    write_flir(tmp_path / "a.jpg", RAW, photograph=PHOTOGRAPH, as_png=False)
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(DataError) as caught:
        read_image(tmp_path / "cut.jpg[visible]")
    assert "\n" not in str(caught.value)


def test_plain_jpegs_hold_no_temperatures(tmp_path: Path) -> None:
    Pillow.new("RGB", (8, 8)).save(tmp_path / "plain.jpg")
    assert not holds_temperatures((tmp_path / "plain.jpg").read_bytes())
    assert not holds_temperatures(b"")
    assert read_image(tmp_path / "plain.jpg").notes == ()
