"""Writes radiometric JPEG as FLIR's cameras do: APP1 segments that hold a directory of records."""

from __future__ import annotations

import io
import math
import struct
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Pillow


@dataclass(frozen=True)
class Air:
    """What stands between the sensor and the object; temperatures in kelvin, distance in metres."""

    emissivity: float = 0.95
    distance: float = 1.0
    reflected: float = 293.15
    air: float = 293.15
    window: float = 293.15
    transmission: float = 1.0
    humidity: float = 0.5


PLANCK = {"r1": 16528.178, "b": 1427.5, "f": 1.0, "o": -1307, "r2": 0.012258549}
_TRANSMITTED = (0.006569, 0.01262, -0.002276, -0.00667, 1.9)  # alpha1, alpha2, beta1, beta2, x of FLIR's air
SEGMENT = 65000


def celsius_of(raw: np.ndarray, air: Air) -> np.ndarray:
    """Temperatures by the published formula of Tattersall's Thermimage (raw2temp), in float64."""
    p, a1, a2, b1, b2, x = PLANCK, *_TRANSMITTED
    t = air.air - 273.15
    water = air.humidity * math.exp(1.5587 + 0.06939 * t - 0.00027816 * t**2 + 0.00000068455 * t**3)
    near = math.sqrt(air.distance / 2)
    tau = x * math.exp(-near * (a1 + b1 * math.sqrt(water))) + (1 - x) * math.exp(-near * (a2 + b2 * math.sqrt(water)))

    def seen(kelvin: float) -> float:
        return float(p["r1"] / (p["r2"] * (math.exp(p["b"] / kelvin) - p["f"])) - p["o"])

    e, w = air.emissivity, air.transmission
    reflected = (1 - e) / e * seen(air.reflected)
    first = (1 - tau) / (e * tau) * seen(air.air)
    window = (1 - w) / (e * tau * w) * seen(air.window)
    second = (1 - tau) / (e * tau * w * tau) * seen(air.air)
    own = raw.astype(np.float64) / (e * tau * w * tau) - first - second - window - reflected
    kelvin: np.ndarray = p["b"] / np.log(p["r1"] / (p["r2"] * (own + p["o"])) + p["f"])
    return kelvin - 273.15


def write_flir(
    path: Path,
    raw: np.ndarray,
    *,
    photograph: np.ndarray | None = None,
    offset: tuple[float, int, int] | None = None,
    air: Air | None = None,
    as_png: bool = True,
) -> None:
    """Write raw values ``(H, W)`` uint16, an RGB photograph, and Real2IR with the offset in the photograph's pixels."""
    records = [(0x20, _camera(air or Air())), (0x01, _raw_data(raw, as_png))]
    if photograph is not None:
        records.append((0x0E, _photograph(photograph)))
    if offset is not None:
        records.append((0x2A, struct.pack("<fhh4h", *offset, 0, raw.shape[1] - 1, 0, raw.shape[0] - 1) + bytes(16)))
    block = _directory(records)
    chunks = [block[k : k + SEGMENT] for k in range(0, len(block), SEGMENT)]
    segments = b"".join(
        b"\xff\xe1" + struct.pack(">H", len(chunk) + 10) + b"FLIR\0\x01" + bytes([number, len(chunks) - 1]) + chunk
        for number, chunk in enumerate(chunks)
    )
    low, high = raw.min(), raw.max()
    grey = ((raw - low) / max(high - low, 1) * 255).astype(np.uint8)
    stream = io.BytesIO()
    exif = Pillow.Exif()
    exif[271] = "FLIR Systems AB"
    Pillow.fromarray(cv2.applyColorMap(grey, cv2.COLORMAP_INFERNO)[..., ::-1]).save(stream, "JPEG", exif=exif)
    whole = stream.getvalue()
    path.write_bytes(whole[:2] + segments + whole[2:])


def _directory(records: list[tuple[int, bytes]]) -> bytes:
    entries = len(records) + 2  # cameras leave entries empty
    start = 64 + 32 * entries
    directory, body = b"", b""
    for kind, content in records:
        directory += struct.pack(">HHIIIIIII", kind, 2, 100, 1, start + len(body), len(content), 0, 0, 0)
        body += content
    head = b"FFF\0" + b"test".ljust(16, b"\0") + struct.pack(">III", 100, 64, entries)
    return head.ljust(64, b"\0") + directory.ljust(32 * entries, b"\0") + body


def _camera(air: Air) -> bytes:
    block = bytearray(1024)
    struct.pack_into("<H", block, 0, 2)
    given = (air.emissivity, air.distance, air.reflected, air.air, air.window, air.transmission)
    struct.pack_into("<6f", block, 0x20, *given)
    struct.pack_into("<f", block, 0x3C, air.humidity)
    struct.pack_into("<3f", block, 0x58, PLANCK["r1"], PLANCK["b"], PLANCK["f"])
    struct.pack_into("<5f", block, 0x70, *_TRANSMITTED)
    struct.pack_into("<if", block, 0x308, int(PLANCK["o"]), PLANCK["r2"])
    return bytes(block)


def _raw_data(raw: np.ndarray, as_png: bool) -> bytes:
    head = struct.pack("<HHH", 2, raw.shape[1], raw.shape[0]).ljust(32, b"\0")
    if not as_png:
        return head + raw.astype("<u2").tobytes()
    # FLIR writes the samples of its PNG with their bytes exchanged.
    return head + cv2.imencode(".png", raw.byteswap())[1].tobytes()


def _photograph(pixels: np.ndarray) -> bytes:
    head = struct.pack("<HHH", 2, pixels.shape[1], pixels.shape[0]).ljust(32, b"\0")
    return head + cv2.imencode(".png", np.ascontiguousarray(pixels[..., ::-1]))[1].tobytes()
