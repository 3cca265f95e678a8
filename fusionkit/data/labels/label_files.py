"""Read label files: class-id masks, YOLO text, Pascal VOC XML."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from fusionkit.contracts.label_types import Boxes
from fusionkit.errors import DataError, did_you_mean
from fusionkit.io.regular_files import read_regular_text
from fusionkit.io.text import counted, shortened

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["OVERSHOOT", "read_boxes", "read_mask"]

OVERSHOOT = 1e-3
"""Part of the image's side by which a YOLO box may exceed the border: the effect of rounding to 3 decimals."""

_LOSSY = (".jpg", ".jpeg", ".webp")

Corners = tuple[float, float, float, float]


def read_mask(path: Path) -> Tensor:
    """Read a mask of class ids.

    A grey image of 8 or 16 bits holds the ids as its values, a palette image as its indices; an image of three equal
    channels is grey. Pixels of :data:`fusionkit.contracts.IGNORE` are not counted by losses and scores.

    Args:
        path: PNG, TIFF, BMP or PGM.

    Returns:
        ``(H, W)`` int64.

    Raises:
        fusionkit.errors.DataError: it cannot be read, is in colour, or its format changes values.
    """
    import numpy as np
    import torch
    from PIL import Image as Pillow

    from fusionkit.io.images import read_image

    if path.suffix.lower() in _LOSSY:
        raise DataError(f"{path}: {path.suffix} does not keep values exactly; save the mask of class ids as PNG")
    image = read_image(path)
    with Pillow.open(path) as picture:
        # Read as an image, a palette gives its colours.
        indices = np.asarray(picture) if picture.mode == "P" else None
    if indices is None:
        if image.bits == 32 or not image.is_grey:
            what = "fractions" if image.bits == 32 else "colours"
            raise DataError(f"{path}: holds {what}, not class ids: save one id per pixel as a grey PNG")
        indices = image.pixels[:, :, 0]
    return torch.from_numpy(indices.astype(np.int64))


def read_boxes(path: Path, size: tuple[int, int], classes: Sequence[str]) -> Boxes:
    """Read the boxes of one image.

    YOLO text: one line ``class cx cy w h`` per box, relative to the image's sides; the class is its line in the list of
    classes, from 0. An empty file means that there is nothing in the image. Pascal VOC XML: ``object`` elements with
    ``name`` and ``bndbox``; xmin, ymin, xmax and ymax are taken for edges in pixels, as the labelling tools of public
    data sets write them. A box that reaches over the border by no more than rounding is clipped.

    Args:
        path: ``.txt`` or ``.xml``.
        size: height and width of the image.
        classes: names of the classes, by id.

    Returns:
        The boxes in the file's order, without scores.

    Raises:
        fusionkit.errors.DataError: it cannot be read; an unknown class; a box that is outside the image or has no
            area; an XML for an image of another size.
    """
    import torch

    try:
        text = read_regular_text(path)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    read = _voc if path.suffix.lower() == ".xml" else _yolo
    found = read(path, text, size, classes)
    # Tools that write XML count pixels from 0 or from 1.
    slack = (1.0, 1.0) if read is _voc else (OVERSHOOT * size[0], OVERSHOOT * size[1])
    corners = [_within(path, where, box, size, slack) for where, _, box in found]
    return Boxes(
        corners=torch.tensor(corners, dtype=torch.float32).reshape(-1, 4),
        classes=torch.tensor([number for _, number, _ in found], dtype=torch.int64),
    )


def _yolo(path: Path, text: str, size: tuple[int, int], classes: Sequence[str]) -> list[tuple[str, int, Corners]]:
    height, width = size
    found: list[tuple[str, int, Corners]] = []
    for n, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if len(words) != 5:
            raise DataError(f"{path}, line {n}: 'class cx cy w h' is expected, got {counted(len(words), 'value')}")
        try:
            number, (cx, cy, w, h) = float(words[0]), (float(word) for word in words[1:])
        except ValueError:
            raise DataError(f"{path}, line {n}: {line.strip()!r} is not 'class cx cy w h' in numbers") from None
        if number not in range(len(classes)):
            known = f"0 to {len(classes) - 1}" if len(classes) > 1 else "0 alone"
            raise DataError(f"{path}, line {n}: unknown class id {words[0]} (known: {known}, {', '.join(classes[:4])})")
        box = ((cx - w / 2) * width, (cy - h / 2) * height, (cx + w / 2) * width, (cy + h / 2) * height)
        found.append((f"line {n}", int(number), box))
    return found


def _voc(path: Path, text: str, size: tuple[int, int], classes: Sequence[str]) -> list[tuple[str, int, Corners]]:
    if "<!ENTITY" in text:
        raise DataError(f"{path}: XML with entities is not read: a file of boxes needs none")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise DataError(f"{path}: is not sound XML: {error}") from None
    if root.tag != "annotation":
        raise DataError(
            f"{path}: is no VOC file: its root is {shortened(root.tag)!r} instead of 'annotation'. For an image with "
            "nothing in it, write an 'annotation' without objects"
        )
    said = _number(root, "size/height"), _number(root, "size/width")
    if said[0] and said[1] and said != size:
        raise DataError(
            f"{path}: its boxes are for an image of {said[1]:g}x{said[0]:g}, the image is {size[1]}x{size[0]}"
        )
    found: list[tuple[str, int, Corners]] = []
    for n, item in enumerate(root.findall("object"), 1):
        name = (item.findtext("name") or "").strip()
        if name not in classes:
            raise DataError(f"{path}, object {n}: unknown class {name!r}: {did_you_mean(name, classes)}")
        x0, y0, x1, y1 = (_number(item, f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax"))
        if x0 is None or y0 is None or x1 is None or y1 is None:
            raise DataError(f"{path}, object {n}: no bndbox with xmin, ymin, xmax and ymax in numbers")
        found.append((f"object {n}", classes.index(name), (x0, y0, x1, y1)))
    return found


def _number(item: ElementTree.Element, place: str) -> float | None:
    try:
        return float(item.findtext(place) or "")
    except ValueError:
        return None


def _within(path: Path, where: str, box: Corners, size: tuple[int, int], slack: tuple[float, float]) -> Corners:
    height, width = size
    x0, y0, x1, y1 = box
    over_y, over_x = slack
    shown = f"({x0:.1f}, {y0:.1f}) to ({x1:.1f}, {y1:.1f})"
    if not all(math.isfinite(value) for value in box):
        raise DataError(f"{path}, {where}: a box whose numbers are not finite")
    if x0 < -over_x or y0 < -over_y or x1 > width + over_x or y1 > height + over_y:
        raise DataError(f"{path}, {where}: the box {shown} is outside the image of {width}x{height}")
    x0, y0, x1, y1 = max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))
    if x1 <= x0 or y1 <= y0:
        raise DataError(f"{path}, {where}: the box {shown} has no area")
    return x0, y0, x1, y1
