"""Decoding and encoding of every format against Pillow and OpenCV, and damaged files."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fusionkit.errors import DataError
from fusionkit.io.images import Image, read_image, write_image
from tests.support.picture_files import (
    GREY8,
    GREY16,
    GREYF,
    RGB8,
    RGB16,
    RGBA8,
    RGBF,
    WHOLE,
    one_line,
    pillow,
    refused,
    three_axes,
)

PALETTE = PIL.Image.fromarray(RGB8).quantize(20)


def opencv(pixels: np.ndarray, path: Path) -> None:
    channels = {2: pixels, 3: pixels[..., ::-1]}.get(pixels.ndim)
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        channels = pixels[..., [2, 1, 0, 3]]
    assert cv2.imwrite(str(path), channels)


READ = {
    "png-grey": ("x.png", pillow, GREY8, GREY8, {}),
    "png-rgb": ("x.png", pillow, RGB8, RGB8, {}),
    "png-rgba": ("x.png", pillow, RGBA8, RGB8, {}),
    "png-grey-alpha": ("x.png", pillow, PIL.Image.merge("LA", [PIL.Image.fromarray(GREY8)] * 2), GREY8, {}),
    "png-palette": ("x.png", pillow, PALETTE, np.asarray(PALETTE.convert("RGB")), {}),
    "png-palette-clear": ("x.png", pillow, PALETTE, np.asarray(PALETTE.convert("RGB")), {"transparency": 3}),
    "png-bilevel": ("x.png", pillow, PIL.Image.fromarray(GREY8 > 99), (GREY8 > 99).astype(np.uint8) * 255, {}),
    "png16-grey": ("x.png", opencv, GREY16, GREY16, {}),
    "png16-rgb": ("x.png", opencv, RGB16, RGB16, {}),
    "png16-rgba": ("x.png", opencv, np.dstack([RGB16, GREY16]), RGB16, {}),
    "bmp-grey": ("x.bmp", pillow, GREY8, GREY8, {}),
    "bmp-rgb": ("x.bmp", pillow, RGB8, RGB8, {}),
    "webp": ("x.webp", pillow, RGB8, RGB8, {"lossless": True}),
    "pgm": ("x.pgm", opencv, GREY8, GREY8, {}),
    "ppm": ("x.ppm", opencv, RGB8, RGB8, {}),
    "pgm16": ("x.pgm", opencv, np.maximum(GREY16, 300), np.maximum(GREY16, 300), {}),
    "ppm16": ("x.ppm", opencv, RGB16, RGB16, {}),
}


@pytest.mark.parametrize("case", READ)
def test_pixels_are_read_as_another_library_wrote_them(case: str, tmp_path: Path) -> None:
    name, writer, given_pixels, expected, options = READ[case]
    writer(given_pixels, tmp_path / name, **options)
    image = read_image(tmp_path / name)
    assert image.pixels.dtype == expected.dtype
    np.testing.assert_array_equal(image.pixels, three_axes(expected))
    assert image.bits == expected.dtype.itemsize * 8


def test_16_bit_grey_with_alpha_png_keeps_16_bits(tmp_path: Path) -> None:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    height, width = GREY16.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in np.dstack([GREY16, GREY16[::-1]]))
    (tmp_path / "x.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 4, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    np.testing.assert_array_equal(read_image(tmp_path / "x.png").pixels, GREY16[..., None])


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpegs_are_read_as_pillow_decodes_them(mode: str, tmp_path: Path) -> None:
    picture = PIL.Image.fromarray(RGB8).convert(mode)
    picture.save(tmp_path / "x.jpg")
    with PIL.Image.open(tmp_path / "x.jpg") as decoded:
        expected = np.asarray(decoded if mode == "L" else decoded.convert("RGB"))
    np.testing.assert_array_equal(read_image(tmp_path / "x.jpg").pixels, three_axes(expected))


def test_the_content_says_the_format_and_not_the_name(tmp_path: Path) -> None:
    pillow(RGB8, tmp_path / "x.png", format="BMP")
    np.testing.assert_array_equal(read_image(str(tmp_path / "x.png")).pixels, RGB8)


EXACT = [
    (".png", GREY8),
    (".png", RGB8),
    (".png", GREY16),
    (".png", RGB16),
    (".bmp", GREY8),
    (".bmp", RGB8),
    (".tif", GREY8),
    (".tif", RGB8),
    (".tiff", GREY16),
    (".TIF", RGB16),
    (".tif", GREYF),
    (".tif", RGBF),
]


def by_another_library(path: Path) -> np.ndarray:
    if path.suffix.lower() in (".tif", ".tiff"):
        return tifffile.imread(path)
    read = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return read if read.ndim == 2 else read[..., ::-1]


@pytest.mark.parametrize(("suffix", "pixels"), EXACT)
def test_what_is_written_another_library_reads_exactly(suffix: str, pixels: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / f"new/folders/x{suffix}"
    write_image(path, Image(three_axes(pixels)))
    read = by_another_library(path)
    assert read.dtype == pixels.dtype
    np.testing.assert_array_equal(read, pixels)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_jpeg_is_written_close_to_the_pixels_without_chroma_subsampling(tmp_path: Path) -> None:
    write_image(tmp_path / "x.jpg", Image(RGB8))
    with PIL.Image.open(tmp_path / "x.jpg") as picture:
        assert [component[1:3] for component in picture.layer] == [(1, 1)] * 3
        assert np.abs(np.asarray(picture).astype(int) - RGB8).mean() < 1.5
    write_image(tmp_path / "grey.jpg", Image(GREY8[..., None]))
    with PIL.Image.open(tmp_path / "grey.jpg") as picture:
        assert picture.mode == "L"


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.9, 0.99])
def test_a_file_that_is_cut_short_is_never_half_an_image(name: str, part: float, tmp_path: Path, capfd) -> None:
    (tmp_path / name).write_bytes(WHOLE[name])
    assert read_image(tmp_path / name).pixels.shape[0] == 54
    (tmp_path / name).write_bytes(WHOLE[name][: int(len(WHOLE[name]) * part)])
    refused(tmp_path / name)
    assert capfd.readouterr().err == ""


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(
    name=st.sampled_from(sorted(WHOLE)),
    length=st.integers(0),
    changes=st.lists(st.tuples(st.integers(0), st.integers(0, 255))),
)
def test_a_damaged_file_gives_an_image_or_a_data_error(
    name: str, length: int, changes: list[tuple[int, int]], tmp_path: Path
) -> None:
    data = bytearray(WHOLE[name])
    for place, value in changes:
        data[place % min(len(data), 600)] = value
    (tmp_path / name).write_bytes(bytes(data[: len(data) - length % 3]))
    try:
        image = read_image(tmp_path / name)
    except DataError as error:
        one_line(error, tmp_path / name)
    else:
        assert image.pixels.size > 0


def test_pgm_of_an_odd_depth_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.pgm").write_bytes(b"P5 2 1 4095\n\0\1\0\2")
    refused(tmp_path / "x.pgm", "4095", "convert")


@pytest.mark.parametrize("name", ["x.png", "x.bmp", "x.jpg", "tags-first.tif"])
def test_a_header_that_claims_an_absurd_size_is_refused_before_decoding(name: str, tmp_path: Path) -> None:
    data = bytearray(WHOLE[name])
    huge = 60000
    if name == "x.png":
        struct.pack_into(">II", data, 16, huge, huge)
        struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    elif name == "x.bmp":
        struct.pack_into("<ii", data, 18, huge, huge)
    elif name == "x.jpg":
        struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, huge, huge)
    else:
        entries = struct.unpack_from("<H", data, 8 + (struct.unpack_from("<I", data, 4)[0] - 8))[0]
        start = struct.unpack_from("<I", data, 4)[0] + 2
        for entry in range(start, start + 12 * entries, 12):
            tag, form = struct.unpack_from("<HH", data, entry)
            if tag in (256, 257):
                struct.pack_into("<H" if form == 3 else "<I", data, entry + 8, huge)
    (tmp_path / name).write_bytes(data)
    refused(tmp_path / name, f"{huge}x{huge}")


def test_a_picture_too_large_for_its_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.jpg: 70000x1 cannot be stored"):
        write_image(tmp_path / "x.jpg", Image(np.zeros((1, 70000, 1), np.uint8)))
    assert not list(tmp_path.iterdir())


def test_formats_of_other_programs_are_read_as_they_were_written(tmp_path: Path) -> None:
    smooth = cv2.resize(RGB8, (64, 48), interpolation=cv2.INTER_CUBIC)
    PIL.Image.fromarray(smooth).save(tmp_path / "x.jp2", irreversible=False)
    PIL.Image.fromarray(smooth).save(tmp_path / "x.avif", quality=100, subsampling="4:4:4")
    PIL.Image.fromarray(GREY8).save(tmp_path / "x.gif")
    np.save(tmp_path / "x.npy", RGB16)
    deep = cv2.resize(RGB16, (64, 48), interpolation=cv2.INTER_NEAREST)
    cv2.imwrite(str(tmp_path / "deep.jp2"), deep[..., ::-1], [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000])
    cv2.imwrite(str(tmp_path / "x.pfm"), RGBF[..., ::-1])
    cv2.imwrite(str(tmp_path / "grey.pfm"), GREYF)
    np.testing.assert_array_equal(read_image(tmp_path / "x.jp2").pixels, smooth)
    np.testing.assert_allclose(read_image(tmp_path / "x.avif").pixels.astype(int), smooth, atol=8)
    assert read_image(tmp_path / "x.gif").is_grey
    np.testing.assert_array_equal(read_image(tmp_path / "x.gif").pixels[..., 0], GREY8)
    np.testing.assert_array_equal(read_image(tmp_path / "x.npy").pixels, RGB16)
    np.testing.assert_array_equal(read_image(tmp_path / "deep.jp2").pixels, deep)
    np.testing.assert_array_equal(read_image(tmp_path / "x.pfm").pixels, RGBF)
    np.testing.assert_array_equal(read_image(tmp_path / "grey.pfm").pixels[..., 0], GREYF)


@pytest.mark.parametrize("name", ["x.jp2", "x.avif", "x.gif", "x.npy", "x.pfm"])
def test_such_files_cut_short_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    noise = np.random.default_rng(3).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    if name.endswith("npy"):
        np.save(path, noise)
    elif name.endswith("pfm"):
        cv2.imwrite(str(path), noise.astype(np.float32) / 255)
    else:
        PIL.Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    refused(path, "damaged or cut short")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x1f\x8b\x08" + b"\0" * 99, "a NIfTI volume"),
        (b"\0\0\0\x18ftypisom" + b"\0" * 99, "a video"),
    ],
)
def test_files_of_other_kinds_are_called_by_name(data: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(data)
    refused(tmp_path / "x", words, "convert it")


def test_an_array_of_python_objects_is_not_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([[object()]]), allow_pickle=True)
    refused(tmp_path / "x.npy", "holds Python objects")
    np.save(tmp_path / "x.npy", np.zeros((2, 3, 4, 5)))
    refused(tmp_path / "x.npy", "holds an array (2, 3, 4, 5) of float64")
    np.save(tmp_path / "x.npy", np.ones((3, 4), np.float64) / 2)
    assert read_image(tmp_path / "x.npy").bits == 32


def test_pages_of_a_tiff_are_read_by_number_at_every_depth(tmp_path: Path) -> None:
    for pixels in (GREY8, GREY16, GREYF, RGB16, RGB8):
        kind = "rgb" if pixels.ndim == 3 else "minisblack"
        with tifffile.TiffWriter(tmp_path / "x.tif", bigtiff=pixels.dtype == np.float32) as file:
            for page in (pixels, pixels[::-1], pixels[:, ::-1]):
                file.write(page, photometric=kind)
        assert "has 3 pages" in read_image(tmp_path / "x.tif").notes[0]
        for name, page in (("x.tif[0]", pixels), ("x.tif[1]", pixels[::-1]), ("x.tif[2]", pixels[:, ::-1])):
            image = read_image(tmp_path / name)
            np.testing.assert_array_equal(image.pixels, three_axes(page))
            assert image.notes == ()
        refused(tmp_path / "x.tif[3]", "has 3 pages, and page 3 is asked for")


def test_reduced_copies_in_a_tiff_are_no_pages(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write(GREY8, photometric="minisblack")
        file.write(GREY8[::2, ::2], photometric="minisblack", subfiletype=1)
    assert read_image(tmp_path / "x.tif").notes == ()


def test_frames_of_an_animation_are_read_by_number(tmp_path: Path) -> None:
    frames = [PIL.Image.fromarray(np.full((8, 9), value, np.uint8)) for value in (10, 90, 200)]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    assert "has 3 pages" in read_image(tmp_path / "x.gif").notes[0]
    assert [int(read_image(tmp_path / f"x.gif[{k}]").pixels[0, 0, 0]) for k in range(3)] == [10, 90, 200]
