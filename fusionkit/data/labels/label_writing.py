"""Write boxes and masks as detectors and segmenters read them: YOLO text, Pascal VOC XML, COCO JSON, PNG masks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np

from fusionkit.contracts.label_types import Boxes
from fusionkit.io.atomic import write_text
from fusionkit.io.images import Image, write_image

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["merge_boxes", "write_coco", "write_mask", "write_voc", "write_yolo"]


def write_yolo(path: Path, boxes: Boxes, size: tuple[int, int]) -> None:
    """Write one line ``class cx cy w h`` per box, relative to the image's sides; an empty file for no boxes.

    Args:
        path: the ``.txt`` file.
        boxes: corners in pixels.
        size: height and width of the image.
    """
    height, width = size
    lines = []
    for number, (x0, y0, x1, y1) in zip(boxes.classes.tolist(), boxes.corners.double().tolist(), strict=True):
        values = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height)
        lines.append(" ".join([str(number), *(f"{value:.8f}" for value in values)]))
    write_text(path, "".join(f"{line}\n" for line in lines))


def write_voc(path: Path, boxes: Boxes, size: tuple[int, int], classes: Sequence[str], *, image: str) -> None:
    """Write a Pascal VOC annotation. Corners are edges in pixels from 0, as :func:`read_boxes` reads them.

    Args:
        path: the ``.xml`` file.
        boxes: corners in pixels.
        size: height and width of the image.
        classes: names of the classes, by id.
        image: file name of the image.
    """
    root = ElementTree.Element("annotation")
    ElementTree.SubElement(root, "filename").text = image
    shape = ElementTree.SubElement(root, "size")
    for side, value in (("width", size[1]), ("height", size[0])):
        ElementTree.SubElement(shape, side).text = str(value)
    for number, corners in zip(boxes.classes.tolist(), boxes.corners.double().tolist(), strict=True):
        item = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(item, "name").text = classes[number]
        box = ElementTree.SubElement(item, "bndbox")
        for side, corner in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True):
            ElementTree.SubElement(box, side).text = f"{corner:.3f}".rstrip("0").rstrip(".")
    ElementTree.indent(root)
    write_text(path, ElementTree.tostring(root, encoding="unicode") + "\n")


def write_coco(path: Path, images: Mapping[str, tuple[tuple[int, int], Boxes]], classes: Sequence[str]) -> None:
    """Write the boxes of a split as one COCO file. Category ids are class ids plus 1, as COCO counts from 1.

    Args:
        path: the ``.json`` file.
        images: file name -> height and width, and boxes.
        classes: names of the classes, by id.
    """
    listed: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for place, (name, ((height, width), boxes)) in enumerate(images.items(), start=1):
        listed.append({"id": place, "file_name": name, "height": height, "width": width})
        for number, (x0, y0, x1, y1) in zip(boxes.classes.tolist(), boxes.corners.double().tolist(), strict=True):
            box = [round(value, 3) for value in (x0, y0, x1 - x0, y1 - y0)]
            found = {"image_id": place, "category_id": number + 1, "bbox": box, "area": round(box[2] * box[3], 3)}
            annotations.append({"id": len(annotations) + 1, **found, "iscrowd": 0})
    categories = [{"id": k, "name": name} for k, name in enumerate(classes, start=1)]
    content = {"images": listed, "annotations": annotations, "categories": categories}
    write_text(path, json.dumps(content) + "\n")


def write_mask(path: Path, mask: Tensor) -> None:
    """Write a mask of class ids, ``(H, W)`` int64 up to 255, as a grey PNG of 8 bits."""
    write_image(path, Image(mask.numpy().astype(np.uint8)[:, :, None], name=path.name))


def merge_boxes(first: Boxes, second: Boxes, *, overlap: float) -> tuple[Boxes, int]:
    """Unite two lists of boxes of one image; of boxes that mark the same object, the first list's is kept.

    Args:
        first: boxes that are all kept.
        second: boxes that are kept unless they have the class of a box of ``first`` and at least ``overlap`` IoU
            with it; each box of ``first`` answers for one of them, the one with the largest overlap.
        overlap: intersection over union, above 0 and at most 1.

    Returns:
        The union, and the number of boxes of ``second`` that were left out.
    """
    import torch

    a, b = first.corners, second.corners
    low, high = torch.maximum(a[:, None, :2], b[:, :2]), torch.minimum(a[:, None, 2:], b[:, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    area_a, area_b = ((box[:, 2:] - box[:, :2]).prod(-1) for box in (a, b))
    iou = shared / (area_a[:, None] + area_b - shared)
    iou = iou * (first.classes[:, None] == second.classes)
    twins: set[int] = set()
    taken: set[int] = set()
    for place in iou.flatten().argsort(descending=True).tolist() if iou.numel() else []:
        row, column = divmod(place, len(b))
        if iou[row, column] < overlap:
            break
        if row not in taken and column not in twins:
            taken.add(row)
            twins.add(column)
    kept = torch.tensor([k not in twins for k in range(len(b))], dtype=torch.bool)
    united = Boxes(torch.cat([a, b[kept]]), torch.cat([first.classes, second.classes[kept]]))
    return united, len(twins)
