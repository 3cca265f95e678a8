"""A fused image: its values, and what is stored with them in a file."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from fusionkit.errors import FusionNote
from fusionkit.io.geo_tags import GeoTags
from fusionkit.io.images import Image, deepest, write_image

__all__ = ["Fused"]


@dataclass(frozen=True, eq=False)
class Fused:
    """A fused image.

    Attributes:
        tensor: ``(1, C, H, W)`` float32 in [0, 1] on the CPU, C 1 or 3.
        bits: bits per sample that it is stored with by default.
        exif: EXIF block of the first source with colour, without its orientation.
        orientation: EXIF orientation that all sources share, or 1.
        icc: ICC profile of the first source with colour.
        geo: where its pixels lie on the Earth, as the sources say.
    """

    tensor: Tensor
    bits: int = 8
    exif: bytes | None = None
    orientation: int = 1
    icc: bytes | None = None
    geo: GeoTags | None = None

    @property
    def image(self) -> Image:
        """The image as it is stored with its own bits: rint(255 y), rint(65535 y), or floats."""
        return self._image(self.bits)

    def array(self, *, bits: int | None = None) -> NDArray[Any]:
        """``(H, W)`` or ``(H, W, 3)`` RGB; uint8, uint16 or float32.

        Args:
            bits: 8, 16, or 32 for floats in [0, 1]; its own where None.
        """
        pixels = self._image(self.bits if bits is None else bits).pixels
        return pixels[..., 0] if pixels.shape[2] == 1 else pixels

    def save(self, path: str | Path, *, bits: int | None = None) -> Path:
        """Write the image, whole or not at all; an existing file is replaced.

        Args:
            path: ``.png``, ``.tif``, ``.jpg`` or ``.bmp``; missing folders are made.
            bits: 8, 16 or 32. Where None, its own, or the most that the format holds with a :class:`FusionNote`.

        Returns:
            The path.

        Raises:
            fusionkit.errors.UsageError: an unknown suffix or number of bits.
            fusionkit.errors.DataError: the format cannot hold ``bits``, or the file cannot be written.
        """
        path = Path(path)
        if bits is None:
            bits = min(self.bits, deepest(path))
            if bits < self.bits:
                warnings.warn(
                    f"sources of {self.bits} bits give a result of {bits} bits, the most that {path.suffix} holds",
                    FusionNote,
                    stacklevel=2,
                )
        if self.geo is not None and path.suffix.lower() not in (".tif", ".tiff"):
            warnings.warn(
                f"{path.name}: {path.suffix} does not hold where the scene lies; .tif does", FusionNote, stacklevel=2
            )
        write_image(path, self._image(bits))
        return path

    def _image(self, bits: int) -> Image:
        return Image.from_tensor(
            self.tensor, bits=bits, exif=self.exif, orientation=self.orientation, icc=self.icc, geo=self.geo
        )
