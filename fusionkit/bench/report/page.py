"""A board as one HTML page beside its images: opened from disk, without a server, a network or a framework."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from fusionkit.bench.paths import map_file, maps_folder
from fusionkit.bench.records import ImageResult, Record
from fusionkit.bench.report.comparability import find_task
from fusionkit.bench.report.downstream_tables import DownstreamTable
from fusionkit.bench.report.evidence import is_evidence, lies_inside
from fusionkit.bench.report.formats import as_data
from fusionkit.bench.report.page_assets import page_asset, page_script
from fusionkit.bench.report.previews import Previews
from fusionkit.bench.report.quality_tables import QualityTable

if TYPE_CHECKING:
    from fusionkit.bench.report.prediction_pictures import PredictionPictures

__all__ = ["PageCopy", "page_text"]

_SCRIPTS = (
    *("dom", "theme", "tables", "wins", "plot", "values", "gallery"),
    *("stage", "comparison", "viewer", "downstream", "main"),
)
_SHOWN = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")


@dataclass(frozen=True, kw_only=True)
class PageCopy:
    """A copy of a page that is complete in itself and small.

    Attributes:
        folder: where it is written.
        pairs: number of pairs of each table, from the first, whose images it has.
        longest: longer side of an image in pixels, at most.
    """

    folder: Path
    pairs: int
    longest: int


def page_text(
    out: Path,
    tables: Sequence[QualityTable],
    downstream: Sequence[DownstreamTable] = (),
    *,
    copy: PageCopy | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> str:
    """The page of a board, whose previews are written on the way.

    Everything that comes from records is in JSON blocks and reaches the document as text nodes alone. A content policy
    lets nothing run but the page's own script and nothing load but images from beside it.

    Args:
        out: the folder of the board.
        tables: its tables of fusion quality.
        downstream: its downstream tables, shown with the data sets' own.
        copy: make a copy for another folder instead. It has no links to original files and no predictions of networks.
        progress: called with the number of images done and of all.
    """
    previews = Previews(out, copy.folder, copy.longest) if copy else Previews(out)
    total = sum(len(row.records[0].images) for table in tables for row in table.rows)
    done = 0
    heads = [_head(table) for table in tables]
    heads += _placeholders(downstream, {(head["task"], head["label"]) for head in heads})
    blocks = [
        _block("board", {"tables": heads}),
        _block("downstream", {"tables": _sections(out, downstream, pictured=copy is None)}),
    ]
    for number, table in enumerate(tables):
        values = _Values(out, table, previews, copy)
        for row in table.rows:
            values.add(row.records[0])
            done += len(row.records[0].images)
            if progress:
                progress(done, total)
        blocks.append(_block(f"values-{number}", values.data()))
    previews.sweep()
    style = page_asset("style.css") + page_asset("downstream.css")
    script = page_script(page_asset(f"{name}.js") for name in _SCRIPTS)
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src 'self' file: data:; "
        f"script-src {_digest(script)}; style-src {_digest(style)}"
    )
    page = page_asset("page.html")
    more = "" if copy else ', <a href="board.json">JSON</a>'
    filled = {"POLICY": policy, "STYLE": style, "JSON": more, "DATA": "\n".join(blocks), "SCRIPT": script}
    for mark, text in filled.items():
        before, _, after = page.partition(f"<!--{mark}-->")
        page = before + text + after
    return page


class _Values:
    """Values of every image of a table for the page, gathered record by record."""

    def __init__(self, out: Path, table: QualityTable, previews: Previews, copy: PageCopy | None) -> None:
        self._out = out
        self._copy = copy
        self._table = table
        self._previews = previews
        self._places: dict[tuple[str, tuple[str, ...]], int] = {}
        self._images: list[dict[str, Any]] = []
        self._methods: list[dict[str, Any]] = []

    def add(self, record: Record) -> None:
        """Take up a method's images; the rows' order is the order of the calls."""
        metrics = [column.key for column in self._table.scores if column.key in record.metrics]
        folder = maps_folder(self._out, record.task, record.label, record.method.name)
        places = [self._place(image) for image in record.images]
        self._methods.append(
            {
                "at": places,
                "fused": [
                    self._picture(at, image.fused, image.fused_sha256)
                    for at, image in zip(places, record.images, strict=True)
                ],
                "values": {m: [_short(image.scores.get(m)) for image in record.images] for m in metrics},
                "reasons": {str(k): image.reasons for k, image in enumerate(record.images) if image.reasons},
                "seconds": [_short(image.cost.seconds) if image.cost else None for image in record.images],
                "maps": {
                    str(k): [
                        [
                            name,
                            *self._picture(
                                places[k], map_file(folder, image.name, name).relative_to(self._out).as_posix()
                            ),
                        ]
                        for name in image.maps
                    ]
                    for k, image in enumerate(record.images)
                    if image.maps
                },
                "failures": record.failures,
            }
        )

    def data(self) -> dict[str, Any]:
        task = find_task(self._table.task)
        return {
            "roles": list(task.sources) if task else [],
            "pictured": min(self._copy.pairs, len(self._images)) if self._copy else len(self._images),
            "images": self._images,
            "methods": self._methods,
        }

    def _place(self, image: ImageResult) -> int:
        key = (image.name, image.sources_sha256)
        if key not in self._places:
            at = self._places[key] = len(self._images)
            pictures = zip(image.sources, image.sources_sha256, strict=True)
            self._images.append(
                {
                    "name": image.name,
                    "size": [image.width, image.height],
                    "sources": [self._picture(at, file, digest) for file, digest in pictures],
                    "truth": self._picture(at, image.truth, image.truth_sha256) if image.truth else None,
                }
            )
        return self._places[key]

    def _picture(self, at: int, relative: str, digest: str = "") -> list[str]:
        """Addresses of the preview and of the image itself, "" where a browser cannot show it or a copy leaves it out.

        Args:
            at: number of the pair.
            relative: path relative to the board's folder.
            digest: SHA-256 by the record.
        """
        if self._copy:
            return [quote(self._previews.of(relative, digest)) if at < self._copy.pairs else "", ""]
        there = is_evidence(self._out, relative, digest) if digest else lies_inside(relative)
        own = (
            quote(relative) if there and relative.lower().endswith(_SHOWN) and (self._out / relative).is_file() else ""
        )
        return [quote(self._previews.of(relative, digest)), own]


def _head(table: QualityTable) -> dict[str, Any]:
    """A table without its images: what the JSON report has, win rates as arrays, and how to show numbers."""
    head = as_data(table)
    del head["metrics"]
    wins = table.wins
    head["wins"] = {
        "rate": _nested(wins.rate, 4),
        "p": _nested(wins.p, 6),
        "images": wins.images.tolist(),
    }
    data = [row.records[0].data for row in table.rows]
    head["citations"] = list(dict.fromkeys(found.citation for found in data if found.citation))
    head["licences"] = list(dict.fromkeys(found.licence for found in data if found.licence))
    return head


def _placeholders(tables: Sequence[DownstreamTable], there: set[tuple[str, str]]) -> list[dict[str, Any]]:
    """Entries without rows for the data sets that have downstream tables alone, in the form of the page's tables.

    Args:
        tables: downstream tables.
        there: task and label of the data sets that the page has a table of.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for table in tables:
        key = (table.task, table.label)
        if key in there or key in found:
            continue
        first = table.first
        found[key] = {
            **{name: [] for name in ("table_columns", "rows", "notes", "published")},
            "task": table.task,
            "title": table.title,
            "dataset": table.dataset,
            "label": table.label,
            "split": table.split,
            "profile": "",
            "pairs": first.test.pairs,
            "citations": [first.citation] if first.citation else [],
            "licences": [first.licence] if first.licence else [],
        }
    return list(found.values())


def _sections(out: Path, tables: Sequence[DownstreamTable], *, pictured: bool) -> list[dict[str, Any]]:
    """Each downstream table as data for the page; its pictures are drawn on the way, if it has some."""
    if not tables:
        return []
    if not pictured:
        return [_section(table, None) for table in tables]
    # Drawing needs torch, which a board without downstream tables does not.
    from fusionkit.bench.report.prediction_pictures import PredictionPictures

    pictures = PredictionPictures(out)
    found = [_section(table, pictures) for table in tables]
    pictures.sweep()
    return found


def _section(table: DownstreamTable, pictures: PredictionPictures | None) -> dict[str, Any]:
    from fusionkit.bench.report.prediction_pictures import COLOURS

    truths: dict[tuple[str, str], str] = {}
    shown = []
    for row in table.rows if pictures else ():
        assert pictures is not None
        record = row.records[0]
        names = [(image.name, image.label_sha256) for image in record.images]
        if any(name not in truths for name in names):
            truths |= dict(zip(names, pictures.truths(record), strict=True))
        shown.append(dict(zip(names, pictures.predictions(record), strict=True)))
    data = as_data(table)
    for row, row_data in zip(table.rows, data["rows"], strict=True):
        row_data["curves"] = [[[step, round(loss, 5)] for step, loss in record.losses] for record in row.records]
    return {
        **data,
        "facts": table.facts,
        "legend": table.legend,
        "seed": table.first.seed,
        "colours": COLOURS,
        "images": [
            {"name": key[0], "truth": quote(truth), "shown": [quote(own.get(key, "")) for own in shown]}
            for key, truth in truths.items()
        ],
    }


def _nested(values: np.ndarray[Any, Any], digits: int) -> Any:
    rounded = np.round(values, digits).astype(object)
    rounded[np.isnan(values)] = None
    return rounded.tolist()


def _short(value: float | None) -> float | None:
    """Six significant digits: more than is shown, and a third of the text."""
    return None if value is None else float(f"{value:.6g}")


def _block(name: str, data: Any) -> str:
    """Encode JSON so that no HTML parser can mistake its content for markup."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return f'<script type="application/json" id="{name}">{text}</script>'


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
