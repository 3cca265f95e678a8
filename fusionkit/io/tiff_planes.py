"""Planes of a TIFF file whose channels are stored one after the other, each as a grey TIFF file of its own."""

from __future__ import annotations

import io
import json
import struct

from PIL import TiffImagePlugin

__all__ = ["is_array_of_planes", "take_plane"]

_DESCRIPTION, _STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES = 270, 273, 279, 324, 325
_KEPT = (256, 257, 259, 266, 274, 278, 317, 322, 323)
"""Size, compression, fill order, orientation, rows per strip, predictor, size of tiles."""
_LONG = 4


def _tags(data: bytes) -> TiffImagePlugin.ImageFileDirectory_v2:
    tags = TiffImagePlugin.ImageFileDirectory_v2(data[:16] if data[2:4] in (b"+\0", b"\0+") else data[:8])
    stream = io.BytesIO(data)
    stream.seek(tags.next)
    tags.load(stream)
    return tags


def is_array_of_planes(data: bytes) -> bool:
    """Return whether the first picture is an array ``(3, H, W)`` that tifffile wrote, as it does with stacks of three.

    It is stored as RGB in separate planes. Nothing else in the file tells whether it is a picture or a stack.

    Raises:
        ValueError, KeyError and their like: the tags are damaged.
    """
    tags = _tags(data)
    if tags.get(284, 1) != 2 or tags.get(277, 1) != 3:
        return False
    try:
        described = json.loads(str(tags.get(_DESCRIPTION, "")).strip("\0 "))
        return bool(described["shape"] == [3, int(tags[257]), int(tags[256])])
    except (ValueError, KeyError, TypeError):
        return False


def take_plane(data: bytes, number: int, count: int = 3) -> bytes:
    """Copy one plane into a grey TIFF file, compressed as it is.

    Args:
        data: a TIFF file whose channels are stored one after the other.
        number: of the plane, counted from 0.
        count: number of planes.

    Raises:
        ValueError, KeyError and their like: the tags are damaged.
    """
    tags = _tags(data)
    tiled = _TILES in tags
    offsets, counts = tags[_TILES if tiled else _STRIPS], tags[_TILE_BYTES if tiled else _STRIP_BYTES]
    each = len(offsets) // count
    parts = [
        data[start : start + size]
        for start, size in zip(offsets[number * each :][:each], counts[number * each :][:each], strict=True)
    ]
    order = "<" if data[:2] == b"II" else ">"
    entries: dict[int, tuple[int, bytes]] = {
        258: (3, struct.pack(order + "H", int(tags[258][0]))),
        262: (3, struct.pack(order + "H", 1)),
        277: (3, struct.pack(order + "H", 1)),
        339: (3, struct.pack(order + "H", int(tags.get(339, (1,))[0]))),
    }
    for tag in _KEPT:
        if tag in tags:
            entries[tag] = (_LONG, struct.pack(order + "I", int(tags[tag])))
    starts, place = [], 8
    for part in parts:
        starts.append(place)
        place += len(part) + len(part) % 2
    body = b"".join(part + b"\0" * (len(part) % 2) for part in parts)
    entries[_TILES if tiled else _STRIPS] = (_LONG, struct.pack(f"{order}{each}I", *starts))
    sizes = [len(part) for part in parts]
    entries[_TILE_BYTES if tiled else _STRIP_BYTES] = (_LONG, struct.pack(f"{order}{each}I", *sizes))
    beyond, more = place + 2 + 12 * len(entries) + 4, b""
    directory = struct.pack(order + "H", len(entries))
    for tag in sorted(entries):
        kind, value = entries[tag]
        number_of = len(value) // (2 if kind == 3 else 4)
        if len(value) > 4:
            stored = struct.pack(order + "I", beyond + len(more))
            more += value
        else:
            stored = value.ljust(4, b"\0")
        directory += struct.pack(order + "HHI", tag, kind, number_of) + stored
    magic = data[:2] + struct.pack(order + "HI", 42, place)
    return magic + body + directory + b"\0" * 4 + more
