"""Checks of a set of pairs before training or fusing."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from fusionkit.data.pair_set import Pair, PairSet
from fusionkit.errors import DataError, FusionNote
from fusionkit.io.digest import file_digest
from fusionkit.io.text import counted
from fusionkit.runtime.threads import in_threads

__all__ = ["MOST_SHOWN", "header_size", "report", "verify"]

MOST_SHOWN = 10

_TAIL = 4096


def verify(pairs: PairSet, *, digests: bool = True, decode: bool = False) -> None:
    """Check every pair and report everything that is wrong in one error.

    Always checked: no file without a partner, no name twice in a data set's split, every file exists, its header is
    that of an image, the sources of a pair (and its truth) have one size, no file is used for two sources, and a file
    whose last bytes are not those of its format is decoded to see whether it is truncated. A few kB per file are read.

    Args:
        pairs: the pairs.
        digests: also hash each file whose digest is known (reads the file).
        decode: also decode each file to its end, and refuse a pair that is, byte for byte, in two splits.

    Raises:
        fusionkit.errors.DataError: something is wrong; one line with the first ten by name, and the count.

    Warns:
        FusionNote: a source of the first pair has more than 8 bits and fills a small part of their range, as thermal
            images do: it would be taken for almost flat.
    """
    faults = [str(problem) for problem in pairs.problems]
    faults += _repeated_names(pairs)
    if not pairs.pairs and not faults:
        raise DataError(f"{pairs.origin}: no pairs")
    for pair, found in zip(pairs, in_threads(lambda pair: _faults(pair, digests, decode), pairs.pairs), strict=True):
        faults += [f"{pair.key}: {fault}" for fault in found]
    if decode and not faults:
        faults += _in_two_splits(pairs)
    report(pairs, faults)
    _note_narrow(pairs[0])


def _note_narrow(pair: Pair) -> None:
    for file in pair.files:
        if _has_eight_bits(file):
            continue
        from fusionkit.io.images import decode_file
        from fusionkit.io.ranges import Sampled

        try:
            values = Sampled().add(decode_file(file).pixels)
        except DataError:
            continue
        if values.is_narrow:
            warnings.warn(
                f"{file}: its values, {values.low:g} to {values.high:g}, fill a small part of their range or leave it: "
                "it is read as almost flat, or refused; 'fusionkit data prepare' scales a data set",
                FusionNote,
                stacklevel=3,
            )


def _has_eight_bits(file: Path) -> bool:
    """Tell by the header; False where it does not say."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            # Pillow reads 16-bit colours as 8: how they are stored is in the tile.
            deep = any("16" in str(tile[3]) for tile in image.tile)
            return image.mode in ("1", "L", "LA", "P", "RGB", "RGBA") and image.format != "TIFF" and not deep
    except (OSError, ValueError, SyntaxError):
        return False


def report(pairs: PairSet, faults: Sequence[str]) -> None:
    """Raise one error with the first ten faults of a set and their count, if there are any.

    Raises:
        fusionkit.errors.DataError: there are faults.
    """
    if faults:
        shown = "; ".join(faults[:MOST_SHOWN])
        more = f"; and {len(faults) - MOST_SHOWN} more" if len(faults) > MOST_SHOWN else ""
        found = f"{counted(len(faults), 'problem')} in {counted(len(pairs), 'pair')}"
        raise DataError(f"{pairs.origin}: {found}: {shown}{more}")


def _repeated_names(pairs: PairSet) -> list[str]:
    seen: set[tuple[str, str]] = set()
    repeated: dict[str, None] = {}
    for pair in pairs:
        if (pair.split, pair.key) in seen:
            repeated[pair.key] = None
        seen.add((pair.split, pair.key))
    return [f"{key}: more than one pair of that name" for key in repeated]


def _in_two_splits(pairs: PairSet) -> list[str]:
    if len(pairs.splits) < 2:
        return []
    contents = in_threads(lambda pair: tuple(file_digest(file) for file in pair.files), pairs.pairs)
    places: defaultdict[tuple[str, ...], list[Pair]] = defaultdict(list)
    for pair, content in zip(pairs, contents, strict=True):
        places[content].append(pair)
    return [
        f"{same[0].key}: the same files are in {' and '.join(dict.fromkeys(f'{p.split} as {p.name}' for p in same))}"
        for same in places.values()
        if len({pair.split for pair in same}) > 1
    ]


def _faults(pair: Pair, digests: bool, decode: bool) -> list[str]:
    faults: list[str] = []
    sizes: list[tuple[int, int]] = []
    files = pair.files if pair.truth is None else (*pair.files, pair.truth)
    for file in files:
        try:
            sizes.append(header_size(file))
            if decode or not _ends_well(file):
                _decode(file)
        except DataError as error:
            faults.append(str(error))
    if len(sizes) == len(files) and len(set(sizes)) > 1:
        listed = ", ".join(f"{file.parent.name}/{file.name} {w}x{h}" for file, (w, h) in zip(files, sizes, strict=True))
        faults.append(f"size differs ({listed})")
    if len({file.absolute() for file in pair.files}) < len(pair.files):
        faults.append(f"one file is given for two sources ({pair.files[0]})")
    if digests and not faults:
        for file, wanted in zip(pair.files, pair.sha256, strict=False):
            if wanted and file_digest(file) != wanted:
                faults.append(f"{file} is not the file that the manifest lists: its sha256 differs")
    return faults


def header_size(file: Path) -> tuple[int, int]:
    """Read width and height as stored from the file's header, without decoding."""
    from PIL import Image, UnidentifiedImageError
    from PIL.TiffImagePlugin import TiffImageFile

    try:
        with Image.open(file) as image:
            if isinstance(image, TiffImageFile):
                # Pillow turns TIFF by its orientation; images are read here as they are stored.
                return int(image.tag_v2[256]), int(image.tag_v2[257])
            return image.size
    except FileNotFoundError as error:
        raise DataError(f"{file}: no such file") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{file}: not an image that can be read") from error
    except (OSError, SyntaxError, ValueError, LookupError, Image.DecompressionBombError) as error:
        raise DataError(f"{file}: cannot be read: {error}") from error


def _ends_well(file: Path) -> bool:
    """Return whether the last bytes are those of the format, a cheap check for truncation."""
    with file.open("rb") as stream:
        magic = stream.read(6)
        size = stream.seek(0, 2)
        stream.seek(max(0, size - _TAIL))
        tail = stream.read()
    if magic.startswith(b"\x89PNG"):
        return b"IEND\xaeB`\x82" in tail
    if magic.startswith(b"\xff\xd8"):
        return b"\xff\xd9" in tail
    if magic.startswith(b"BM"):
        return size >= int.from_bytes(magic[2:6], "little")
    return False


def _decode(file: Path) -> None:
    from fusionkit.io.images import read_image

    read_image(file)
