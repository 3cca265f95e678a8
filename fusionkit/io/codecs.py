"""Decode and encode the bytes of image files, each format with the library that does it without loss.

Pillow decodes 8 bits per sample, since it reports truncated files; it would silently halve 16-bit colour, so
OpenCV decodes that, after a check that the file is complete.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from PIL import Image as Pillow
from PIL.ImageFile import ImageFile

from fusionkit.io.array_files import decode_npy, decode_pfm
from fusionkit.io.decoded import MAX_PIXELS, Decoded, check_page, check_size
from fusionkit.io.extra_codecs import decode_dicom, decode_exr, decode_heic, decode_raw, is_raw
from fusionkit.io.geo_tags import GeoTags
from fusionkit.io.png import encode_png, find_chunk
from fusionkit.io.thermal_cameras import decode_part, holds_temperatures
from fusionkit.io.tiff import (
    Layout,
    Refused,
    encode_tiff,
    join_exif,
    page_offsets,
    quiet,
    read_layout,
    split_exif,
    starting_at,
    unturned,
)
from fusionkit.io.tiff_planes import is_array_of_planes, take_plane

__all__ = ["DEPTHS", "MAX_PIXELS", "Decoded", "decode", "encode"]

DEPTHS = {".png": (8, 16), ".tif": (8, 16, 32), ".tiff": (8, 16, 32), ".jpg": (8,), ".jpeg": (8,), ".bmp": (8,)}
"""Suffixes that can be written, with the bits per sample that each format can hold."""

JPEG_QUALITY = 98

_OPAQUE = {8: 255, 16: 65535}
# Kinds of whole numbers that Pillow decodes, by byte order.
_WHOLE_NUMBERS = {
    b"II": (("signed", 16), ("signed", 32), ("unsigned", 32)),
    b"MM": (("signed", 16), ("signed", 32)),
}

Pixels = NDArray[np.generic]


def decode(data: bytes, *, page: int | str | None = None) -> Decoded:
    """Decode the bytes of a file; its first bytes say which format it is, not its name.

    Args:
        data: the bytes.
        page: the page of a TIFF file, or the frame of an animation, counted from 0. Where None it is the first, or of
            an array of three planes that tifffile wrote, all as RGB. Or the name of a picture in a radiometric JPEG,
            see :mod:`fusionkit.io.thermal_cameras`.

    Raises:
        fusionkit.io.tiff.Refused: the reason and the remedy, for the user.
        OSError, SyntaxError, ValueError and their like: from the decoders, the file is damaged.
    """
    if isinstance(page, str):
        return decode_part(data, page)
    decoder = _decoder(data)
    if decoder is _decode_tiff:
        return decoder(data, page)
    if decoder in _PAGED:
        return decoder(data, page or 0)
    if page:
        raise Refused(f"has one page, and page {page} is asked for: pages count from 0")
    return decoder(data)


def _decoder(data: bytes) -> Callable[..., Decoded]:
    if is_raw(data):
        return decode_raw
    for magic, decoder in _DECODERS:
        if data.startswith(magic) and (magic != b"RIFF" or data[8:12] == b"WEBP"):
            return decoder
    brand = data[8:12] if data[4:8] == b"ftyp" else b""
    if brand in (b"avif", b"avis"):
        return _decode_avif
    if brand in (b"heic", b"heix", b"hevc", b"hevx", b"mif1", b"msf1"):
        return decode_heic
    if data[128:132] == b"DICM":
        return decode_dicom
    for known, what in _FOREIGN:
        if known(data, brand):
            raise Refused(f"is {what}, which is not read: convert it to 16-bit TIFF or PNG")
    raise Refused(
        "is not an image that can be read (PNG, TIFF, JPEG, JPEG 2000, BMP, WebP, AVIF, GIF, PGM, PPM, PFM, NPY, "
        "HEIC, OpenEXR, camera RAW, DICOM): convert it to one of these"
    )


def encode(
    pixels: Pixels,
    suffix: str,
    *,
    exif: bytes | None,
    orientation: int,
    icc: bytes | None,
    geo: GeoTags | None = None,
) -> Iterable[bytes]:
    """Encode ``(H, W, C)`` pixels in the format of a suffix of :data:`DEPTHS`; BMP holds no metadata.

    Returns:
        The file, in pieces.

    Raises:
        OSError, ValueError, struct.error, cv2.error: the picture is too large for the format.
    """
    if suffix in (".tif", ".tiff"):
        return encode_tiff(pixels, exif=exif, orientation=orientation, icc=icc, geo=geo)
    if suffix == ".png":
        return encode_png(pixels, exif=join_exif(exif, orientation), icc=icc)
    if suffix == ".bmp":
        return (_by_opencv(".bmp", pixels),)
    stream = io.BytesIO()
    block = join_exif(exif, orientation)
    # A JPEG segment holds 64 kB.
    meta = {"exif": b"Exif\0\0" + block} if block and len(block) < 65500 else {}
    squeezed = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    Pillow.fromarray(squeezed).save(stream, "JPEG", quality=JPEG_QUALITY, subsampling=0, icc_profile=icc, **meta)
    return (stream.getvalue(),)


def _by_pillow(kind: Callable[[io.BytesIO], ImageFile], data: bytes, page: int = 0) -> Decoded:
    # Opening looks into the metadata and warns of odd entries; decoding does not, and is left to run beside others.
    with quiet():
        picture = kind(io.BytesIO(data))
    check_size(*picture.size)
    pages = int(getattr(picture, "n_frames", 1))
    check_page(page, pages)
    if page:
        picture.seek(page)
    picture.load()
    pixels = _three_axes(np.asarray(_plain(picture)))
    exif, orientation = split_exif(picture.info.get("exif"))
    icc = picture.info.get("icc_profile") if picture.mode != "CMYK" else None
    return Decoded(pixels, exif, orientation, icc, pages, _is_transparent(picture))


def _is_transparent(picture: Pillow.Image) -> bool:
    """True if a pixel is not opaque."""
    if picture.mode in ("LA", "RGBA", "PA"):
        return int(np.asarray(picture.getchannel("A")).min()) < 255
    if "transparency" in picture.info and picture.mode in ("P", "L", "RGB"):
        return int(np.asarray(picture.convert("RGBA").getchannel("A")).min()) < 255
    return False


def _plain(picture: Pillow.Image) -> Pillow.Image:
    """Grey or RGB of 8 bits; alpha is dropped, colours under it stay as they are."""
    if picture.mode in ("1", "L", "LA"):
        return picture.convert("L")
    if picture.mode in ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"):
        return picture.convert("RGB")
    raise Refused(f"has the pixel form {picture.mode}, which is not read: convert it to grey or RGB of 8 or 16 bits")


def _through_opencv(data: bytes) -> Pixels:
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None:
        raise ValueError("it cannot be decoded")
    pixels = _three_axes(decoded)
    if pixels.shape[2] == 1:
        return pixels
    return np.ascontiguousarray(pixels[..., 2::-1])


def _three_axes(pixels: Pixels) -> Pixels:
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _decode_png(data: bytes, page: int = 0) -> Decoded:
    with quiet():
        header = PngImagePlugin.PngImageFile(io.BytesIO(data))
        check_size(*header.size)
        # Every chunk's checksum up to the end: decoders accept a file whose last rows are missing or wrong.
        header.verify()
    bits, colour = data[24], data[25]
    if bits < 16:
        return _by_pillow(PngImagePlugin.PngImageFile, data, page)
    check_page(page, 1)
    pixels = _through_opencv(data)
    if colour in (0, 4):
        pixels = pixels[..., :1]
    if pixels.dtype != np.uint16:
        raise ValueError("it cannot be decoded with 16 bits")
    with quiet():
        picture = PngImagePlugin.PngImageFile(io.BytesIO(data))
    exif, orientation = split_exif(find_chunk(data, b"eXIf"))
    transparent = colour in (4, 6) and _has_alpha_below(data, 65535)
    return Decoded(pixels, exif, orientation, picture.info.get("icc_profile"), transparent=transparent)


def _has_alpha_below(data: bytes, opaque: float) -> bool:
    whole = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return bool(whole is not None and whole.ndim == 3 and whole.shape[2] == 4 and (whole[..., 3] < opaque).any())


def _decode_jpeg(data: bytes) -> Decoded:
    decoded = _by_pillow(JpegImagePlugin.JpegImageFile, data)
    return replace(decoded, radiometric=holds_temperatures(data))


def _decode_bmp(data: bytes) -> Decoded:
    return _by_pillow(BmpImagePlugin.BmpImageFile, data)


def _decode_gif(data: bytes, page: int = 0) -> Decoded:
    return _by_pillow(GifImagePlugin.GifImageFile, data, page)


def _decode_avif(data: bytes, page: int = 0) -> Decoded:
    from PIL import AvifImagePlugin

    return _by_pillow(AvifImagePlugin.AvifImageFile, data, page)


def _decode_jpeg2000(data: bytes) -> Decoded:
    with quiet():
        picture = Jpeg2KImagePlugin.Jpeg2KImageFile(io.BytesIO(data))
    check_size(*picture.size)
    # Pillow reports a file that is cut off, and halves 16-bit colour; OpenCV decodes that.
    picture.load()
    with quiet():
        pixels = _through_opencv(data)
    if picture.mode in ("L", "LA", "I;16"):
        pixels = pixels[..., :1]
    if pixels.dtype not in (np.uint8, np.uint16):
        raise Refused(f"holds {pixels.dtype} samples; JPEG 2000 of 8 or 16 bits is read: convert it")
    return Decoded(pixels, icc=picture.info.get("icc_profile"), transparent=_is_transparent(picture))


def _decode_webp(data: bytes, page: int = 0) -> Decoded:
    if int.from_bytes(data[4:8], "little") + 8 > len(data):
        raise ValueError("the file is shorter than it says")
    return _by_pillow(WebPImagePlugin.WebPImageFile, data, page)


def _decode_pnm(data: bytes) -> Decoded:
    gap = rb"(?:\s|#[^\n]*\n)+"
    header = re.match(rb"P([56])" + gap + rb"(\d+)" + gap + rb"(\d+)" + gap + rb"(\d+)\s", data[:4096])
    if header is None:
        raise ValueError("its header cannot be read")
    kind, width, height, greatest = (int(field) for field in header.groups())
    check_size(width, height)
    if greatest == 255:
        return _by_pillow(PpmImagePlugin.PpmImageFile, data)
    if greatest != 65535:
        raise Refused(f"holds values up to {greatest}; PGM and PPM up to 255 or 65535 are read: convert it to PNG")
    shape = (height, width, 1 if kind == 5 else 3)
    pixels = np.frombuffer(data, ">u2", count=shape[0] * shape[1] * shape[2], offset=header.end())
    return Decoded(pixels.reshape(shape).astype(np.uint16), None, 1, None)


def _decode_tiff(data: bytes, page: int | None = None) -> Decoded:
    with quiet():
        starts = page_offsets(data)
        if len(starts) == 1 and is_array_of_planes(data):
            return _decode_planes(data, page)
        page = page or 0
        check_page(page, len(starts))
        if page:
            data = starting_at(data, starts[page])
        layout = read_layout(data)
        check_size(layout.width, layout.height)
        if not layout.whole:
            raise ValueError("it points beyond its own end")
        stored = unturned(data)
        if layout.kind == "unsigned" and layout.bits <= 8:
            picture = TiffImagePlugin.TiffImageFile(io.BytesIO(stored))
            picture.load()
            pixels = _three_axes(np.asarray(_plain(picture)))
        elif layout.samples == 1 and (layout.kind, layout.bits) in _WHOLE_NUMBERS[data[:2]]:
            pixels = _whole_numbers(stored, layout)
        else:
            pixels = _deep_tiff(stored, layout)
        exif, _ = split_exif(data)
        alpha = layout.samples == 4 and layout.photometric == 2
        transparent = alpha and _has_alpha_below(stored, _OPAQUE.get(layout.bits, 1.0))
    icc = layout.icc if layout.photometric != 5 else None
    return Decoded(pixels, exif, layout.orientation, icc, len(starts), transparent, geo=layout.geo)


def _decode_planes(data: bytes, page: int | None) -> Decoded:
    """One of three planes as a grey page; all of them as RGB where none is named."""
    if page is not None:
        check_page(page, 3)
        return replace(_decode_tiff(take_plane(data, page)), pages=3)
    planes = [_decode_tiff(take_plane(data, k)) for k in range(3)]
    return replace(planes[0], pixels=np.dstack([plane.pixels for plane in planes]), pages=3, joined=True)


def _whole_numbers(data: bytes, layout: Layout) -> Pixels:
    """Grey of signed integers, or of 32 bits, which OpenCV does not decode right."""
    picture = TiffImagePlugin.TiffImageFile(io.BytesIO(data))
    picture.load()
    # Pillow holds all of them as signed 32-bit numbers.
    pixels = _three_axes(np.asarray(picture))
    if pixels.dtype != np.int32:
        raise ValueError("it cannot be decoded as whole numbers")
    return pixels.view(np.uint32) if layout.kind == "unsigned" else pixels.astype(f"int{layout.bits}")


def _deep_tiff(data: bytes, layout: Layout) -> Pixels:
    """16 bits or floats, in the layouts that OpenCV decodes right."""
    if (layout.kind, layout.bits) not in (("unsigned", 16), ("float", 32), ("float", 64)):
        raise Refused(
            f"holds {layout.bits}-bit {layout.kind} samples; TIFF with 8- or 16-bit unsigned or 32-bit float samples "
            "is read, and with 16- or 32-bit integers where it is grey: convert it"
        )
    if layout.photometric not in (0, 1, 2) or layout.samples == 2 or (layout.planar and layout.samples > 1):
        raise Refused(
            f"is a TIFF of {layout.samples} {layout.bits}-bit {'separate ' if layout.planar else ''}channels of kind "
            f"{layout.photometric}; grey, RGB or RGBA, interleaved, is read: save it so"
        )
    pixels = _through_opencv(data)
    if layout.kind == "float":
        return pixels.astype(np.float32)
    return pixels if layout.photometric else np.invert(pixels)


def _by_opencv(suffix: str, pixels: Pixels) -> bytes:
    done, encoded = cv2.imencode(suffix, np.ascontiguousarray(pixels[..., ::-1]))
    if not done:
        raise ValueError(f"OpenCV cannot encode it as {suffix}")
    return encoded.tobytes()


_DECODERS: tuple[tuple[bytes, Callable[..., Decoded]], ...] = (
    (b"GIF8", _decode_gif),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", _decode_jpeg2000),
    (b"\xff\x4f\xff\x51", _decode_jpeg2000),
    (b"\x93NUMPY", lambda data: Decoded(decode_npy(data))),
    (b"PF", lambda data: Decoded(decode_pfm(data))),
    (b"Pf", lambda data: Decoded(decode_pfm(data))),
    (b"\x89PNG\r\n\x1a\n", _decode_png),
    (b"\xff\xd8\xff", _decode_jpeg),
    (b"II*\0", _decode_tiff),
    (b"MM\0*", _decode_tiff),
    (b"II+\0", _decode_tiff),
    (b"MM\0+", _decode_tiff),
    (b"BM", _decode_bmp),
    (b"RIFF", _decode_webp),
    (b"P5", _decode_pnm),
    (b"P6", _decode_pnm),
    (b"v/1\x01", decode_exr),
)

_PAGED = (_decode_png, _decode_webp, _decode_gif, _decode_avif, decode_heic, decode_dicom)

_FOREIGN: tuple[tuple[Callable[[bytes, bytes], bool], str], ...] = (
    (lambda data, _: data[344:348] in (b"n+1\0", b"ni1\0") or data[:2] == b"\x1f\x8b", "a NIfTI volume or packed file"),
    (lambda _, brand: brand != b"", "a video"),
)
"""Files of other kinds that people have, which the message names."""
