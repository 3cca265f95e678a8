"""Images in memory, reading and writing of files, and every file that must be refused."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fusionkit.errors import DataError, UsageError
from fusionkit.io.images import Image, deepest, read_image, write_image
from tests.support.picture_files import (
    GREY8,
    GREY16,
    GREYF,
    PROFILE,
    RGB8,
    RGB16,
    RGBF,
    WHOLE,
    one_line,
    pillow,
    refused,
    three_axes,
)


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


def test_a_profile_for_other_channels_is_left_out(tmp_path: Path) -> None:
    write_image(tmp_path / "x.png", Image(GREY8[..., None], icc=PROFILE))
    assert read_image(tmp_path / "x.png").icc is None


def test_missing_folder_empty_and_text_files_are_named_with_a_remedy(tmp_path: Path) -> None:
    refused(tmp_path / "none.png", "no such file")
    refused(tmp_path, "is a folder")
    (tmp_path / "empty.png").touch()
    refused(tmp_path / "empty.png", "empty", "get the file again")
    (tmp_path / "text.png").write_text("not an image at all\n")
    refused(tmp_path / "text.png", "not an image", "convert")
    (tmp_path / "file").touch()
    refused(tmp_path / "file/x.png", "cannot be read")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_floats_that_are_not_finite_are_refused(bad: float, tmp_path: Path) -> None:
    pixels = GREYF.copy()
    pixels[3, 4] = bad
    tifffile.imwrite(tmp_path / "x.tif", pixels)
    refused(tmp_path / "x.tif", "not finite (NaN or infinite): 1 value;")


def test_floats_outside_0_to_1_are_refused_with_their_range(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", GREYF * 300)
    refused(tmp_path / "x.tif", "0..1", "297.6")


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

    plain = Path.open
    full = lambda self, mode: plain(Path("/dev/full") if mode == "wb" else self, mode, buffering=0)  # noqa: E731
    monkeypatch.setattr(Path, "open", full)
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
