"""A board as one HTML page beside its images: opened from disk, without a server, a network or a framework."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from fusionkit.bench.records import ImageResult, Record, map_file, maps_folder
from fusionkit.bench.report.comparability import find_task
from fusionkit.bench.report.downstream_section import placeholders, sections
from fusionkit.bench.report.downstream_tables import DownstreamTable
from fusionkit.bench.report.formats import plain
from fusionkit.bench.report.previews import Previews
from fusionkit.bench.report.quality_tables import Leaderboard

__all__ = ["page_text"]

_SCRIPTS = ("dom", "tables", "wins", "plot", "values", "gallery", "stage", "viewer", "downstream", "main")
_SHOWN = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")

Told = Callable[[int, int], None]


def page_text(
    out: Path,
    boards: Sequence[Leaderboard],
    downstream: Sequence[DownstreamTable] = (),
    *,
    progress: Told | None = None,
) -> str:
    """The page of a board, whose previews are written on the way.

    Everything that comes from records is in JSON blocks and reaches the document as text nodes alone. A content policy
    lets nothing run but the page's own script and nothing load but images from beside it.

    Args:
        out: the folder of the board.
        boards: its tables.
        downstream: its downstream tables, shown with the data sets' own.
        progress: called with the number of images done and of all.
    """
    previews = Previews(out)
    total = sum(len(row.record.images) for board in boards for row in board.rows)
    done = 0
    heads = [_head(board) for board in boards]
    heads += placeholders(downstream, {(head["task"], head["label"]) for head in heads})
    blocks = [_block("board", {"tables": heads}), _block("downstream", {"tables": sections(out, downstream)})]
    for number, board in enumerate(boards):
        values = _Values(out, board, previews)
        for row in board.rows:
            values.add(row.record)
            done += len(row.record.images)
            if progress:
                progress(done, total)
        blocks.append(_block(f"values-{number}", values.data()))
    previews.sweep()
    style = _file("style.css") + _file("downstream.css")
    script = "(() => {\n'use strict';\n" + "\n".join(_file(f"{name}.js") for name in _SCRIPTS) + "\n})();\n"
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src 'self' file: data:; "
        f"script-src {_digest(script)}; style-src {_digest(style)}"
    )
    page = _file("page.html")
    for mark, text in (("POLICY", policy), ("STYLE", style), ("DATA", "\n".join(blocks)), ("SCRIPT", script)):
        before, _, after = page.partition(f"<!--{mark}-->")
        page = before + text + after
    return page


class _Values:
    """What the page needs of every image of a table, gathered record by record."""

    def __init__(self, out: Path, board: Leaderboard, previews: Previews) -> None:
        self._out = out
        self._board = board
        self._previews = previews
        self._places: dict[tuple[str, tuple[str, ...]], int] = {}
        self._images: list[dict[str, Any]] = []
        self._methods: list[dict[str, Any]] = []

    def add(self, record: Record) -> None:
        """Take up a method's images; the rows' order is the order of the calls."""
        metrics = [column.metric for column in self._board.columns if column.metric in record.metrics]
        folder = maps_folder(self._out, record.task, record.label, record.method.name)
        self._methods.append(
            {
                "at": [self._place(image) for image in record.images],
                "fused": [self._picture(image.fused, image.fused_sha256) for image in record.images],
                "values": {m: [_short(image.scores.get(m)) for image in record.images] for m in metrics},
                "reasons": {str(k): image.reasons for k, image in enumerate(record.images) if image.reasons},
                "seconds": [_short(image.cost.seconds) if image.cost else None for image in record.images],
                "maps": {
                    str(k): [
                        [name, *self._picture(map_file(folder, image.name, name).relative_to(self._out).as_posix())]
                        for name in image.maps
                    ]
                    for k, image in enumerate(record.images)
                    if image.maps
                },
                "failures": record.failures,
            }
        )

    def data(self) -> dict[str, Any]:
        task = find_task(self._board.task)
        return {"roles": list(task.sources) if task else [], "images": self._images, "methods": self._methods}

    def _place(self, image: ImageResult) -> int:
        key = (image.name, image.sources_sha256)
        if key not in self._places:
            self._places[key] = len(self._images)
            pictures = zip(image.sources, image.sources_sha256, strict=True)
            self._images.append(
                {
                    "name": image.name,
                    "size": [image.width, image.height],
                    "sources": [self._picture(file, digest) for file, digest in pictures],
                    "truth": self._picture(image.truth, image.truth_sha256) if image.truth else None,
                }
            )
        return self._places[key]

    def _picture(self, relative: str, digest: str = "") -> list[str]:
        """Addresses of the preview and of the image itself, "" where a browser cannot show it."""
        own = quote(relative) if relative.lower().endswith(_SHOWN) and (self._out / relative).is_file() else ""
        return [quote(self._previews.of(relative, digest)), own]


def _head(board: Leaderboard) -> dict[str, Any]:
    """A table without its images: what the JSON report has, win rates as arrays, and how to show numbers."""
    head = {**plain(board), "title": board.title, "label": board.rows[0].record.label}
    for shown, column in zip(head["metrics"], board.columns, strict=True):
        shown["decimals"] = column.decimals
    wins = board.wins
    head["wins"] = {
        "rate": _nested(wins.rate, 4),
        "p": _nested(wins.p, 6),
        "images": wins.images.tolist(),
    }
    head["citations"] = list({row.record.data.citation for row in board.rows if row.record.data.citation})
    head["licences"] = list({row.record.data.licence for row in board.rows if row.record.data.licence})
    return head


def _nested(values: np.ndarray[Any, Any], digits: int) -> Any:
    rounded = np.round(values, digits).astype(object)
    rounded[np.isnan(values)] = None
    return rounded.tolist()


def _short(value: float | None) -> float | None:
    """Six significant digits: more than is shown, and a third of the text."""
    return None if value is None else float(f"{value:.6g}")


def _block(name: str, data: Any) -> str:
    """JSON that no HTML parser can mistake for markup, whatever it holds."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return f'<script type="application/json" id="{name}">{text}</script>'


def _file(name: str) -> str:
    return resources.files("fusionkit.bench").joinpath("page", name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
