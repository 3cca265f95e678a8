"""HEIC, OpenEXR, camera RAW and DICOM: read as written by their libraries, and one line where a library is missing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fusionkit.errors import DataError
from fusionkit.io.images import read_image
from fusionkit.io.ranges import parse_range

Y, X = np.mgrid[:48, :64].astype(np.float32)
RGB8 = np.dstack([3 * X, 255 - 4 * Y, 2 * X + Y]).astype(np.uint8)


def write_heic(path: Path, pixels: np.ndarray) -> None:
    heif = pytest.importorskip("pillow_heif")
    mode = {1: "RGB", 2: "RGB;16"}[pixels.itemsize] if pixels.ndim == 3 else "L"
    heif.from_bytes(mode, pixels.shape[1::-1], pixels.tobytes()).save(path, quality=-1)


def write_exr(path: Path, channels: dict[str, np.ndarray]) -> None:
    exr = pytest.importorskip("OpenEXR")
    header = {"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage}
    with exr.File(header, channels) as file:
        file.write(str(path))


def write_dng(path: Path, mosaic: np.ndarray) -> None:
    """A raw file as small as the specification allows: a mosaic RGGB of 16 bits."""
    tifffile = pytest.importorskip("tifffile")
    unit = (1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1)
    tags: list[Any] = [
        (33421, "H", 2, (2, 2), True),
        (33422, "B", 4, (0, 1, 1, 2), True),
        (50706, "B", 4, (1, 4, 0, 0), True),
        (50708, "s", 0, "test", True),
        (50717, "H", 1, 65535, True),
        (50721, "2i", 9, unit, True),
        (50728, "2I", 3, (1, 1, 1, 1, 1, 1), True),
    ]
    tifffile.imwrite(path, mosaic, photometric=32803, extratags=tags)


def write_dicom(path: Path, stored: np.ndarray, *, rgb: bool = False, **fields: Any) -> None:
    pydicom = pytest.importorskip("pydicom")
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    one = pydicom.Dataset()
    one.file_meta = pydicom.dataset.FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID = CTImageStorage
    one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID = generate_uid()
    one.PatientName = "Nobody"
    one.Rows, one.Columns = stored.shape[-3:-1] if rgb else stored.shape[-2:]
    one.SamplesPerPixel = 3 if rgb else 1
    one.PhotometricInterpretation = "RGB" if rgb else "MONOCHROME2"
    if rgb:
        one.PlanarConfiguration = 0
    one.BitsAllocated = one.BitsStored = 8 * stored.itemsize
    one.HighBit = one.BitsStored - 1
    one.PixelRepresentation = int(stored.dtype.kind == "i")
    if not rgb and stored.ndim == 3:
        one.NumberOfFrames = len(stored)
    for name, value in fields.items():
        setattr(one, name, value)
    one.PixelData = stored.tobytes()
    one.save_as(path, enforce_file_format=True)


def test_heic_is_read_at_both_depths_and_damage_is_seen(tmp_path: Path) -> None:
    write_heic(tmp_path / "x.heic", RGB8)
    image = read_image(tmp_path / "x.heic")
    assert np.abs(image.pixels.astype(int) - RGB8).mean() < 2
    deep = RGB8.astype(np.uint16) * 257
    write_heic(tmp_path / "deep.heic", deep)
    read = read_image(tmp_path / "deep.heic")
    assert read.bits == 16
    assert np.abs(read.pixels.astype(int) - deep).mean() < 600
    whole = (tmp_path / "x.heic").read_bytes()
    (tmp_path / "cut.heic").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cut.heic: is damaged or cut short"):
        read_image(tmp_path / "cut.heic")


def test_openexr_is_read_exactly_as_floats(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((5, 7, 3)).astype(np.float32)
    write_exr(tmp_path / "x.exr", {"RGB": values})
    np.testing.assert_array_equal(read_image(tmp_path / "x.exr").pixels, values)
    write_exr(tmp_path / "y.exr", {"Y": 3 * values[..., 0]})
    read = read_image(tmp_path / "y.exr", values=parse_range("0,3", option="range"))
    np.testing.assert_allclose(read.pixels[..., 0], values[..., 0], atol=1e-6)
    half = np.dstack([values, np.full((5, 7), 0.5)]).astype(np.float16)
    write_exr(tmp_path / "half.exr", {"RGBA": half})
    read = read_image(tmp_path / "half.exr")
    np.testing.assert_array_equal(read.pixels, half[..., :3].astype(np.float32))
    assert read.notes == ("its transparency is dropped",)
    write_exr(tmp_path / "z.exr", {"depth": values[..., 0], "mask": values[..., 1]})
    with pytest.raises(DataError, match=r"z.exr: has the channels depth, mask"):
        read_image(tmp_path / "z.exr")
    (tmp_path / "cut.exr").write_bytes((tmp_path / "x.exr").read_bytes()[:200])
    with pytest.raises(DataError, match=r"cut.exr: is damaged"):
        read_image(tmp_path / "cut.exr")


def test_camera_raw_is_developed_and_never_read_as_its_mosaic(tmp_path: Path) -> None:
    rawpy = pytest.importorskip("rawpy")
    mosaic = np.full((64, 96), 9000, np.uint16)
    mosaic[::2, ::2] = 30000  # red
    write_dng(tmp_path / "x.dng", mosaic)
    image = read_image(tmp_path / "x.dng")
    with rawpy.imread(str(tmp_path / "x.dng")) as raw:
        expected = raw.postprocess(output_bps=16, use_camera_wb=True, no_auto_bright=True)
    np.testing.assert_array_equal(image.pixels, expected)
    assert image.bits == 16
    red, green, _ = image.pixels[20:-20, 20:-20].reshape(-1, 3).mean(0)
    assert red > 1.3 * green


def test_a_single_dicom_file_is_an_image_in_its_units(tmp_path: Path) -> None:
    stored = (100 * X).astype(np.uint16)
    write_dicom(tmp_path / "ct.dcm", stored, RescaleSlope=1, RescaleIntercept=-1024, PixelSpacing=[0.5, 0.5])
    image = read_image(tmp_path / "ct.dcm", values=parse_range("-1024,3976", option="range"))
    np.testing.assert_allclose(image.pixels[..., 0] / 65535, (stored / 5000).clip(0, 1), atol=1e-5)
    assert image.spacing == 0.5
    write_dicom(tmp_path / "neg.dcm", stored, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(read_image(tmp_path / "neg.dcm").pixels[..., 0], 65535 - stored)
    write_dicom(tmp_path / "rgb.dcm", RGB8, rgb=True)
    np.testing.assert_array_equal(read_image(tmp_path / "rgb.dcm").pixels, RGB8)
    frames = np.stack([stored, stored[::-1]])
    write_dicom(tmp_path / "two.dcm", frames)
    np.testing.assert_array_equal(read_image(tmp_path / "two.dcm[1]").pixels[..., 0], frames[1])
    assert "has 2 pages" in read_image(tmp_path / "two.dcm").notes[0]
    (tmp_path / "cut.dcm").write_bytes((tmp_path / "ct.dcm").read_bytes()[:900])
    with pytest.raises(DataError, match=r"cut.dcm: is damaged or cut short"):
        read_image(tmp_path / "cut.dcm")


@pytest.mark.parametrize(
    ("library", "data", "words"),
    [
        ("pillow_heif", b"\0\0\0\x18ftypheic" + b"\0" * 99, r"a HEIC image, .*image-fusionkit\[heic\]"),
        ("OpenEXR", b"v/1\x01" + b"\0" * 99, r"an OpenEXR image, .*image-fusionkit\[exr\]"),
        ("rawpy", b"FUJIFILMCCD-RAW" + b"\0" * 99, r"a camera RAW image, .*image-fusionkit\[raw\]"),
        ("pydicom", b"\0" * 128 + b"DICM" + b"\0" * 99, r"a DICOM file, .*image-fusionkit\[medical\]"),
    ],
)
def test_without_the_library_the_line_names_the_extra(
    library: str, data: bytes, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(DataError, match=words):
        read_image(tmp_path / "x")


def test_ordinary_tiff_files_are_not_taken_for_camera_raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rawpy", None)
    cv2.imwrite(str(tmp_path / "x.tif"), RGB8[..., ::-1])
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif").pixels, RGB8)
