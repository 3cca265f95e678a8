"""Reading and writing against Pillow, OpenCV and tifffile, and every file that must be refused."""

from __future__ import annotations

import io
import os
import struct
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
import tifffile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fusionkit.errors import DataError, UsageError
from fusionkit.io.images import Image, deepest, read_image, write_image

RNG = np.random.default_rng(7)
GREY8 = RNG.integers(0, 256, (9, 14), dtype=np.uint8)
RGB8 = RNG.integers(0, 256, (9, 14, 3), dtype=np.uint8)
RGBA8 = np.dstack([RGB8, RNG.integers(0, 256, (9, 14), dtype=np.uint8)])
GREY16, RGB16 = (x.astype(np.uint16) * 251 + 3 for x in (GREY8, RGB8))
GREYF, RGBF = ((x / np.float32(255)).astype(np.float32) for x in (GREY8, RGB8))
PALETTE = PIL.Image.fromarray(RGB8).quantize(20)
PROFILE = b"\0" * 16 + b"RGB " + b"profile" * 20


def three_axes(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., None] if pixels.ndim == 2 else pixels


def one_line(error: BaseException, *words: object) -> None:
    text = str(error)
    assert "\n" not in text
    for word in words:
        assert str(word) in text


def pillow(pixels: np.ndarray | PIL.Image.Image, path: Path, **options) -> None:
    picture = pixels if isinstance(pixels, PIL.Image.Image) else PIL.Image.fromarray(pixels)
    picture.save(path, **options)


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


@pytest.mark.parametrize("case", READ)
def test_pixels_are_read_as_another_library_wrote_them(case: str, tmp_path: Path) -> None:
    name, writer, given_pixels, expected, options = READ[case]
    writer(given_pixels, tmp_path / name, **options)
    image = read_image(tmp_path / name)
    assert image.pixels.dtype == expected.dtype
    np.testing.assert_array_equal(image.pixels, three_axes(expected))
    assert image.bits == expected.dtype.itemsize * 8


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


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif"])
def test_three_equal_channels_are_grey_in_every_format(suffix: str, tmp_path: Path) -> None:
    pillow(np.dstack([GREY8] * 3), tmp_path / f"x{suffix}")
    image = read_image(tmp_path / f"x{suffix}")
    assert image.pixels.shape == (9, 14, 3)
    assert image.is_grey


def test_one_coloured_pixel_makes_a_colour_image() -> None:
    pixels = np.dstack([GREY8] * 3)
    pixels[4, 5, 1] ^= 1
    assert not Image(pixels).is_grey
    assert Image(GREY8[..., None]).is_grey


@pytest.mark.parametrize(
    ("pixels", "greatest"), [(GREY8, 255), (RGB8, 255), (GREY16, 65535), (RGB16, 65535), (RGBF, 1)]
)
def test_tensor_is_the_stored_value_over_the_greatest(pixels: np.ndarray, greatest: int) -> None:
    tensor = Image(three_axes(pixels)).tensor()
    assert tensor.dtype == torch.float32
    assert tensor.shape == (1, three_axes(pixels).shape[2], 9, 14)
    expected = three_axes(pixels).astype(np.float64).transpose(2, 0, 1) / greatest
    np.testing.assert_allclose(tensor[0].numpy(), expected, rtol=1e-7)


@pytest.mark.parametrize("bits", [8, 16])
def test_every_stored_value_survives_tensor_and_back(bits: int) -> None:
    values = np.arange(2**bits, dtype=np.uint8 if bits == 8 else np.uint16).reshape(16, -1, 1)
    np.testing.assert_array_equal(Image.from_tensor(Image(values).tensor(), bits=bits).pixels, values)


@given(hnp.arrays(np.float32, (1, 1, 3, 4), elements=st.floats(-0.5, 1.5, width=32)), st.sampled_from([8, 16]))
def test_from_tensor_rounds_to_nearest(values: np.ndarray, bits: int) -> None:
    greatest = 2**bits - 1
    pixels = Image.from_tensor(torch.from_numpy(values), bits=bits).pixels[..., 0]
    exact = values[0, 0].astype(np.float64).clip(0, 1) * greatest
    assert np.abs(pixels - exact).max() <= 0.5


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


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pixels=st.tuples(st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 3])).flatmap(
        lambda shape: hnp.arrays(st.sampled_from([np.uint8, np.uint16]), shape)
    ),
    suffix=st.sampled_from([".png", ".tif"]),
)
def test_any_image_comes_back_as_it_was_written(pixels: np.ndarray, suffix: str, tmp_path: Path) -> None:
    write_image(tmp_path / f"x{suffix}", Image(pixels))
    np.testing.assert_array_equal(read_image(tmp_path / f"x{suffix}").pixels, pixels)


def test_jpeg_is_written_close_to_the_pixels_without_chroma_subsampling(tmp_path: Path) -> None:
    write_image(tmp_path / "x.jpg", Image(RGB8))
    with PIL.Image.open(tmp_path / "x.jpg") as picture:
        assert [component[1:3] for component in picture.layer] == [(1, 1)] * 3
        assert np.abs(np.asarray(picture).astype(int) - RGB8).mean() < 1.5
    write_image(tmp_path / "grey.jpg", Image(GREY8[..., None]))
    with PIL.Image.open(tmp_path / "grey.jpg") as picture:
        assert picture.mode == "L"


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


def test_a_profile_for_other_channels_is_left_out(tmp_path: Path) -> None:
    write_image(tmp_path / "x.png", Image(GREY8[..., None], icc=PROFILE))
    assert read_image(tmp_path / "x.png").icc is None


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


def refused(path: Path, *words: object) -> None:
    with pytest.raises(DataError) as caught:
        read_image(path)
    one_line(caught.value, path, *words)


def test_missing_folder_empty_and_text_files_are_named_with_a_remedy(tmp_path: Path) -> None:
    refused(tmp_path / "none.png", "no such file")
    refused(tmp_path, "is a folder")
    (tmp_path / "empty.png").touch()
    refused(tmp_path / "empty.png", "empty", "get the file again")
    (tmp_path / "text.png").write_text("not an image at all\n")
    refused(tmp_path / "text.png", "not an image", "convert")
    (tmp_path / "file").touch()
    refused(tmp_path / "file/x.png", "cannot be read")


def whole_files() -> dict[str, bytes]:
    files = {}
    big8 = np.tile(RGB8, (6, 6, 1))
    for name, options in {
        "x.png": {},
        "x.jpg": {},
        "progressive.jpg": {"progressive": True},
        "x.bmp": {},
        "x.tif": {},
        "lzw.tif": {"compression": "tiff_lzw"},
        "x.webp": {},
        "x.ppm": {},
    }.items():
        stream = io.BytesIO()
        form = {".jpg": "JPEG", ".tif": "TIFF", ".ppm": "PPM"}.get(Path(name).suffix, Path(name).suffix[1:].upper())
        PIL.Image.fromarray(big8).save(stream, form, **options)
        files[name] = stream.getvalue()
    for name, pixels in {"16.png": big8.astype(np.uint16) * 257, "16.tif": big8.astype(np.uint16) * 257}.items():
        files[name] = cv2.imencode(Path(name).suffix, pixels)[1].tobytes()
    files["float.tif"] = cv2.imencode(".tif", big8.astype(np.float32) / 255)[1].tobytes()
    stream = io.BytesIO()
    tifffile.imwrite(stream, big8, photometric="rgb")
    files["tags-first.tif"] = stream.getvalue()
    files["16.pgm"] = cv2.imencode(".pgm", np.tile(GREY16, (6, 6)))[1].tobytes()
    return files


WHOLE = whole_files()


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


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_floats_that_are_not_finite_are_refused(bad: float, tmp_path: Path) -> None:
    pixels = GREYF.copy()
    pixels[3, 4] = bad
    tifffile.imwrite(tmp_path / "x.tif", pixels)
    refused(tmp_path / "x.tif", "1 values are not finite")


def test_floats_outside_0_to_1_are_refused_with_their_range(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", GREYF * 300)
    refused(tmp_path / "x.tif", "0..1", "297.6")


@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        (GREY8.astype(np.int16), {}),
        (GREY8.astype(np.uint32), {}),
        (GREYF.astype(np.float16), {}),
        (np.dstack([GREY16] * 2), {"photometric": "minisblack", "planarconfig": "contig"}),
        (np.ascontiguousarray(RGB16.transpose(2, 0, 1)), RGB | {"planarconfig": "separate"}),
    ],
)
def test_tiff_forms_that_would_be_read_wrong_are_refused(pixels: np.ndarray, options: dict, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", pixels, **options)
    refused(tmp_path / "x.tif", "is read")


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


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(WHOLE["x.png"])
    (tmp_path / "x.png").chmod(0)
    refused(tmp_path / "x.png", "Permission denied")


@pytest.mark.parametrize(
    ("name", "words"), [("x.gif", ".bmp"), ("x", "a suffix is needed"), ("x.pmg", "'.png'"), ("x.tifff", "'.tiff'")]
)
def test_an_unknown_suffix_is_an_error_that_lists_the_known(name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        write_image(tmp_path / name, Image(RGB8))
    one_line(caught.value, name, words, ".jpeg, .jpg, .png, .tif, .tiff")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "pixels", "most"), [("x.jpg", RGB16, 8), ("x.bmp", RGB16, 8), ("x.png", RGBF, 16), ("x.jpeg", RGBF, 8)]
)
def test_more_bits_than_the_format_holds_are_refused_and_not_rounded(
    name: str, pixels: np.ndarray, most: int, tmp_path: Path
) -> None:
    assert deepest(name) == most
    with pytest.raises(DataError) as caught:
        write_image(tmp_path / name, Image(pixels))
    one_line(caught.value, name, f"at most {most} bits")
    assert not list(tmp_path.iterdir())


def test_a_picture_too_large_for_its_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.jpg: 70000x1 cannot be stored"):
        write_image(tmp_path / "x.jpg", Image(np.zeros((1, 70000, 1), np.uint8)))
    assert not list(tmp_path.iterdir())


def test_places_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file/x.png", tmp_path / "file/below/x.png", tmp_path):
        target = path if path.suffix else path / "folder.png"
        if target != path:
            target.mkdir()
        with pytest.raises(DataError) as caught:
            write_image(target, Image(RGB8))
        one_line(caught.value, target, "cannot be written" if target == path else "is a folder")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_leaves_what_was_there_and_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "x.png"
    target.write_bytes(b"before")

    def full(self: Path, data: bytes) -> None:
        self.touch()
        with Path("/dev/full").open("wb", buffering=0) as stream:
            stream.write(data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DataError) as caught:
        write_image(target, Image(RGB8))
    one_line(caught.value, target, "No space left")
    assert target.read_bytes() == b"before"
    assert [file.name for file in tmp_path.iterdir()] == ["x.png"]


@pytest.mark.skipif(sys.platform != "linux", reason="read-only by way of /proc")
def test_a_read_only_place_is_named() -> None:
    with pytest.raises(DataError) as caught:
        write_image("/proc/self/x.png", Image(RGB8))
    one_line(caught.value, "/proc/self/x.png", "cannot be written")


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_image(tmp_path / "x.png", Image(RGB8))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "pixels", [GREY8, np.zeros((2, 2, 4), np.uint8), np.zeros((0, 2, 1), np.uint8), GREYF[..., None].astype(float)]
)
def test_arrays_of_another_form_are_no_image(pixels: np.ndarray) -> None:
    with pytest.raises(DataError, match="needed"):
        Image(pixels)


def test_tensors_of_another_form_are_no_image() -> None:
    with pytest.raises(UsageError, match="bits"):
        Image.from_tensor(torch.zeros(1, 1, 2, 2), bits=12)
    with pytest.raises(UsageError, match="one image"):
        Image.from_tensor(torch.zeros(2, 1, 2, 2))
    with pytest.raises(DataError, match="not finite"):
        Image.from_tensor(torch.full((1, 1, 2, 2), torch.nan))


def test_threads_read_as_one_does(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    paths = []
    for index, (name, data) in enumerate(WHOLE.items()):
        paths.append(tmp_path / f"{index}{name}")
        paths[-1].write_bytes(data)
    alone = [read_image(path).pixels for path in paths]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda path: read_image(path).pixels, paths * 4))
    for index, pixels in enumerate(together):
        np.testing.assert_array_equal(pixels, alone[index % len(alone)])


def test_real_pairs_are_read_as_opencv_reads_them(data_dir: Path) -> None:
    files = sorted(file for file in data_dir.glob("*/*/*/*") if file.suffix in (".png", ".jpg", ".bmp", ".tif"))[::97]
    assert files
    for file in files:
        theirs = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        ours = read_image(file).pixels
        assert ours.dtype == theirs.dtype
        difference = np.abs(ours.astype(int) - three_axes(theirs)[..., ::-1].astype(int))
        assert difference.max() <= (4 if file.suffix == ".jpg" else 0)
