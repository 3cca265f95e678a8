"""Small pictures of every pixel form, written by other libraries, and checks of one-line errors."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
import tifffile

from fusionkit.errors import DataError
from fusionkit.io.images import read_image

RNG = np.random.default_rng(7)
GREY8 = RNG.integers(0, 256, (9, 14), dtype=np.uint8)
RGB8 = RNG.integers(0, 256, (9, 14, 3), dtype=np.uint8)
RGBA8 = np.dstack([RGB8, RNG.integers(0, 256, (9, 14), dtype=np.uint8)])
GREY16, RGB16 = (x.astype(np.uint16) * 251 + 3 for x in (GREY8, RGB8))
GREYF, RGBF = ((x / np.float32(255)).astype(np.float32) for x in (GREY8, RGB8))
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


def refused(path: Path, *words: object) -> None:
    with pytest.raises(DataError) as caught:
        read_image(path)
    one_line(caught.value, path, *words)


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
