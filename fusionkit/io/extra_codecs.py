"""Decode files that few have, each by the library of an extra: HEIC, OpenEXR, camera RAW, single DICOM images."""

from __future__ import annotations

import io
import tempfile
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusionkit.io.decoded import Decoded, check_page, check_size
from fusionkit.io.tiff import Refused, split_exif, subfile_photometrics

__all__ = ["decode_dicom", "decode_exr", "decode_heic", "decode_raw", "is_raw", "needed_library"]

_RAW_MAGIC = (b"FUJIFILMCCD-RAW", b"IIU\0", b"IIRO", b"IIRS", b"MMOR", b"FOVb")
_CFA, _LINEAR_RAW = 32803, 34892  # photometric interpretations of TIFF


def needed_library(name: str, what: str, extra: str) -> ModuleType:
    """Import the library of an extra.

    Raises:
        fusionkit.io.tiff.Refused: it is missing: what reads the file, and how to get it.
    """
    try:
        return import_module(name)
    except ImportError:
        raise Refused(f"is {what}, which the extra {extra} reads: pip install 'image-fusionkit[{extra}]'") from None


def decode_heic(data: bytes, page: int = 0) -> Decoded:
    """Decode a HEIC file, of 8 bits, or of 10 and 12 scaled to 16; it is upright, as the format demands.

    Raises:
        fusionkit.io.tiff.Refused: pillow-heif is missing, or there is no such page.
        ValueError: the file is damaged.
    """
    heif = needed_library("pillow_heif", "a HEIC image", "heic")
    opened = heif.open_heif(data, convert_hdr_to_8bit=False)
    check_page(page, len(opened))
    picture = opened[page]
    check_size(*picture.size)
    pixels = np.asarray(picture)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    alpha = pixels.shape[2] in (2, 4)
    whole = pixels[..., -1:] if alpha else None
    transparent = whole is not None and bool((whole < np.iinfo(pixels.dtype).max).any())
    exif, _ = split_exif(picture.info.get("exif"))
    pixels = np.ascontiguousarray(pixels[..., :-1] if alpha else pixels)
    return Decoded(pixels, exif, 1, picture.info.get("icc_profile"), len(opened), transparent)


def decode_exr(data: bytes) -> Decoded:
    """Decode the first part of an OpenEXR file, grey or RGB, as float32.

    Raises:
        fusionkit.io.tiff.Refused: OpenEXR is missing, or the file has other channels.
        ValueError: the file is damaged.
    """
    exr = needed_library("OpenEXR", "an OpenEXR image", "exr")
    # The library reads files alone.
    with tempfile.NamedTemporaryFile(suffix=".exr") as file:
        file.write(data)
        file.flush()
        try:
            with exr.File(file.name) as opened:
                channels = {name: channel.pixels for name, channel in opened.channels().items()}
        except RuntimeError:
            raise ValueError("it cannot be decoded") from None
    for name in ("RGB", "RGBA", "Y"):
        if name in channels:
            break
    else:
        if len(channels) != 1:
            raise Refused(f"has the channels {', '.join(sorted(channels))}; RGB or one channel is read: save it so")
        (name,) = channels
    pixels = np.asarray(channels[name]).astype(np.float32)
    if pixels.ndim == 2:
        return Decoded(pixels[..., None], transparent="A" in channels and bool((channels["A"] < 1).any()))
    transparent = pixels.shape[2] == 4 and bool((pixels[..., 3] < 1).any())
    return Decoded(np.ascontiguousarray(pixels[..., :3]), transparent=transparent)


def is_raw(data: bytes) -> bool:
    """Return whether bytes are camera RAW: by their first bytes, or TIFF that holds the values of a colour mosaic."""
    if data.startswith(_RAW_MAGIC) or data[4:11] == b"ftypcrx":
        return True
    if not data.startswith((b"II*\0", b"MM\0*")):
        return False
    return data[8:10] == b"CR" or bool(subfile_photometrics(data) & {_CFA, _LINEAR_RAW})


def decode_raw(data: bytes) -> Decoded:
    """Develop camera RAW to RGB of 16 bits: the camera's white balance, BT.709 gamma, no automatic brightness, upright.

    Raises:
        fusionkit.io.tiff.Refused: rawpy is missing.
        ValueError: the file is damaged.
    """
    rawpy = needed_library("rawpy", "a camera RAW image", "raw")
    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            check_size(raw.sizes.width, raw.sizes.height)
            pixels = raw.postprocess(output_bps=16, use_camera_wb=True, no_auto_bright=True)
    except rawpy.LibRawError as error:
        raise ValueError(" ".join(str(error).split()) or "it cannot be decoded") from None
    return Decoded(np.ascontiguousarray(pixels))


def decode_dicom(data: bytes, page: int = 0) -> Decoded:
    """Decode a DICOM image, grey by its rescale slope and intercept, or RGB; its frames are pages.

    Raises:
        fusionkit.io.tiff.Refused: pydicom is missing, there is no such page, or another form of pixels.
        ValueError: the file is damaged.
    """
    pydicom = needed_library("pydicom", "a DICOM file", "medical")
    try:
        one = pydicom.dcmread(io.BytesIO(data))
        form = str(one.PhotometricInterpretation)
        check_size(int(one.Columns), int(one.Rows))
        stored = one.pixel_array
        slope, intercept = float(one.get("RescaleSlope", 1)), float(one.get("RescaleIntercept", 0))
        bits = int(one.BitsStored)
        spacing = [float(value) for value in one.get("PixelSpacing", None) or ()]
    except (pydicom.errors.InvalidDicomError, AttributeError, KeyError, RuntimeError, NotImplementedError) as error:
        raise ValueError(" ".join(str(error).split()) or "it has no pixels") from None
    if form not in ("MONOCHROME1", "MONOCHROME2", "RGB"):
        raise Refused(f"holds {form} pixels; MONOCHROME1, MONOCHROME2 and RGB are read: convert it")
    frames = stored.reshape(-1, *stored.shape[-3 if form == "RGB" else -2 :])
    check_page(page, len(frames))
    pixels: NDArray[Any] = frames[page]
    if form == "RGB":
        return Decoded(np.ascontiguousarray(pixels), pages=len(frames))
    if form == "MONOCHROME1":
        pixels = ((1 << bits) - 1 - pixels) if pixels.dtype.kind == "u" else -1 - pixels
    whole = slope == 1 and intercept == int(intercept)
    if not whole:
        pixels = (pixels * slope + intercept).astype(np.float32)
    elif intercept:
        pixels = pixels.astype(np.int32) + int(intercept)
    square = len(spacing) == 2 and spacing[0] > 0 and abs(spacing[0] / spacing[1] - 1) < 1e-3
    return Decoded(np.ascontiguousarray(pixels[..., None]), pages=len(frames), spacing=spacing[0] if square else None)
