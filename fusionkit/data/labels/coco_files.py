"""Read COCO annotation files, which hold the boxes of many images, into one YOLO file per image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fusionkit.contracts.label_types import Boxes
from fusionkit.data.labels.label_writing import write_yolo
from fusionkit.errors import DataError, UsageError
from fusionkit.io.atomic import write_text
from fusionkit.io.regular_files import read_json
from fusionkit.io.text import shortened

__all__ = ["coco_to_yolo"]

_Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Image(_Part):
    id: int
    file_name: str
    height: int = Field(gt=0)
    width: int = Field(gt=0)


class _Annotation(_Part):
    image_id: int
    category_id: int
    bbox: tuple[_Finite, _Finite, _Finite, _Finite]
    iscrowd: int = 0


class _Category(_Part):
    id: int
    name: str


class _Coco(_Part):
    images: list[_Image]
    annotations: list[_Annotation] = []
    categories: list[_Category]


def coco_to_yolo(path: Path, out: Path) -> tuple[int, int]:
    """Write the boxes of a COCO file as YOLO text, one file per image, and the class names as ``classes.txt``.

    Class ids are the places of the categories, sorted by their ids. Boxes of crowds, which mark no single object, are
    left out.

    Args:
        path: a COCO file of instances: ``images``, ``annotations`` with ``bbox`` in pixels, and ``categories``.
        out: the folder to write, which must be new or empty.

    Returns:
        Number of images and of boxes.

    Raises:
        fusionkit.errors.UsageError: ``out`` holds something.
        fusionkit.errors.DataError: the file cannot be read, is of another form, names an image or category that it
            does not list, or has two images of one stem.
    """
    import torch

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: is there already; name a new folder for the labels")
    coco = _read(path)
    classes = sorted(coco.categories, key=lambda category: category.id)
    place = {category.id: k for k, category in enumerate(classes)}
    found: dict[int, list[_Annotation]] = {image.id: [] for image in coco.images}
    for n, annotation in enumerate(coco.annotations):
        where = f"{path}: annotations[{n}]"
        if annotation.image_id not in found:
            raise DataError(f"{where}: no image has the id {annotation.image_id}")
        if annotation.category_id not in place:
            raise DataError(f"{where}: no category has the id {annotation.category_id}")
        if not annotation.iscrowd:
            found[annotation.image_id].append(annotation)
    stems = [Path(image.file_name.replace("\\", "/")).stem for image in coco.images]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise DataError(f"{path}: two images are called {shortened(twice[0])}: their labels would be one file")
    for image, stem in zip(coco.images, stems, strict=True):
        own = found[image.id]
        corners = [(x, y, x + w, y + h) for x, y, w, h in (annotation.bbox for annotation in own)]
        boxes = Boxes(
            torch.tensor(corners, dtype=torch.float64).reshape(-1, 4),
            torch.tensor([place[annotation.category_id] for annotation in own], dtype=torch.int64),
        )
        write_yolo(out / f"{stem}.txt", boxes, (image.height, image.width))
    write_text(out / "classes.txt", "".join(f"{category.name}\n" for category in classes))
    return len(coco.images), sum(map(len, found.values()))


def _read(path: Path) -> _Coco:
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON: {shortened(str(error))}") from None
    try:
        return _Coco.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DataError(f"{path}: is no COCO file of instances: {where}: {first['msg'].lower()}") from None
