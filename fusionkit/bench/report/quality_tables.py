"""Tables of fusion quality from records: one per task, data set, split and profile.

Records under different profiles are never put in one table: one metric name means several numbers in this field.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, groupby

import numpy as np
from numpy.typing import NDArray

from fusionkit.bench.published_tables import PublishedTable, published_beside
from fusionkit.bench.records import ImageResult, Record
from fusionkit.bench.report import tables
from fusionkit.bench.report.comparability import (
    departures,
    find_task,
    is_ranked,
    is_trusted,
    table_notes,
    usual_images,
    usual_use,
)
from fusionkit.bench.report.significance import Means, WinRates, bootstrap_means, mean_ranks, win_rates
from fusionkit.bench.report.tables import Cell, Column, Table, row_of
from fusionkit.io.text import counted
from fusionkit.tasks import Task

__all__ = ["QualityTable", "quality_tables"]


_LEGEND = (
    "Means over images ± half of the 95 % bootstrap interval (percentile, 9999 draws). Best in bold, second-best "
    "underlined, among ranked rows. Rank: mean over the metrics of the rank. Wins: share of images on which a method "
    "is better than another one, over rivals and metrics. Published rows are what papers print, never ranked."
)

RANK = Column(
    key="mean_rank",
    title="rank",
    higher_is_better=False,
    hint="mean over the ranking metrics of the rank by each",
)
WINS = Column(
    key="win_rate",
    title="wins",
    higher_is_better=True,
    format="share",
    hint="share of images on which it is better than another method",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class QualityTable(Table):
    """Methods on one data set under one profile, the best mean rank first.

    Attributes:
        profile: metric profile of every row.
        pairs: number of pairs of the image set that most rows have.
        wins: how often each row beats each other one, by each ranking metric, in the order of rows and columns.
        published: what papers print for this data set under this profile, never ranked with the rows.
    """

    profile: str
    pairs: int
    wins: WinRates
    published: tuple[PublishedTable, ...]


def quality_tables(records: Iterable[Record], *, resamples: int = 9999, seed: int = 0) -> tuple[QualityTable, ...]:
    """A table for each task, data set, split and profile.

    Args:
        records: results, of any methods.
        resamples: bootstrap draws behind each interval.
        seed: of the draws.
    """

    def key(record: Record) -> tuple[str, str, str, str]:
        return record.task, record.dataset, record.split, record.profile

    ordered = sorted(records, key=lambda record: (*key(record), record.method.name))
    return tuple(_table(tuple(group), resamples, seed) for _, group in groupby(ordered, key=key))


def _table(records: tuple[Record, ...], resamples: int, seed: int) -> QualityTable:
    head = records[0]
    task = find_task(head.task)
    trusted = [is_trusted(record, records) for record in records]
    usual = usual_images([*compress(records, trusted)] or records)
    metrics = _metrics(records, task)
    ranking = tuple(m for m in metrics if m in task.metrics) if task else ()
    ranking = ranking or metrics
    values = _values(records, metrics)
    means = bootstrap_means(values.reshape(len(values), -1), resamples=resamples, seed=seed)
    cells = [
        {
            metric: _cell(means, row * len(metrics) + column, len(record.images))
            for column, metric in enumerate(metrics)
            if metric in record.metrics
        }
        for row, record in enumerate(records)
    ]
    marks = [departures(record, records, usual, ranking) for record in records]
    comparable = [is_ranked(record, records, usual, ranking) for record in records]
    higher = [usual_use(records, metric).higher_is_better for metric in ranking]
    at = [metrics.index(metric) for metric in ranking]
    among = np.flatnonzero(comparable)
    ranks = np.full(len(records), np.nan)
    images = np.zeros(len(ranking), dtype=np.int64)
    if len(among):
        ranks[among], images = mean_ranks(values[:, among][:, :, at], higher)
    order = sorted(range(len(records)), key=lambda k: (np.isnan(ranks[k]), ranks[k], records[k].method.name))
    # A row that is contradicted by its files must not count for or against others.
    believed = np.where(np.array(trusted)[:, None], values, np.nan)
    wins = win_rates(believed[:, order][:, :, at], higher)
    overall = dict(zip(order, wins.overall(), strict=True))
    pairs = counted(usual[1], "pair")
    title = task.title if task else head.task
    return QualityTable(
        task=head.task,
        title=title,
        dataset=head.dataset,
        split=head.split,
        profile=head.profile,
        pairs=usual[1],
        heading=f"{title}: {head.label}, {pairs}, profile {head.profile}",
        legend=_LEGEND,
        columns=(RANK, *(_column(metric, records, ranking, cells) for metric in metrics), WINS, *tables.DETAILS),
        rows=tuple(
            row_of(
                (records[k],),
                {**cells[k], RANK.key: Cell(mean=_finite(ranks[k])), WINS.key: Cell(mean=_finite(overall[k]))},
                marks[k],
                ranked=bool(np.isfinite(ranks[k])),
            )
            for k in order
        ),
        wins=wins,
        notes=table_notes(
            records, task, ranking, dict(zip(ranking, images.tolist(), strict=True)), usual[1], len(among)
        ),
        published=tuple(t for t in published_beside(head.task, head.dataset) if t.profile == head.profile),
    )


def _values(records: Sequence[Record], metrics: Sequence[str]) -> NDArray[np.float64]:
    """``(images, methods, metrics)``; an image is one pair with the same sources, under any name."""

    def identity(image: ImageResult) -> Hashable:
        return image.name, image.sources_sha256

    places = {name: k for k, name in enumerate(dict.fromkeys(identity(i) for r in records for i in r.images))}
    values = np.full((len(places), len(records), len(metrics)), np.nan)
    for row, record in enumerate(records):
        for image in record.images:
            for column, metric in enumerate(metrics):
                value = image.scores.get(metric)
                if value is not None:
                    values[places[identity(image)], row, column] = value
    return values


def _cell(means: Means, place: int, images: int) -> Cell:
    count = int(means.count[place])
    low, high = _finite(means.low[place]), _finite(means.high[place])
    return Cell(
        mean=_finite(means.mean[place]),
        half_width=None if low is None or high is None else (high - low) / 2,
        low=low,
        high=high,
        count=count,
        missing=images - count,
    )


def _column(
    metric: str, records: Sequence[Record], ranking: Sequence[str], cells: Sequence[Mapping[str, Cell]]
) -> Column:
    use = usual_use(records, metric)
    sizes = [abs(cell.mean) for row in cells if (cell := row.get(metric)) and cell.mean is not None]
    greatest = max(sizes, default=0.0)
    decimals = 4 if greatest < 1 else 3 if greatest < 10 else 2 if greatest < 1000 else 1
    ranks = metric in ranking
    better = "higher is better" if use.higher_is_better else "lower is better"
    return Column(
        key=metric,
        title=metric,
        unit=use.unit,
        higher_is_better=use.higher_is_better,
        ranks=ranks,
        decimals=decimals,
        hint=f"{better}; unit {use.unit}{'' if ranks else '; does not count for the rank'}",
        score=True,
        extra=not ranks,
    )


def _metrics(records: Sequence[Record], task: Task | None) -> tuple[str, ...]:
    """Every metric of the records, the task's own first and in its order."""
    known = dict.fromkeys(metric for record in records for metric in record.metrics)
    own = tuple(metric for metric in task.metrics if metric in known) if task else ()
    return (*own, *(metric for metric in known if metric not in own))


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
