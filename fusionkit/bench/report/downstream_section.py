"""What the board's page shows of downstream tables: their numbers and the pictures of predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fusionkit.bench.report.comparability import find_task
from fusionkit.bench.report.downstream_formats import facts, heading, legend, plain
from fusionkit.bench.report.downstream_tables import DownstreamTable

if TYPE_CHECKING:
    from fusionkit.bench.report.prediction_pictures import Pictures

__all__ = ["placeholders", "sections"]


def sections(out: Path, tables: Sequence[DownstreamTable]) -> list[dict[str, Any]]:
    """Each table as data for the page; its pictures are drawn on the way.

    Args:
        out: the bench's folder.
        tables: its tables.
    """
    if not tables:
        return []
    # Drawing needs torch, which a board without downstream tables does not.
    from fusionkit.bench.report.prediction_pictures import Pictures

    pictures = Pictures(out)
    found = [_section(table, pictures) for table in tables]
    pictures.sweep()
    return found


def placeholders(tables: Sequence[DownstreamTable], there: set[tuple[str, str]]) -> list[dict[str, Any]]:
    """Entries without rows for the data sets that have downstream tables alone, in the form of the page's tables.

    Args:
        tables: downstream tables.
        there: task and label of the data sets that the page has a table of.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for table in tables:
        first = table.first
        key = (first.task, first.label)
        if key in there or key in found:
            continue
        task = find_task(first.task)
        found[key] = {
            **{name: [] for name in ("metrics", "rows", "notes", "published")},
            "task": first.task,
            "title": task.title if task else first.task,
            "dataset": first.dataset,
            "label": first.label,
            "split": first.test.split,
            "profile": "",
            "pairs": first.test.pairs,
            "citations": [first.citation] if first.citation else [],
            "licences": [first.licence] if first.licence else [],
        }
    return list(found.values())


def _section(table: DownstreamTable, pictures: Pictures) -> dict[str, Any]:
    from fusionkit.bench.report.prediction_pictures import COLOURS

    truths: dict[tuple[str, str], str] = {}
    shown = []
    for row in table.rows:
        record = row.records[0]
        names = [(image.name, image.label_sha256) for image in record.images]
        if any(name not in truths for name in names):
            truths |= dict(zip(names, pictures.truths(record), strict=True))
        shown.append(dict(zip(names, pictures.predictions(record), strict=True)))
    data = plain(table)
    for row, told in zip(table.rows, data["rows"], strict=True):
        told["curves"] = [[[step, round(loss, 5)] for step, loss in record.losses] for record in row.records]
    return {
        **data,
        "heading": heading(table),
        "facts": facts(table),
        "legend": legend(table),
        "seed": table.first.seed,
        "colours": COLOURS,
        "images": [
            {"name": key[0], "truth": quote(truth), "shown": [quote(own.get(key, "")) for own in shown]}
            for key, truth in truths.items()
        ],
    }
