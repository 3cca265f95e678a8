"""Read and write images: pixels as stored, with their bit depth and metadata, or an error with a remedy.

Read: PNG, TIFF (also floats, and grey of signed or 32-bit integers), JPEG, JPEG 2000, BMP, WebP, AVIF, GIF, PGM,
PPM, PFM and NPY, and with extras HEIC, OpenEXR, camera RAW and DICOM; grey, grey with alpha, RGB, RGBA, palette.
Written: PNG, TIFF, JPEG, BMP. Alpha is dropped, and of a file with several pages the first is read unless ``FILE[2]``
names one; :attr:`Image.notes` says so.

Orientation: pixels are returned as stored, in every format, with the EXIF orientation as a separate number, which
:meth:`Image.upright` applies.

Grey: an image whose three channels are equal in every pixel is grey (:attr:`Image.is_grey`). That is exact and not
a threshold, because grey sources are: a grey JPEG of three channels has chroma of exactly 128 and decodes to equal
channels. A source with any colour is a colour source; the chroma rule weights it by its saturation.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fusionkit.errors import DataError, UsageError, did_you_mean
from fusionkit.io.atomic import written_aside
from fusionkit.io.codecs import DEPTHS, decode, encode
from fusionkit.io.decoded import Decoded
from fusionkit.io.geo_tags import GeoTags
from fusionkit.io.ranges import FULL, Range, Sampled, fill_invalid, stretched
from fusionkit.io.row_strips import row_strips
from fusionkit.io.text import counted
from fusionkit.io.thermal_cameras import PARTS
from fusionkit.io.tiff import Refused

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Image", "as_pixels", "decode_file", "deepest", "read_image", "split_page", "write_image"]

# Errors that the decoders raise on damaged files.
_DECODER_FAULTS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    OverflowError,
    EOFError,
    MemoryError,
    struct.error,
    zlib.error,
    cv2.error,
)
_NAME_A_RANGE = "name their range: fusionkit fuse --range-a, or for a data set fusionkit data prepare --range-a"
_GREATEST = {8: 255.0, 16: 65535.0}
# A float image may leave [0, 1] by rounding, no more.
_ROUNDING = 1e-5


@dataclass(frozen=True, eq=False)
class Image:
    """One image as stored.

    Attributes:
        pixels: ``(H, W, C)``, C 1 or 3 in RGB order; uint8, uint16, or float32 in [0, 1].
        exif: EXIF block (a TIFF structure) without orientation, thumbnail and maker notes, or None.
        orientation: EXIF orientation, 1 to 8; the pixels are not turned by it.
        icc: ICC colour profile, or None. No colours are converted by it.
        name: name in messages, usually the file.
        limits: the stored values that became 0 and 1 where a range was stretched, else None.
        filled: number of invalid values that were replaced.
        spacing: size of a pixel in millimetres where the file states it and pixels are square, else None.
        geo: where the pixels lie on the Earth, of a GeoTIFF; a TIFF file that is written keeps it.
        notes: facts about the file that its user should know: pages that are not read, transparency that is dropped.

    Raises:
        fusionkit.errors.DataError: the pixels have another form, or floats are not finite or not in [0, 1].
    """

    pixels: NDArray[Any]
    exif: bytes | None = None
    orientation: int = 1
    icc: bytes | None = None
    name: str = "image"
    limits: tuple[float, float] | None = None
    filled: int = 0
    spacing: float | None = None
    geo: GeoTags | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        pixels = self.pixels
        if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or 0 in pixels.shape:
            raise DataError(f"{self.name}: pixels (H, W, 1) or (H, W, 3) are needed, got {pixels.shape}")
        if pixels.dtype not in (np.uint8, np.uint16, np.float32):
            raise DataError(
                f"{self.name}: pixels of uint8, uint16 or float32 are needed, got {pixels.dtype}; {_NAME_A_RANGE}"
            )
        if pixels.dtype == np.float32:
            _check_floats(pixels, self.name)

    @property
    def bits(self) -> int:
        """Bits per sample: 8, 16, or 32 for floats."""
        return int(self.pixels.dtype.itemsize) * 8

    @property
    def size(self) -> str:
        """Width and height, for messages (``"640x480"``)."""
        return f"{self.pixels.shape[1]}x{self.pixels.shape[0]}"

    @property
    def is_grey(self) -> bool:
        """True if the image has one channel, or three that are equal in every pixel."""
        pixels = self.pixels
        if pixels.shape[2] == 1:
            return True
        strips = (pixels[rows] for rows in row_strips(*pixels.shape[:2]))
        return all(bool((strip == strip[..., :1]).all()) for strip in strips)

    def tensor(self, rows: slice = slice(None), *, channels: int | None = None) -> Tensor:
        """Convert pixels to ``(1, C, H, W)`` float32 in [0, 1]: stored value / 255, or / 65535.

        Args:
            rows: the rows to convert; all by default.
            channels: how many of the channels, from the first on; all where None.
        """
        import torch

        unit = self.pixels[rows, :, :channels].transpose(2, 0, 1).astype(np.float32, order="C")
        if self.bits in _GREATEST:
            unit /= np.float32(_GREATEST[self.bits])
        else:
            unit.clip(0, 1, out=unit)
        return torch.from_numpy(unit)[None]

    def upright(self) -> Image:
        """Turn the pixels as the EXIF orientation says; the result has orientation 1."""
        pixels = self.pixels
        if self.orientation in (2, 4, 5, 7):
            pixels = pixels[:, ::-1]
        turns = {3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}.get(self.orientation, 0)
        # The place of a picture that is turned is no longer that of its tags.
        geo = self.geo if self.orientation == 1 else None
        return replace(self, pixels=np.ascontiguousarray(np.rot90(pixels, turns)), orientation=1, geo=geo)

    @classmethod
    def from_tensor(
        cls,
        tensor: Tensor,
        *,
        bits: int = 8,
        exif: bytes | None = None,
        orientation: int = 1,
        icc: bytes | None = None,
        geo: GeoTags | None = None,
    ) -> Image:
        """Make an image of ``(1, C, H, W)`` values in [0, 1], rounded to nearest: rint(255 y), rint(65535 y).

        Args:
            tensor: the values, which are clamped to [0, 1].
            bits: 8, 16, or 32 to keep float32.
            exif: EXIF block.
            orientation: EXIF orientation.
            icc: ICC colour profile.
            geo: where its pixels lie on the Earth.

        Raises:
            fusionkit.errors.UsageError: another number of bits or another shape.
            fusionkit.errors.DataError: values that are not finite.
        """
        import torch

        if bits not in (8, 16, 32):
            raise UsageError(f"bits: 8, 16 or 32 (float) are possible, got {bits}")
        if tensor.ndim != 4 or tensor.shape[0] != 1 or tensor.shape[1] not in (1, 3):
            raise UsageError(f"one image (1, C, H, W) with C 1 or 3 is needed, got {tuple(tensor.shape)}")
        channels, height, width = tensor.shape[1:]
        kind = {8: np.uint8, 16: np.uint16, 32: np.float32}[bits]
        pixels: NDArray[Any] = np.empty((height, width, channels), kind)
        for rows in row_strips(height, width):
            values = tensor[0, :, rows].detach().cpu().to(torch.float64, copy=True).numpy()
            if not np.isfinite(values).all():
                raise DataError("image: values that are not finite (NaN or infinite) cannot be stored")
            values.clip(0, 1, out=values)
            if bits != 32:
                values *= _GREATEST[bits]
                np.rint(values, out=values)
            pixels[rows] = values.astype(kind).transpose(1, 2, 0)
        return cls(pixels, exif=exif, orientation=orientation, icc=icc, geo=geo)


def read_image(path: str | Path, *, values: Range = FULL, fill: bool = False) -> Image:
    """Read an image file in any of the module's formats.

    A file that is cut short or damaged is refused where its format lets that be seen (a JPEG that is damaged in the
    middle does not).

    Args:
        path: the file; its content says what format it has. ``FILE[2]`` is the third page of a TIFF file, or the third
            frame of an animation; ``FILE[thermal]`` and ``FILE[visible]`` are the pictures in a radiometric JPEG.
        values: the stored values that become 0 and 1.
        fill: replace invalid values, see :func:`fusionkit.io.ranges.fill_invalid`.

    Raises:
        fusionkit.errors.DataError: it is missing, a folder, empty, no image, damaged, of an absurd size, of a form
            that is not read, or has values outside the range. One line with the file's name and the remedy.
    """
    decoded = decode_file(path)
    pixels, limits, filled = as_pixels(decoded.pixels, values=values, fill=fill, name=str(path))
    return Image(
        pixels,
        exif=decoded.exif,
        orientation=decoded.orientation,
        icc=decoded.icc,
        name=str(path),
        limits=limits,
        filled=filled,
        spacing=decoded.spacing,
        geo=decoded.geo,
        notes=_notes(decoded, Path(path)),
    )


def split_page(path: Path) -> tuple[Path, int | str | None]:
    """Split ``FILE[2]`` or ``FILE[thermal]`` into file and page, where no file has that name; else the page is None."""
    match = re.fullmatch(rf"(.+)\[(\d{{1,6}}|{'|'.join(PARTS)})\]", path.name)
    if match is None or path.exists():
        return path, None
    return path.with_name(match[1]), match[2] if match[2] in PARTS else int(match[2])


def _notes(decoded: Decoded, path: Path) -> tuple[str, ...]:
    notes = []
    if decoded.joined:
        notes.append(f"has {decoded.pages} pages, or colours: it is read as RGB; {path.name}[1] names the second page")
    elif decoded.pages > 1 and split_page(path)[1] is None:
        notes.append(f"has {decoded.pages} pages, of which the first is read; {path.name}[1] names the second")
    if decoded.radiometric:
        notes.append(
            f"its false colours are read; {path.name}[thermal] names the temperatures in it, {path.name}[visible] the "
            "photograph"
        )
    if decoded.transparent:
        notes.append("its transparency is dropped")
    return tuple(notes)


def as_pixels(
    stored: NDArray[Any], *, values: Range, fill: bool, name: str
) -> tuple[NDArray[Any], tuple[float, float] | None, int]:
    """Bring stored values to pixels: fill invalid ones, then scale the range.

    Args:
        stored: ``(H, W, C)``, integers or floats.
        values: the stored values that become 0 and 1.
        fill: replace invalid values.
        name: begins messages.

    Returns:
        Pixels that :class:`Image` takes if the range allows it, the limits that were scaled to 0 and 1 or None, and the
        number of values that were filled.

    Raises:
        fusionkit.errors.DataError: no value is valid, or all are equal.
    """
    try:
        filled = 0
        if fill:
            stored, filled = fill_invalid(stored)
        limits = values.limits(Sampled().add(stored))
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    if limits is None:
        return stored, None, filled
    if stored.dtype.kind == "f":
        _check_finite(stored, name)
    return stretched(stored, *limits), limits, filled


def decode_file(path: str | Path) -> Decoded:
    """Decode an image file to its stored values.

    Raises:
        fusionkit.errors.DataError: as :func:`read_image`.
    """
    path = Path(path)
    file, page = split_page(path)
    try:
        if file.is_dir():
            raise DataError(f"{path}: is a folder; name an image file in it")
        if file.is_char_device() or file.is_block_device():
            raise DataError(f"{path}: is a device; name an image file")
        data = file.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the name") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; check the file's permissions") from None
    if not data:
        raise DataError(f"{path}: is empty (0 bytes); get the file again")
    try:
        return decode(data, page=page)
    except Refused as error:
        raise DataError(f"{path}: {error}") from None
    except _DECODER_FAULTS as error:
        cause = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: is damaged or cut short ({cause}); get a whole copy of it") from None


def write_image(path: str | Path, image: Image) -> None:
    """Write an image in the format of the file's suffix, with its metadata; an existing file is replaced.

    PNG and TIFF store the pixels exactly; JPEG is written at quality 98 without chroma subsampling; BMP holds no
    metadata. An ICC profile that is not for the image's channels is left out. A missing folder is
    created, and the file is written atomically.

    Raises:
        fusionkit.errors.UsageError: an unknown suffix.
        fusionkit.errors.DataError: the format cannot hold the image's bits (convert it first: nothing is rounded
            here), or the file cannot be written.
    """
    path = Path(path)
    most = deepest(path)
    if image.bits > most:
        raise DataError(
            f"{path}: {path.suffix} holds at most {most} bits per sample and the image has {image.bits}; "
            f"write {'.tif' if image.bits == 32 else '.png or .tif'}, or ask for {most} bits"
        )
    icc = image.icc if image.icc and image.icc[16:20] == _PROFILE_SPACES[image.pixels.shape[2]] else None
    try:
        pieces = encode(
            image.pixels,
            path.suffix.lower(),
            exif=image.exif,
            orientation=image.orientation,
            icc=icc,
            geo=image.geo,
        )
    except (OSError, ValueError, struct.error, cv2.error) as error:
        raise DataError(f"{path}: {image.size} cannot be stored as {path.suffix}: {error}; write .png") from None
    if path.is_dir():
        raise DataError(f"{path}: is a folder; name a file")
    with written_aside(path) as aside, aside.open("wb") as stream:
        for piece in pieces:
            stream.write(piece)


_PROFILE_SPACES = {1: b"GRAY", 3: b"RGB "}


def deepest(path: str | Path) -> int:
    """Return the largest number of bits per sample of a suffix's format: 8, 16, or 32 (float).

    Raises:
        fusionkit.errors.UsageError: images are not written with this suffix.
    """
    suffix = Path(path).suffix
    if suffix.lower() not in DEPTHS:
        what = f"unknown suffix {suffix!r}" if suffix else "a suffix is needed, to say the format"
        raise UsageError(f"{path}: {what}: {did_you_mean(suffix.lower(), DEPTHS)}")
    return DEPTHS[suffix.lower()][-1]


def _check_finite(pixels: NDArray[Any], name: str) -> None:
    if not np.isfinite(pixels).all():
        count = int((~np.isfinite(pixels)).sum())
        raise DataError(
            f"{name}: not finite (NaN or infinite): {counted(count, 'value')}; replace them first, or fill them: "
            "fusionkit fuse --fill-invalid"
        )


def _check_floats(pixels: NDArray[Any], name: str) -> None:
    _check_finite(pixels, name)
    least, greatest = float(pixels.min()), float(pixels.max())
    if least < -_ROUNDING or greatest > 1 + _ROUNDING:
        raise DataError(
            f"{name}: float values from {least:g} to {greatest:g}; scale them to 0..1 first, or {_NAME_A_RANGE}"
        )
