"""Makes a fused data set of a labelled paired one: images that a detector or segmenter trains on, with their labels."""

from __future__ import annotations

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image as Pillow

from fusionkit.contracts.label_types import Boxes
from fusionkit.data.labels.label_checks import read_label
from fusionkit.data.labels.label_writing import merge_boxes, write_coco, write_mask, write_voc, write_yolo
from fusionkit.data.pair_set import Pair, PairSet
from fusionkit.errors import DataError, UsageError
from fusionkit.fuse.model import Model
from fusionkit.fuse.reading import Reading, upright_where_they_differ
from fusionkit.io.atomic import write_text, written_aside
from fusionkit.io.digest import file_digest
from fusionkit.io.images import Image
from fusionkit.io.regular_files import read_json
from fusionkit.io.text import as_csv_cell

__all__ = ["DATASET_RECORD", "DatasetForm", "FusedDataset", "Stack", "fuse_dataset"]

DATASET_RECORD = "dataset.json"
"""Name of the record in the folder of a fused data set."""

DatasetForm = Literal["yolo", "coco", "voc", "mask"]
"""Layout of images and labels: YOLO, COCO and VOC for boxes, masks for segmentation."""

OVERLAP = 0.5
"""IoU from which two boxes of one class, from two folders of labels, mark the same object."""

Report = Callable[[str, int, int], None]


class Stack:
    """In place of a model: all channels of all sources, as pages of one TIFF file of 8 bits.

    A source has the number of channels that it has in the first pair: one where that is grey, else three.
    """

    def __init__(self, pair: Pair, sources: Sequence[str], reading: Reading) -> None:
        self.grey = [image.is_grey for image in reading.read(pair.files)]
        colours = ("red", "green", "blue")
        self.channels = [
            f"{name} {colour}".strip()
            for name, grey in zip(sources, self.grey, strict=True)
            for colour in (("",) if grey else colours)
        ]

    def planes(self, images: Sequence[Image]) -> list[Any]:
        """One ``(H, W)`` uint8 array per channel.

        Raises:
            fusionkit.errors.DataError: a source that is grey in the first pair has colour.
        """
        found = []
        for image, grey in zip(images, self.grey, strict=True):
            if grey and not image.is_grey:
                raise DataError(
                    f"{image.name}: has colour, and the same source of the first pair is grey: store it one way"
                )
            tensor = image.tensor()[0]
            planes = tensor[:1] if grey else tensor.expand(3, -1, -1)
            found += list((255 * planes).round().numpy().astype(np.uint8))
        return found

    def save(self, images: Sequence[Image], path: Path) -> None:
        """Write the channels, one page each."""
        pages = [Pillow.fromarray(plane) for plane in self.planes(images)]
        with written_aside(path) as aside:
            pages[0].save(aside, save_all=True, append_images=pages[1:], compression="tiff_deflate")


class Item(NamedTuple):
    """One image to make: its place among the pairs, its split, and its name among the images of that split."""

    place: int
    split: str
    name: str


@dataclass(frozen=True)
class FusedDataset:
    """Plan of a fused data set.

    Attributes:
        labelled: the pairs; once per folder of labels, with the same pairs in each.
        model: fuses the sources; None where they are stacked.
        out: the folder.
        form: layout and format of the labels.
        reading: how the sources are read.
        folders: names of the folders of labels, for the record; empty where the data's own labels are taken.
        shard: this process's share: (1, 4) is the first of four.
    """

    labelled: tuple[PairSet, ...]
    model: Model | None
    out: Path
    form: DatasetForm
    reading: Reading = field(default_factory=Reading)
    folders: tuple[str, ...] = ()
    shard: tuple[int, int] = (1, 1)

    @property
    def pairs(self) -> PairSet:
        """The pairs, with the labels of the first folder."""
        return self.labelled[0]

    def items(self) -> list[Item]:
        """The images to make, one per pair; a pair without a split is one of ``"train"``.

        Raises:
            fusionkit.errors.DataError: two images would have one name.
        """
        many = len(self.pairs.datasets) > 1
        items = [
            Item(place, pair.split or "train", f"{pair.dataset}_{pair.name}" if many else pair.name)
            for place, pair in enumerate(self.pairs)
        ]
        # Of the layouts, VOC's alone has the images of all splits in one folder.
        counted = Counter(("" if self.form == "voc" else split, name) for _, split, name in items)
        twice = [name for (_, name), count in counted.items() if count > 1]
        if twice:
            raise DataError(f"{self.pairs.origin}: two images would be called {twice[0]}: rename one of their pairs")
        return items

    def image(self, item: Item) -> Path:
        """File of an image."""
        folder = self.out / "JPEGImages" if self.form == "voc" else self.out / "images" / item.split
        return folder / f"{item.name}{'.png' if self.model is not None else '.tiff'}"

    def label(self, item: Item) -> Path | None:
        """File of an image's label; None where one file holds those of a whole split."""
        places = {
            "yolo": self.out / "labels" / item.split / f"{item.name}.txt",
            "voc": self.out / "Annotations" / f"{item.name}.xml",
            "mask": self.out / "masks" / item.split / f"{item.name}.png",
        }
        return places.get(self.form)


def fuse_dataset(plan: FusedDataset, *, report: Report | None = None) -> dict[str, Any]:
    """Fuse all pairs, or this process's share of them, and write their labels beside them.

    An interrupted call goes on where it stopped. Of several processes, each with its own share, the last to end writes
    what describes the whole: ``data.yaml``, COCO's annotations or VOC's lists, ``images.csv``, and the record.

    Args:
        plan: what to make. Its pairs and labels are verified already.
        report: called after every image.

    Returns:
        The record. ``"complete"`` is False while other shares are missing.

    Raises:
        fusionkit.errors.UsageError: the folder holds something else, or was begun with other settings; labels of
            another kind than the form's; masks of several folders; folders of labels with different classes.
        fusionkit.errors.DataError: a pair cannot be fused, a label does not fit, or a file cannot be written; what is
            done stays.
    """
    spec = plan.pairs.labels
    assert spec is not None
    if (plan.form == "mask") != (spec.kind == "segmentation"):
        raise UsageError(f"--format {plan.form}: does not hold {spec.kind} labels; {_FORMS[spec.kind]}")
    if len(plan.labelled) > 1 and spec.kind == "segmentation":
        raise UsageError("--label-folder: masks are taken from one folder; only boxes of several are united")
    if len({labelled.labels for labelled in plan.labelled}) > 1:
        raise UsageError(f"{plan.pairs.origin}: its folders of labels have different classes")
    items = plan.items()
    stack = None if plan.model is not None else Stack(plan.pairs[0], _source_names(plan), plan.reading)
    record = _begin(plan, stack)
    number, of = plan.shard
    own = items[number - 1 :: of]
    for done, item in enumerate(own, start=1):
        if not plan.image(item).exists():
            _fuse_one(plan, stack, item)
        if report:
            report("fusing", done, len(own))
    if all(plan.image(item).exists() for item in items):
        record = _finish(plan, items, record)
    return record


_FORMS = {"detection": "take yolo, coco or voc", "segmentation": "take mask"}


def _source_names(plan: FusedDataset) -> list[str]:
    names = plan.pairs.task.sources
    return [names[k] if k < len(names) else f"source {k + 1}" for k in range(len(plan.pairs[0].files))]


def _fuse_one(plan: FusedDataset, stack: Stack | None, item: Item) -> None:
    pair, target = plan.pairs[item.place], plan.image(item)
    images = upright_where_they_differ(plan.reading.read(pair.files))
    height, width = images[0].pixels.shape[:2]
    if any(image.orientation != 1 for image in images):
        raise DataError(f"{pair.key}: its EXIF orientation turns it away from its label; store it upright")
    if any(image.pixels.shape[:2] != (height, width) for image in images):
        raise DataError(f"{pair.key}: sources differ in size ({', '.join(image.size for image in images)})")
    found, _ = _label(plan, item.place, (height, width))
    if (label := plan.label(item)) is not None:
        _write_label(plan, found, label, (height, width), target.name)
    # The image comes last: where it is, its label is, too.
    if stack is not None:
        stack.save(images, target)
    else:
        assert plan.model is not None
        plan.model.fuse(*images, bits=8).save(target)


def _label(plan: FusedDataset, place: int, size: tuple[int, int]) -> tuple[Any, int]:
    """The label of a pair, united over the folders of labels, and how many boxes were left out as duplicates."""
    spec = plan.pairs.labels
    assert spec is not None
    found: Any = None
    left_out = 0
    for labelled in plan.labelled:
        read = read_label(labelled[place], spec, size)
        if found is None:
            found = read
        else:
            assert isinstance(found, Boxes)
            assert isinstance(read, Boxes)
            found, twins = merge_boxes(found, read, overlap=OVERLAP)
            left_out += twins
    return found, left_out


def _write_label(plan: FusedDataset, found: Any, label: Path, size: tuple[int, int], image: str) -> None:
    spec = plan.pairs.labels
    assert spec is not None
    if plan.form == "yolo":
        write_yolo(label, found, size)
    elif plan.form == "voc":
        write_voc(label, found, size, spec.classes, image=image)
    else:
        write_mask(label, found)


def _begin(plan: FusedDataset, stack: Stack | None) -> dict[str, Any]:
    """Create the record, or check that the one that is there was made by the same settings."""
    spec = plan.pairs.labels
    assert spec is not None
    described = plan.model.describe() if plan.model is not None else {}
    origin = Path(plan.pairs.origin).absolute()
    settings = {
        "source": origin.parent.name if origin.suffix.lower() == ".csv" else origin.name,
        "fingerprints": [labelled.fingerprint() for labelled in plan.labelled],
        "splits": plan.pairs.splits,
        "labels": spec.kind,
        "classes": list(spec.classes),
        "label_folders": list(plan.folders),
        "format": plan.form,
        "channels": stack.channels if stack is not None else None,
        **plan.reading.describe(len(plan.pairs[0].files)),
        **{key: value for key, value in described.items() if key not in ("device", "backend", "versions")},
    }
    record = {**settings, "versions": described.get("versions"), "complete": False}
    path = plan.out / DATASET_RECORD
    if path.exists():
        there = _read_record(path)
        plain = json.loads(json.dumps(settings))
        others = [key for key, value in plain.items() if there.get(key) != value]
        if others:
            raise UsageError(
                f"{plan.out}: was made with another {', '.join(others)}; name another folder, or delete this one"
            )
        return there
    if plan.out.exists() and (not plan.out.is_dir() or any(plan.out.iterdir())):
        raise UsageError(f"{plan.out}: holds something else; name a new folder")
    try:
        plan.out.mkdir(parents=True, exist_ok=True)
        with written_aside(path) as aside:
            aside.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(f"{plan.out}: cannot be written ({os.strerror(error.errno or 0)}): choose another") from None
    return record


def _read_record(path: Path) -> dict[str, Any]:
    try:
        there = read_json(path)
    except (OSError, ValueError):
        there = None
    if not isinstance(there, dict):
        raise DataError(f"{path}: is damaged; delete the folder and fuse again")
    return there


def _finish(plan: FusedDataset, items: Sequence[Item], record: dict[str, Any]) -> dict[str, Any]:
    """Write what describes the whole data set."""
    spec = plan.pairs.labels
    assert spec is not None
    splits: dict[str, dict[str, tuple[tuple[int, int], Any]]] = {}
    left_out = 0
    for item in items:
        target = plan.image(item)
        with Pillow.open(target) as image:
            size = (image.height, image.width)
        found: Any = None
        if spec.kind == "detection":
            found, twins = _label(plan, item.place, size)
            left_out += twins
        splits.setdefault(item.split, {})[target.name] = (size, found)
    if plan.form == "coco":
        for split, images in splits.items():
            write_coco(_coco_file(plan, split), images, spec.classes)
    elif plan.form == "voc":
        for split, images in splits.items():
            lines = "".join(f"{Path(name).stem}\n" for name in images)
            write_text(plan.out / "ImageSets" / "Main" / f"{split}.txt", lines)
    elif plan.form == "yolo":
        write_text(plan.out / "data.yaml", _data_yaml(list(splits), spec.classes, record["channels"]))
    write_text(plan.out / "classes.txt", "".join(f"{name}\n" for name in spec.classes))
    write_text(plan.out / "images.csv", _list_of_images(plan, items))
    boxes = sum(len(found.classes) for images in splits.values() for _, found in images.values() if found is not None)
    counts = {"images": len(items), "boxes": boxes if spec.kind == "detection" else None, "duplicates": left_out}
    whole = {**record, **counts, "complete": True}
    write_text(plan.out / DATASET_RECORD, json.dumps(whole, indent=2) + "\n")
    return whole


def _coco_file(plan: FusedDataset, split: str) -> Path:
    return plan.out / "annotations" / f"instances_{split}.json"


def _data_yaml(splits: Sequence[str], classes: Sequence[str], channels: Sequence[str] | None) -> str:
    """The file that Ultralytics reads. It needs ``val``; a set without one names its test split there."""
    places = {split: f"images/{split}" for split in splits}
    fallback = places.get("test") or next(iter(places.values()))
    wanted: Mapping[str, str] = {"train": places.get("train", fallback), "val": places.get("val", fallback)}
    lines = [f"{split}: {place}" for split, place in {**wanted, **places}.items()]
    if channels is not None:
        lines += [f"channels: {len(channels)}  # {', '.join(channels)}"]
    # A JSON string is a YAML string.
    lines += ["names:", *(f"  {k}: {json.dumps(name)}" for k, name in enumerate(classes))]
    return "\n".join(lines) + "\n"


def _list_of_images(plan: FusedDataset, items: Sequence[Item]) -> str:
    # One COCO file is the label of many images.
    digest = cache(file_digest)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("split", "name", "image", "label", "sha256_image", "sha256_label"))
    for item in items:
        files = (plan.image(item), plan.label(item) or _coco_file(plan, item.split))
        names = [file.relative_to(plan.out).as_posix() for file in files]
        rows.writerow([as_csv_cell(cell) for cell in (item.split, item.name, *names)] + [digest(f) for f in files])
    return text.getvalue()
