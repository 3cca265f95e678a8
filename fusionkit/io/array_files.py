"""Files of plain numbers: NumPy's NPY and PFM."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusionkit.io.tiff import Refused

__all__ = ["decode_npy", "decode_pfm"]


def decode_npy(data: bytes) -> NDArray[Any]:
    """Decode an array ``(H, W)``, ``(H, W, 1)`` or ``(H, W, 3)`` of integers or floats; no code in the file is run.

    Returns:
        ``(H, W, C)``; floats as float32.

    Raises:
        fusionkit.io.tiff.Refused: an array of another shape or type.
        ValueError: the file is damaged.
    """
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except ValueError as error:
        if "pickle" in str(error):
            raise Refused("holds Python objects, which are not read: save an array of numbers") from None
        raise
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3) or array.dtype.kind not in "iuf" or not array.size:
        raise Refused(
            f"holds an array {array.shape} of {array.dtype}; (H, W) or (H, W, 3) of integers or floats is read: "
            "save it so"
        )
    return array.astype(np.float32) if array.dtype.kind == "f" else array.astype(array.dtype.newbyteorder("="))


def decode_pfm(data: bytes) -> NDArray[Any]:
    """Decode a portable float map, grey or RGB, to ``(H, W, C)`` float32; its scale is not applied.

    Source:
        P. Debevec, PFM portable float map: rows from the bottom, a negative scale for little-endian values.

    Raises:
        ValueError: the file is damaged.
    """
    header = re.match(rb"P([Ff])\s+(\d+)\s+(\d+)\s+(-?[\d.eE+-]+)\s", data[:4096])
    if header is None:
        raise ValueError("its header cannot be read")
    width, height = int(header[2]), int(header[3])
    channels = 3 if header[1] == b"F" else 1
    count = height * width * channels
    if not count or header.end() + 4 * count > len(data):
        raise ValueError("the file is shorter than it says")
    order = "<f4" if float(header[4]) < 0 else ">f4"
    values = np.frombuffer(data, order, count=count, offset=header.end())
    return values.reshape(height, width, channels)[::-1].astype(np.float32)
