"""Class names from ``classes.txt``: one name per line, the first line is class 0."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from fusionkit.contracts.label_types import IGNORE, LabelKind
from fusionkit.errors import DataError
from fusionkit.io.regular_files import read_regular_text
from fusionkit.io.text import shortened

__all__ = ["find_classes", "read_classes"]

_SHORT: dict[LabelKind, str] = {"segmentation": "seg", "detection": "det"}
_NUMBERED = re.compile(r"(\d+)[\s:,]+(\S.*)")


def find_classes(folder: Path, kind: LabelKind, *, top: Path) -> tuple[str, ...]:
    """Find the class names for the labels in ``folder``.

    They are read from ``classes.txt`` in the folder or in one above it, up to ``top``. A file for one kind of label,
    ``classes_det.txt`` (``classes_detection.txt``), takes precedence, as does ``classes_NAME.txt`` for a folder
    ``label_NAME``.

    Raises:
        fusionkit.errors.DataError: there is no such file, or it cannot be used.
    """
    _, line, word = folder.name.lower().partition("_")
    own = [f"classes_{word}.txt"] if line else []
    names = dict.fromkeys([*own, f"classes_{kind}.txt", f"classes_{_SHORT[kind]}.txt", "classes.txt"])
    for place in _up(folder, top):
        for name in names:
            if (place / name).is_file():
                return read_classes(place / name)
    raise DataError(f"{folder}: no classes.txt there or beside it: write the classes' names into one, one per line")


def read_classes(path: Path) -> tuple[str, ...]:
    """Read class names, one per line in the order of the class ids; a line may begin with its id.

    Raises:
        fusionkit.errors.DataError: it cannot be read, is empty, names a class twice or names too many.
    """
    try:
        lines = [line.strip() for line in read_regular_text(path).strip().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a list of classes: {error}") from error
    numbered = [_NUMBERED.fullmatch(line) for line in lines]
    found = [match for match in numbered if match is not None]
    if len(found) == len(lines) and [match[1] for match in found] == [str(k) for k in range(len(lines))]:
        lines = [match[2] for match in found]
    elif len(found) == len(lines) > 1 and [match[1] for match in found] == [str(k + 1) for k in range(len(lines))]:
        raise DataError(f"{path}: numbers its classes from 1: class ids begin at 0; number them from 0, or not at all")
    if not lines or "" in lines:
        where = "is empty" if not lines else f"line {lines.index('') + 1} is empty"
        raise DataError(f"{path}: {where}: write one class per line")
    if len(lines) > IGNORE:
        raise DataError(f"{path}: names {len(lines)} classes; at most {IGNORE} are possible")
    twice = [name for k, name in enumerate(lines) if name in lines[:k]]
    if twice:
        raise DataError(f"{path}: names the class {shortened(twice[0])!r} twice")
    return tuple(lines)


def _up(folder: Path, top: Path) -> Iterator[Path]:
    yield folder
    if folder.absolute() != top.absolute() and folder.absolute().is_relative_to(top.absolute()):
        for place in folder.parents:
            yield place
            if place.absolute() == top.absolute():
                return
