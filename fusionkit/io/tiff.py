"""TIFF files and EXIF blocks, which have the same structure: read tags, write all bit depths with metadata.

Pillow reads the tags and decodes 8 bits per sample; OpenCV decodes 16 bits and floats, which Pillow cannot.
"""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import TiffImagePlugin

from fusionkit.io.geo_tags import GEO_TAGS, GeoTags, read_geo_tags
from fusionkit.io.row_strips import row_strips

__all__ = [
    "Layout",
    "Refused",
    "encode_tiff",
    "join_exif",
    "page_offsets",
    "quiet",
    "read_layout",
    "split_exif",
    "starting_at",
    "subfile_photometrics",
    "unturned",
]

_ORIENTATION, _ICC, _EXIF_IFD, _GPS_IFD = 274, 34675, 34665, 34853
# Entries that are still true for a fused image: description, maker, model, resolution, software, date, artist,
# copyright.
_DESCRIPTIVE = (270, 271, 272, 282, 283, 296, 305, 306, 315, 33432)
# Maker notes hold offsets into the file they came from; the interoperability block is useless without the rest.
_DROPPED = (0x927C, 0xA005)
# What Pillow raises on tags that are not what they say.
_EXIF_FAULTS = (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, AttributeError, struct.error)

_SUBFILE, _REDUCED_OR_MASK = 254, 1 | 4

_LOCK = threading.RLock()


class Refused(ValueError):
    """An image that is not supported; the message gives the user the reason and the remedy."""


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Pillow's warnings about odd tags and OpenCV's log off the user's terminal; errors still raise.

    Both are settings of the whole process, so one thread at a time holds them.
    """
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        level = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        try:
            yield
        finally:
            cv2.utils.logging.setLogLevel(level)


@dataclass(frozen=True)
class Layout:
    """Storage layout of the first picture of a TIFF file.

    Attributes:
        width: in pixels.
        height: in pixels.
        bits: bits per sample.
        kind: ``"unsigned"``, ``"signed"``, ``"float"`` or ``"other"``.
        samples: samples per pixel, alpha included.
        photometric: 0 white is zero, 1 black is zero, 2 RGB, 3 palette, others as in the TIFF specification.
        planar: whether the channels are stored one after the other.
        whole: whether the file contains all data that the tags point to.
        orientation: EXIF orientation, 1 to 8.
        icc: colour profile.
        geo: where its pixels lie on the Earth, or None.
    """

    width: int
    height: int
    bits: int
    kind: str
    samples: int
    photometric: int
    planar: bool
    whole: bool
    orientation: int
    icc: bytes | None
    geo: GeoTags | None = None


def read_layout(data: bytes) -> Layout:
    """Read the tags of a TIFF file; call it within :func:`quiet`.

    Raises:
        ValueError, KeyError and their like: the tags are damaged.
    """
    head = data[:16] if data[2:4] in (b"+\0", b"\0+") else data[:8]
    tags = TiffImagePlugin.ImageFileDirectory_v2(head)
    stream = io.BytesIO(data)
    stream.seek(tags.next)
    tags.load(stream)
    offsets = tags.get(273, tags.get(324))
    counts = tags.get(279, tags.get(325))
    if not offsets:
        raise ValueError("no picture data")
    whole = counts is None or all(o + c <= len(data) for o, c in zip(offsets, counts, strict=False))
    kinds = {1: "unsigned", 2: "signed", 3: "float"}
    icc = tags.get(_ICC)
    return Layout(
        width=int(tags[256]),
        height=int(tags[257]),
        bits=int(tags.get(258, (1,))[0]),
        kind=kinds.get(tags.get(339, (1,))[0], "other"),
        samples=int(tags.get(277, 1)),
        photometric=int(tags.get(262, 1)),
        planar=tags.get(284, 1) == 2,
        whole=whole,
        orientation=_orientation(tags.get(_ORIENTATION)),
        icc=icc if isinstance(icc, bytes) else None,
        geo=read_geo_tags(tags),
    )


def subfile_photometrics(data: bytes) -> set[int]:
    """Read the photometric interpretations of the first picture and of the pictures that its directory names.

    Args:
        data: a TIFF file, but no BigTIFF.

    Returns:
        Codes of the TIFF specification and of DNG; empty where the tags are damaged.
    """
    found: set[int] = set()
    stream = io.BytesIO(data)
    try:
        with quiet():
            tags = TiffImagePlugin.ImageFileDirectory_v2(data[:8])
            stream.seek(tags.next)
            tags.load(stream)
            found.add(int(tags.get(262, 1)))
            inner = tags.get(330, ())
            for offset in inner if isinstance(inner, tuple) else (inner,):
                below = TiffImagePlugin.ImageFileDirectory_v2(data[:8])
                stream.seek(int(offset))
                below.load(stream)
                found.add(int(below.get(262, 1)))
    except (*_EXIF_FAULTS, OverflowError):
        return found
    return found


def page_offsets(data: bytes) -> list[int]:
    """List where the directory of each page starts; reduced copies and masks of a page are none.

    Raises:
        ValueError, struct.error: the directories are damaged.
    """
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    pointer, counter, step, value = ("Q", "Q", 20, 12) if big else ("I", "H", 12, 8)
    (start,) = struct.unpack_from(order + pointer, data, 8 if big else 4)
    pages: list[int] = []
    seen: set[int] = set()
    while start:
        if start in seen:
            raise ValueError("its pages point to each other")
        seen.add(start)
        try:
            (count,) = struct.unpack_from(order + counter, data, start)
            first = start + struct.calcsize(counter)
            kind = 0
            for entry in range(first, first + count * step, step):
                if struct.unpack_from(order + "H", data, entry) == (_SUBFILE,):
                    (kind,) = struct.unpack_from(order + "I", data, entry + value)
            (following,) = struct.unpack_from(order + pointer, data, first + count * step)
        except struct.error:
            if not pages:
                raise
            raise ValueError("it points beyond its own end") from None
        if not kind & _REDUCED_OR_MASK or not pages:
            pages.append(start)
        start = following
    return pages


def starting_at(data: bytes, start: int) -> bytes:
    """Let a TIFF file begin with the page whose directory starts at ``start``, for all decoders."""
    patched = bytearray(data)
    big = data[2:4] in (b"+\0", b"\0+")
    struct.pack_into(("<" if data[:2] == b"II" else ">") + ("Q" if big else "I"), patched, 8 if big else 4, start)
    return bytes(patched)


def unturned(data: bytes) -> bytes:
    """Set the orientation of a TIFF file to 1, so that all decoders return the pixels as stored."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    (start,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, start)
    first, step, value = (start + 8, 20, 12) if big else (start + 2, 12, 8)
    for entry in range(first, first + count * step, step):
        tag, form = struct.unpack_from(order + "HH", data, entry)
        if tag == _ORIENTATION:
            patched = bytearray(data)
            struct.pack_into(order + ("I" if form == 4 else "H"), patched, entry + value, 1)
            return bytes(patched)
    return data


def split_exif(raw: bytes | None) -> tuple[bytes | None, int]:
    """Split an EXIF block into the entries worth keeping and the orientation.

    Args:
        raw: the block, with or without ``Exif\\0\\0`` in front, or a whole TIFF file.

    Returns:
        The block as a TIFF structure (description, maker, date, exposure, place; without thumbnail, maker notes and
        orientation) or None, and the orientation, 1 to 8. A block that cannot be read counts as none.
    """
    if not raw:
        return None, 1
    orientation = 1
    try:
        with quiet():
            exif = _load(raw.removeprefix(b"Exif\0\0"))
            orientation = _orientation(exif.get(_ORIENTATION))
            kept = Pillow.Exif()
            for tag in _DESCRIPTIVE:
                if tag in exif:
                    kept[tag] = exif[tag]
            for block in (_EXIF_IFD, _GPS_IFD):
                entries = {tag: value for tag, value in exif.get_ifd(block).items() if tag not in _DROPPED}
                if entries:
                    kept.get_ifd(block).update(entries)
            return (kept.tobytes().removeprefix(b"Exif\0\0") if _holds_anything(kept) else None), orientation
    except _EXIF_FAULTS:
        return None, orientation


def _orientation(stated: object) -> int:
    return stated if isinstance(stated, int) and 1 <= stated <= 8 else 1


def _holds_anything(exif: Pillow.Exif) -> bool:
    return bool(len(exif) or exif.get_ifd(_EXIF_IFD) or exif.get_ifd(_GPS_IFD))


def join_exif(block: bytes | None, orientation: int) -> bytes | None:
    """Put the orientation back into a block of :func:`split_exif`; None if there are no entries."""
    if orientation == 1:
        return block
    exif = _load(block)
    exif[_ORIENTATION] = orientation
    return exif.tobytes().removeprefix(b"Exif\0\0")


def _load(block: bytes | None) -> Pillow.Exif:
    exif = Pillow.Exif()
    if block:
        exif.load(b"Exif\0\0" + block)
        # Pillow reads sub-blocks lazily from the stream; writing needs them read.
        for tag in (_EXIF_IFD, _GPS_IFD):
            exif.get_ifd(tag)
    return exif


def encode_tiff(
    pixels: NDArray[np.generic],
    *,
    exif: bytes | None,
    orientation: int,
    icc: bytes | None,
    geo: GeoTags | None = None,
) -> list[bytes]:
    """Encode pixels as a TIFF file with one deflate-compressed strip.

    Args:
        pixels: ``(H, W, C)``, C 1 or 3, uint8, uint16 or float32.
        exif: a block of :func:`split_exif`.
        orientation: EXIF orientation.
        icc: colour profile.
        geo: where its pixels lie on the Earth.

    Returns:
        The file, in pieces.
    """
    height, width, channels = pixels.shape
    packer = zlib.compressobj()
    order = pixels.dtype.newbyteorder("<")
    strip = [packer.compress(pixels[rows].astype(order, order="C").data) for rows in row_strips(height, width)]
    strip.append(packer.flush())
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    described = _load(exif)
    for tag, value in described.items():
        tags[tag] = value
    for block in (_EXIF_IFD, _GPS_IFD):
        entries = described.get_ifd(block)
        if entries:
            tags[block] = entries
    tags[256], tags[257] = width, height
    tags[258] = (pixels.dtype.itemsize * 8,) * channels
    tags[259] = 8
    tags[262] = 1 if channels == 1 else 2
    tags[_ORIENTATION] = orientation
    tags[277], tags[278] = channels, height
    tags[339] = (3 if pixels.dtype.kind == "f" else 1,) * channels
    if icc:
        tags[_ICC] = icc
        tags.tagtype[_ICC] = 7
    for tag, value in (geo.tags if geo else {}).items():
        tags.tagtype[tag] = GEO_TAGS[tag]
        tags[tag] = value
    # Pillow counts the strip's offset from the end of the directory, which comes first.
    tags[273], tags[279] = 0, sum(map(len, strip))
    stream = io.BytesIO()
    tags.save(stream)
    return [stream.getvalue(), *strip]
