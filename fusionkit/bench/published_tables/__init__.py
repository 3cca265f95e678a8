"""The numbers that papers print, as data, to stand beside measured ones and never among them.

A paper's table was computed on its authors' machine, from their images, by their code: it is shown as "published",
and neither averaged nor ranked with what was measured here.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from fusionkit.errors import UsageError, did_you_mean

__all__ = ["PublishedRow", "PublishedTable", "papers", "published_beside", "published_tables"]

_PAPERS = ("refusion", "tdfusion")


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """One line of a published table.

    Attributes:
        method: the name that the paper gives it.
        reference: its number in the paper's references, blank where it has none.
        values: one a metric, None where the paper prints none.
    """

    method: str
    reference: str
    values: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class PublishedTable:
    """One table of a paper, or the half of one that is about one data set.

    Attributes:
        paper: the paper's key (``"refusion"``).
        citation: the paper.
        table: its number there.
        kind: ``"comparison"``, ``"ablation"``, ``"hyperparameter"``, ``"segmentation"``, ``"detection"`` or
            ``"parameters"``.
        task: name of the fusion task; blank for parameters.
        dataset: the data set as the paper calls it; blank for parameters.
        covers: registered data sets that it stands beside.
        pairs: number of test pairs, None where it does not apply.
        profile: metric profile under which our values compare with it; blank where none does.
        metrics: registered names of the columns, or the printed ones where no registered metric is meant.
        printed: the columns' headings as printed.
        rows: its lines, as printed.
    """

    paper: str
    citation: str
    table: int
    kind: str
    task: str
    dataset: str
    covers: tuple[str, ...]
    pairs: int | None
    profile: str
    metrics: tuple[str, ...]
    printed: tuple[str, ...]
    rows: tuple[PublishedRow, ...]

    @property
    def label(self) -> str:
        """Where to find it: ``"refusion, Table 1 (MSRS)"``."""
        return f"{self.paper}, Table {self.table}" + (f" ({self.dataset})" if self.dataset else "")


def papers() -> tuple[str, ...]:
    """Keys of the papers whose tables are here."""
    return _PAPERS


@cache
def published_tables(paper: str) -> tuple[PublishedTable, ...]:
    """Every table of a paper, in its order.

    Raises:
        UsageError: no such paper.
    """
    if paper not in _PAPERS:
        raise UsageError(f"unknown paper {paper!r}: {did_you_mean(paper, _PAPERS)}")
    text = resources.files(__name__).joinpath(f"{paper}.toml").read_text(encoding="utf-8")
    data = tomllib.loads(text)
    return tuple(_table(data["paper"], panel) for panel in data["panel"])


def published_beside(task: str, dataset: str) -> tuple[PublishedTable, ...]:
    """The comparisons of fusion quality that papers print for a data set, of every paper and profile.

    Args:
        task: name of the task.
        dataset: registered name of the data set; case does not matter.
    """
    return tuple(
        table
        for paper in _PAPERS
        for table in published_tables(paper)
        if table.kind == "comparison"
        and table.task == task
        and dataset.casefold() in {name.casefold() for name in table.covers}
    )


def _table(paper: Mapping[str, str], panel: Mapping[str, Any]) -> PublishedTable:
    metrics = tuple(panel["metrics"])
    rows = tuple(
        PublishedRow(
            method=method,
            reference=reference,
            values=tuple(None if value == "/" else float(value) for value in values),
        )
        for method, reference, *values in panel["rows"]
    )
    assert all(len(row.values) == len(metrics) == len(panel["printed"]) for row in rows), panel
    dataset = panel.get("dataset", "")
    return PublishedTable(
        paper=paper["key"],
        citation=paper["citation"],
        table=panel["table"],
        kind=panel["kind"],
        task=panel.get("task", ""),
        dataset=dataset,
        covers=tuple(panel.get("covers", (dataset,) if dataset else ())),
        pairs=panel.get("pairs"),
        profile=panel.get("profile", ""),
        metrics=metrics,
        printed=tuple(panel["printed"]),
        rows=rows,
    )
