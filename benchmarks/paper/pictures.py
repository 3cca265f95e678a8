"""Figs. 8 to 14: the proposed weights w and v as training goes, of each task, and under each weight of the losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from fusionkit.errors import DataError
from fusionkit.io.atomic import written_aside

MAPS = ("fused", "w_a", "w_b", "v_a", "v_b")
"""Rows of a picture, from top to bottom; a run whose loss is not learned has the first alone."""

Column = tuple[str, Mapping[str, Path]]
"""A heading, and the files of its rows."""

_TILE = 168
_GAP = 6
_LABEL = 20
_SIDE = 52


def learning(run: Path, pair: int) -> list[Column]:
    """One column for the sources, and one a snapshot of a run: Figs. 8 to 11."""
    place = run / "images" / f"pair{pair}"
    steps = _steps(place)
    sources = {"fused": place / "source_a.png", "w_a": place / "source_b.png"}
    return [("a, b", sources), *((f"step {int(step.removeprefix('step-'))}", _files(place, step)) for step in steps)]


def final(run: Path, pair: int, title: str, *, sources: bool = False) -> Column:
    """The last snapshot of a run, with the sources or without: Figs. 12 to 14."""
    place = run / "images" / f"pair{pair}"
    files = _files(place, _steps(place)[-1])
    own = {f"source_{letter}": place / f"source_{letter}.png" for letter in "ab"} if sources else {}
    return title, {**own, **files}


def draw(path: Path, columns: Sequence[Column]) -> Path:
    """Write a picture of columns; each image is fitted into a tile of the first column's shape.

    Raises:
        fusionkit.errors.DataError: it cannot be written.
    """
    names = list(dict.fromkeys(name for _, files in columns[::-1] for name in files))
    height = _tile_height(columns)
    sheet = np.full((_LABEL + len(names) * (height + _GAP), _SIDE + len(columns) * (_TILE + _GAP), 3), 255, np.uint8)
    for row, name in enumerate(names):
        _write(sheet, name.replace("source_", ""), 2, _LABEL + row * (height + _GAP) + height // 2)
    for k, (title, files) in enumerate(columns):
        left = _SIDE + k * (_TILE + _GAP)
        _write(sheet, title, left, _LABEL - 6)
        for row, name in enumerate(names):
            if name in files:
                top = _LABEL + row * (height + _GAP)
                sheet[top : top + height, left : left + _TILE] = _fitted(_read(files[name]), height)
    with written_aside(path) as aside:
        aside.write_bytes(cv2.imencode(".png", sheet)[1].tobytes())
    return path


def _steps(place: Path) -> list[str]:
    steps = sorted({file.name.partition("_")[0] for file in place.glob("step-*_fused.png")})
    if not steps:
        raise DataError(f"{place}: holds no snapshots of a run: train it again")
    return steps


def _files(place: Path, step: str) -> dict[str, Path]:
    return {name: file for name in MAPS if (file := place / f"{step}_{name}.png").is_file()}


def _tile_height(columns: Sequence[Column]) -> int:
    """Height of a tile: the first image's shape where all are alike, a square otherwise."""
    shapes = {_read(next(iter(files.values()))).shape[:2] for _, files in columns}
    h, w = next(iter(shapes))
    return max(round(_TILE * h / w), 1) if len(shapes) == 1 else _TILE


def _fitted(image: np.ndarray, height: int) -> np.ndarray:
    h, w = image.shape[:2]
    scale = min(_TILE / w, height / h)
    size = max(min(round(w * scale), _TILE), 1), max(min(round(h * scale), height), 1)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
    tile = np.full((height, _TILE, 3), 255, np.uint8)
    top, left = (height - size[1]) // 2, (_TILE - size[0]) // 2
    tile[top : top + size[1], left : left + size[0]] = small
    return tile


def _read(file: Path) -> np.ndarray:
    image = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if image is None:
        raise DataError(f"{file}: cannot be read: train its run again")
    return image


def _write(sheet: np.ndarray, text: str, left: int, baseline: int) -> None:
    cv2.putText(sheet, text, (left, baseline), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
