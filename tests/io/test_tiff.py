"""TIFF layouts and EXIF blocks against tifffile and Pillow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile

from fusionkit.errors import DataError
from fusionkit.fuse.reading import pages_of
from fusionkit.io.images import Image, read_image, write_image
from tests.support.picture_files import (
    GREY8,
    GREY16,
    GREYF,
    PROFILE,
    RGB8,
    RGB16,
    RGBA8,
    RGBF,
    pillow,
    refused,
    three_axes,
)

RGB = {"photometric": "rgb"}
READ_TIFF = {
    "grey": (GREY8, GREY8, {}),
    "rgb": (RGB8, RGB8, RGB),
    "rgba": (RGBA8, RGB8, RGB | {"extrasamples": ["unassalpha"]}),
    "planar": (np.ascontiguousarray(RGB8.transpose(2, 0, 1)), RGB8, RGB | {"planarconfig": "separate"}),
    "white-is-zero": (GREY8, 255 - GREY8, {"photometric": "miniswhite"}),
    "white-is-zero-16": (GREY16, 65535 - GREY16, {"photometric": "miniswhite"}),
    "grey16": (GREY16, GREY16, {}),
    "grey16-big-endian": (GREY16, GREY16, {"byteorder": ">"}),
    "rgb16": (RGB16, RGB16, RGB),
    "rgb16-deflated": (RGB16, RGB16, RGB | {"compression": "zlib", "predictor": True}),
    "rgb16-bigtiff": (RGB16, RGB16, RGB | {"bigtiff": True}),
    "rgba16": (np.dstack([RGB16, GREY16]), RGB16, RGB | {"extrasamples": ["unassalpha"]}),
    "rgb16-tiled": (RGB16, RGB16, RGB | {"tile": (16, 16)}),
    "float": (GREYF, GREYF, {}),
    "float-rgb": (RGBF, RGBF, RGB),
    "float-rgb-big-endian": (RGBF, RGBF, RGB | {"byteorder": ">"}),
    "double": (GREYF.astype(np.float64), GREYF, {}),
    "first-of-several": (np.stack([GREY8, 255 - GREY8]), GREY8, {}),
}


@pytest.mark.parametrize("case", READ_TIFF)
def test_tiff_pixels_are_read_as_tifffile_wrote_them(case: str, tmp_path: Path) -> None:
    stored, expected, options = READ_TIFF[case]
    tifffile.imwrite(tmp_path / "x.tif", stored, **options)
    image = read_image(tmp_path / "x.tif")
    assert image.pixels.dtype == expected.dtype
    np.testing.assert_array_equal(image.pixels, three_axes(expected))


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate"])
def test_compressed_8_bit_tiff_is_read_as_pillow_wrote_it(compression: str, tmp_path: Path) -> None:
    pillow(RGB8, tmp_path / "x.tif", compression=compression)
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif").pixels, RGB8)


def exif_of(orientation: int) -> PIL.Image.Exif:
    exif = PIL.Image.Exif()
    exif[271], exif[306], exif[274] = "Maker", "2024:05:06 07:08:09", orientation
    exif.get_ifd(0x8769).update({0x829A: (1, 125), 0x9003: "2024:05:06 07:08:09", 0x927C: b"private" * 9})
    exif.get_ifd(0x8825).update({1: "N", 2: (50.0, 30.0, 1.5)})
    return exif


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
@pytest.mark.parametrize("pixels", [RGB8, RGB16])
def test_exif_orientation_and_profile_are_kept_by_every_format_that_has_them(
    suffix: str, pixels: np.ndarray, tmp_path: Path
) -> None:
    pillow(RGB8, tmp_path / "camera.jpg", exif=exif_of(6), icc_profile=PROFILE)
    source = read_image(tmp_path / "camera.jpg")
    assert source.orientation == 6
    assert source.icc == PROFILE
    if suffix == ".jpg":
        pixels = RGB8
    path = tmp_path / f"x{suffix}"
    write_image(path, Image(pixels, exif=source.exif, orientation=6, icc=source.icc))
    with PIL.Image.open(path) as picture:
        exif = picture.getexif()
        assert (exif[271], exif[306], exif[274]) == ("Maker", "2024:05:06 07:08:09", 6)
        assert exif.get_ifd(0x8769)[0x829A] == pytest.approx(1 / 125) or exif.get_ifd(0x8769)[0x829A] == (1, 125)
        assert 0x927C not in exif.get_ifd(0x8769)
        assert exif.get_ifd(0x8825)[2] == (50.0, 30.0, 1.5)
        assert picture.info["icc_profile"] == PROFILE
    again = read_image(path)
    assert (again.orientation, again.icc) == (6, PROFILE)
    assert again.exif is not None
    assert b"Maker\0" in again.exif
    assert b"private" not in again.exif


def test_orientation_1_and_no_metadata_leave_no_trace(tmp_path: Path) -> None:
    write_image(tmp_path / "x.png", Image(RGB8))
    with PIL.Image.open(tmp_path / "x.png") as picture:
        assert not picture.getexif()
        assert "icc_profile" not in picture.info


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_pixels_are_as_stored_whatever_the_orientation(orientation: int, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    pillow(RGB8, path, exif=exif_of(orientation), **({"quality": 100, "subsampling": 0} if suffix == ".jpg" else {}))
    image = read_image(path)
    assert image.orientation == orientation
    assert image.pixels.shape == RGB8.shape
    assert np.abs(image.pixels.astype(int) - RGB8).max() <= (6 if suffix == ".jpg" else 0)


@pytest.mark.parametrize("pixels", [GREY8, RGB8, GREY16, RGB16, GREYF, RGBF])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_tiff_decoders_do_not_turn_the_pixels(
    pixels: np.ndarray, compression: str | None, bigtiff: bool, tmp_path: Path
) -> None:
    tifffile.imwrite(
        tmp_path / "x.tif",
        pixels,
        photometric="rgb" if pixels.ndim == 3 else "minisblack",
        compression=compression,
        bigtiff=bigtiff,
        extratags=[(274, 3, 1, 6, True)],
    )
    image = read_image(tmp_path / "x.tif")
    np.testing.assert_array_equal(image.pixels, three_axes(pixels))
    assert image.orientation == 6


def test_damaged_exif_does_not_keep_the_picture_from_being_read(tmp_path: Path) -> None:
    pillow(RGB8, tmp_path / "x.png", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01" * 40)
    image = read_image(tmp_path / "x.png")
    np.testing.assert_array_equal(image.pixels, RGB8)
    assert (image.exif, image.orientation) == (None, 1)


@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        (RGB8.astype(np.int16), RGB),
        (GREY8.astype(np.int8), {}),
        (GREYF.astype(np.float16), {}),
        (np.dstack([GREY16] * 2), {"photometric": "minisblack", "planarconfig": "contig"}),
        (np.ascontiguousarray(RGB16.transpose(2, 0, 1)), RGB | {"planarconfig": "separate", "metadata": None}),
    ],
)
def test_tiff_forms_that_would_be_read_wrong_are_refused(pixels: np.ndarray, options: dict, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", pixels, **options)
    refused(tmp_path / "x.tif", "is read")


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 16)}])
def test_a_stack_of_three_that_tifffile_wrote_is_pages_and_a_picture(kind: type, options: dict, tmp_path: Path) -> None:
    """tifffile stores an array (3, H, W) as RGB in separate planes, whatever it is."""
    rng = np.random.default_rng(0)
    stack = rng.integers(0, 250, (3, 40, 52)).astype(kind) / (1 if kind != np.float32 else 256)
    file = tmp_path / "stack.tif"
    tifffile.imwrite(file, stack.astype(kind), photometric="rgb", planarconfig="separate", **options)
    whole = read_image(file)
    np.testing.assert_array_equal(whole.pixels, stack.transpose(1, 2, 0))
    assert len(whole.notes) == 1
    assert "has 3 pages" in whole.notes[0]
    for k, page in enumerate(pages_of(file)):
        np.testing.assert_array_equal(read_image(page).pixels[..., 0], stack[k])
    with pytest.raises(DataError, match="has 3 pages, and page 3 is asked for"):
        read_image(tmp_path / "stack.tif[3]")
