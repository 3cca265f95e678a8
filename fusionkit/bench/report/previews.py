"""Small JPEGs for the page, named by a digest of what they show and written once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fusionkit.bench.report.evidence import is_evidence, lies_inside
from fusionkit.errors import DataError
from fusionkit.io.atomic import written_aside
from fusionkit.io.digest import file_digest
from fusionkit.io.images import read_image

__all__ = ["LONGEST", "PREVIEWS", "PictureStore", "Previews"]

PREVIEWS = "previews"
"""Sub-folder of the previews."""

LONGEST = 1024
"""Longer side of a preview in pixels, unless it is said otherwise."""

_QUALITY = 84
_NAME = re.compile(r"[0-9a-f]{24}\.jpg")


class PictureStore:
    """A folder of small JPEGs that are named by a digest of what they show: each is written once.

    Args:
        out: the folder of the board.
        folder: the store's folder below it.
    """

    def __init__(self, out: Path, folder: str) -> None:
        self.out = out
        self._folder = out / folder
        self._used: set[Path] = set()

    def keep(self, digest: str, draw: Callable[[], bytes]) -> str:
        """The picture of a digest, drawn where it is not there.

        Args:
            digest: of all that decides the picture, hexadecimal.
            draw: makes the JPEG.

        Returns:
            Its path relative to the board's folder, in POSIX form; "" where ``draw`` raises a
            :class:`fusionkit.errors.DataError`: a board outlives the data that it was measured on.
        """
        path = self._folder / digest[:2] / f"{digest[:24]}.jpg"
        if not path.is_file():
            try:
                data = draw()
            except DataError:
                return ""
            with written_aside(path) as aside:
                aside.write_bytes(data)
        self._used.add(path)
        return path.relative_to(self.out).as_posix()

    def sweep(self) -> None:
        """Remove the pictures that were not asked for: they are on the board no longer."""
        for path in self._folder.glob("??/*.jpg"):
            if path not in self._used and _NAME.fullmatch(path.name):
                path.unlink(missing_ok=True)


class Previews(PictureStore):
    """Small copies of a board's images, 8 bits.

    Args:
        out: the folder of the board.
        folder: where they are written, below ``previews``; the board's own folder if None.
        longest: longer side in pixels, at most.
    """

    def __init__(self, out: Path, folder: Path | None = None, longest: int = LONGEST) -> None:
        super().__init__(folder or out, PREVIEWS)
        self._images = out
        self._longest = longest

    def of(self, relative: str, digest: str = "") -> str:
        """The preview of an image.

        Args:
            relative: the image's path, relative to the board's folder.
            digest: its SHA-256 by the record that tells of it; "" for a file of the board's own folder that no record
                has a digest of.

        Returns:
            The preview's path relative to the folder that it is written to, in POSIX form; "" where there is no such
            image, none that can be read, or another one than the record tells of.
        """
        file = self._images / relative
        if not digest:
            if not lies_inside(relative) or not file.is_file():
                return ""
            digest = file_digest(file)
        shown = digest
        if self._longest != LONGEST:
            shown = hashlib.sha256(f"{digest} {self._longest}".encode()).hexdigest()
        return self.keep(shown, lambda: _encoded(self._images, relative, digest, self._longest))


def _encoded(out: Path, relative: str, digest: str, longest: int) -> bytes:
    file = out / relative
    if not is_evidence(out, relative, digest):
        raise DataError(f"{file}: is not the image that the record tells of")
    pixels = _small(read_image(file).pixels, longest)
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()


def _small(pixels: NDArray[np.generic], longest: int) -> NDArray[np.uint8]:
    """``(H, W, C)`` of any depth as 8-bit grey or BGR, shrunk so that its longer side fits."""
    scale = {"uint8": 1.0, "uint16": 255 / 65535, "float32": 255.0}[pixels.dtype.name]
    image = pixels if scale == 1.0 else np.rint(pixels.astype(np.float32) * scale).clip(0, 255).astype(np.uint8)
    image = image[..., 0] if image.shape[2] == 1 else image[..., ::-1]
    height, width = image.shape[:2]
    if (shrink := longest / max(height, width)) < 1:
        size = (max(round(width * shrink), 1), max(round(height * shrink), 1))
        image = cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(image).astype(np.uint8, copy=False)
