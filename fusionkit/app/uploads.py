"""Images that a browser sends: stored as a set of sources within limits, and looked at once."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from fusionkit.app.fuse_job import write_shown
from fusionkit.app.workroom import SourceSet, Workroom
from fusionkit.errors import DataError, UsageError
from fusionkit.fuse.reading import pages_of
from fusionkit.io.images import read_image, write_image
from fusionkit.io.ranges import AUTO
from fusionkit.io.text import counted, printable, shortened
from fusionkit.tasks import Task

__all__ = ["Limits", "Upload", "describe_set", "guess_task", "keep_uploads"]

_SMALL = 240  # pixels of the longer side
_FIELD = re.compile(r"source([1-9][0-9]{0,3})")


@dataclass(frozen=True)
class Limits:
    """Limits of one upload.

    Attributes:
        files: most files.
        megabytes: most megabytes of all files together.
    """

    files: int = 400
    megabytes: int = 500

    @property
    def bytes(self) -> int:
        """Most bytes of a request: the files, and what is around them."""
        return self.megabytes * 1_000_000 + 4096 * self.files


@dataclass(frozen=True)
class Upload:
    """A file of a request.

    Attributes:
        field: ``"source1"``, ``"source2"``...: the source that it belongs to.
        name: its name, as the browser tells it.
        content: its bytes.
    """

    field: str
    name: str
    content: BinaryIO


def keep_uploads(room: Workroom, uploads: Iterable[Upload], labels: Mapping[str, str]) -> SourceSet:
    """Store the files of an upload as a new set, and see that they can be read.

    Args:
        room: where to.
        uploads: the files.
        labels: names of folders by field, for sources that are folders.

    Raises:
        fusionkit.errors.UsageError: a field of another name.
        fusionkit.errors.DataError: no files, one that is no image, or one that cannot be read.
    """
    grouped: dict[int, list[Upload]] = {}
    for upload in uploads:
        known = _FIELD.fullmatch(upload.field)
        if known is None:
            raise UsageError("the upload has a field that is not known: reload the page")
        grouped.setdefault(int(known[1]), []).append(upload)
    if not grouped:
        raise DataError("no image arrived: choose two or more images, or a folder with one folder per source")
    kept = room.new_set()
    try:
        for number in sorted(grouped):
            group = grouped[number]
            label = labels.get(group[0].field) or group[0].name.replace("\\", "/").rsplit("/", 1)[-1]
            source = kept.add_source(shortened(printable(label), 80))
            for upload in group:
                with source.place_for(upload.name).open("wb") as stored:
                    shutil.copyfileobj(upload.content, stored)
        if len(kept.sources) == 1 and len(kept.sources[0].files) == 1:
            _separate_pages(kept)
        for place, source in enumerate(kept.sources):
            write_shown(small_picture(kept, place), read_image(source.files[0], values=AUTO), longest=_SMALL)
    except Exception as error:
        room.delete(kept.key)
        if isinstance(error, DataError):
            raise DataError(kept.plain(error)) from None
        raise
    return kept


def _separate_pages(kept: SourceSet) -> None:
    """Make a source of each page of the only file, where it has several: a stack."""
    (source,) = kept.sources
    pages = pages_of(source.files[0])
    if len(pages) == 1:
        return
    kept.sources.clear()
    for number, page in enumerate(pages):
        image = read_image(page)
        own = kept.add_source(f"{source.label}, page {number}", folder=f"page{number}")
        write_image(own.place_for(f"page{number}.tif"), image)


def small_picture(kept: SourceSet, number: int) -> Path:
    """Name the file of the small picture of a source."""
    return kept.folder / f"small{number}.png"


def describe_set(kept: SourceSet, tasks: Mapping[str, Task], task: str = "") -> dict[str, Any]:
    """Write a set for the page, with the task and the order that the names of its sources tell.

    Args:
        kept: the set.
        tasks: the tasks that are known.
        task: the task where it is known.
    """
    order = list(range(len(kept.sources)))
    if not task:
        task, order = guess_task([source.label for source in kept.sources], tasks)
    scenes = max(len(source.files) for source in kept.sources)
    return {
        "set": kept.key,
        "task": task,
        "order": order,
        "scenes": scenes,
        "sources": [
            {"label": source.label, "files": len(source.files), "about": _about(source.files)}
            for source in kept.sources
        ],
    }


def guess_task(labels: Sequence[str], tasks: Mapping[str, Task]) -> tuple[str, list[int]]:
    """Tell the task of sources by their names, as folders of public data sets have them.

    Returns:
        Name of the task, "" where the names do not say, and the order of the sources.

    Example:
        >>> from fusionkit.tasks import IVIF
        >>> guess_task(["vi", "ir"], {"ivif": IVIF})
        ('ivif', [1, 0])
    """
    plain = [re.sub(r"[^a-z]", "", label.rsplit(".", 1)[0].lower()) for label in labels]
    for name, task in tasks.items():
        if len(plain) != len(task.folders):
            continue
        # One letter says too little.
        usual = [[folder for folder in folders if len(folder) > 1] for folders in task.folders]
        order = [next((k for k, label in enumerate(plain) if label in folders), -1) for folders in usual]
        if -1 not in order and len(set(order)) == len(order):
            return name, order
    return "", list(range(len(labels)))


def _about(files: Sequence[Path]) -> str:
    if len(files) > 1:
        return counted(len(files), "image")
    image = read_image(files[0], values=AUTO)
    return f"{image.size}, {image.bits} bits, {'grey' if image.is_grey else 'colour'}"
