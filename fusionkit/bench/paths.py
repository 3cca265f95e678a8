"""Paths of the files of a bench, below its folder."""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = [
    "FUSED",
    "MAPS",
    "RESULTS",
    "file_name",
    "fused_folder",
    "map_file",
    "maps_folder",
    "record_path",
    "relative_path",
]

RESULTS = "results"
"""Sub-folder of the records."""

FUSED = "fused"
"""Sub-folder of the fused images."""

MAPS = "maps"
"""Sub-folder of the weight maps."""


def file_name(name: str) -> str:
    """A name as it stands in files: what is not a letter, a digit or one of ``._+-`` becomes ``_``."""
    return re.sub(r"[^\w.+-]", "_", name).lstrip(".") or "_"


def record_path(out: Path, task: str, label: str, profile: str, method: str) -> Path:
    """The file of the record of a method on a data set with its split (``"MSRS-test"``) under a profile, by name."""
    return out / RESULTS / file_name(task) / file_name(label) / file_name(profile) / f"{file_name(method)}.json"


def fused_folder(out: Path, task: str, label: str, method: str) -> Path:
    """The folder of the images that a method fused."""
    return out / FUSED / file_name(task) / file_name(label) / file_name(method)


def maps_folder(out: Path, task: str, label: str, method: str) -> Path:
    """The folder of the weight maps of a method: ``IMAGE.MAP.png``."""
    return out / MAPS / file_name(task) / file_name(label) / file_name(method)


def relative_path(file: Path, out: Path) -> str:
    """A file's path as records have it: relative to the bench's folder, POSIX form."""
    return Path(os.path.relpath(file.absolute(), out.absolute())).as_posix()


def map_file(folder: Path, image: str, name: str) -> Path:
    """The file of a map of an image in the folder of a method's maps."""
    return folder / f"{image}.{name}.png"
