"""Small copies of images for the page: one JPEG a different image, named by its digest, written once."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fusionkit.errors import DataError
from fusionkit.io.atomic import written_aside
from fusionkit.io.images import read_image

__all__ = ["PREVIEWS", "Previews"]

PREVIEWS = "previews"
"""Sub-folder of the previews."""

_LONGEST = 1024
_QUALITY = 84
_NAME = re.compile(r"[0-9a-f]{24}\.jpg")


class Previews:
    """Writes the previews of a board and forgets those that it no longer needs.

    Args:
        out: the folder of the board.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self._used: set[Path] = set()

    def of(self, relative: str, digest: str = "") -> str:
        """The preview of an image: at most 1024 pixels long, 8 bits.

        Args:
            relative: the image's path, relative to the board's folder.
            digest: its SHA-256; "" to take it from the file.

        Returns:
            The preview's path relative to the board's folder, in POSIX form; "" where there is no such image, or
            none that can be read: a board outlives the data that it was measured on.
        """
        if not digest:
            try:
                digest = hashlib.sha256((self.out / relative).read_bytes()).hexdigest()
            except OSError:
                return ""
        path = self.out / PREVIEWS / digest[:2] / f"{digest[:24]}.jpg"
        if not path.is_file() and not self._write(path, relative):
            return ""
        self._used.add(path)
        return path.relative_to(self.out).as_posix()

    def sweep(self) -> None:
        """Remove the previews of images that are on the board no longer."""
        for path in (self.out / PREVIEWS).glob("??/*.jpg"):
            if path not in self._used and _NAME.fullmatch(path.name):
                path.unlink(missing_ok=True)

    def _write(self, path: Path, relative: str) -> bool:
        try:
            pixels = read_image(self.out / relative).pixels
        except DataError:
            return False
        found, data = cv2.imencode(".jpg", _small(pixels), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        if not found:
            return False
        with written_aside(path) as aside:
            aside.write_bytes(data.tobytes())
        return True


def _small(pixels: NDArray[np.generic]) -> NDArray[np.uint8]:
    """``(H, W, C)`` of any depth as 8-bit grey or BGR, shrunk so that its longer side fits."""
    scale = {"uint8": 1.0, "uint16": 255 / 65535, "float32": 255.0}[pixels.dtype.name]
    image = pixels if scale == 1.0 else np.rint(pixels.astype(np.float32) * scale).clip(0, 255).astype(np.uint8)
    image = image[..., 0] if image.shape[2] == 1 else image[..., ::-1]
    height, width = image.shape[:2]
    if (shrink := _LONGEST / max(height, width)) < 1:
        size = (max(round(width * shrink), 1), max(round(height * shrink), 1))
        image = cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(image).astype(np.uint8, copy=False)
