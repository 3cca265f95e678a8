"""From records to leaderboards: one a task, data set and profile, with what keeps its rows from being comparable.

Records under different profiles are never put in one table: one metric name means several numbers in this field.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from fusionkit.bench.published_tables import PublishedTable, published_beside
from fusionkit.bench.records import ImageResult, Record
from fusionkit.bench.report.comparability import departures, find_task, table_notes, usual_images, usual_use
from fusionkit.bench.report.significance import Means, WinRates, bootstrap_means, mean_ranks, win_rates
from fusionkit.tasks import Task

__all__ = ["Cell", "Column", "Leaderboard", "Row", "leaderboards"]


@dataclass(frozen=True, kw_only=True)
class Column:
    """One metric of a table.

    Attributes:
        metric: its name.
        higher_is_better: its direction.
        unit: of its values.
        ranks: whether it counts for mean rank and win rate.
        decimals: how many to show.
    """

    metric: str
    higher_is_better: bool
    unit: str
    ranks: bool
    decimals: int


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Mean of one metric over a method's images, with its 95 % bootstrap interval.

    Attributes:
        mean: over the images that have a value; None where none has.
        low: lower end of the interval; None with fewer than two values.
        high: its upper end.
        count: number of values.
        missing: number of images without one: not defined there, or not asked for.
    """

    mean: float | None
    low: float | None
    high: float | None
    count: int
    missing: int

    @property
    def half_width(self) -> float | None:
        """Half of the interval's width."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


@dataclass(frozen=True, kw_only=True)
class Row:
    """One method.

    Attributes:
        record: its result.
        cells: metric -> mean; without the metrics that it was not scored by.
        mean_rank: mean over the ranking metrics of its rank; None where it is not ranked.
        win_rate: how often it is better than another on an image, over rivals and ranking metrics.
        seconds: median time of fusing an image.
        peak_bytes: greatest memory that fusing an image took.
        devices: where that was measured.
        marks: how it departs from the table's protocol.
    """

    record: Record
    cells: Mapping[str, Cell]
    mean_rank: float | None
    win_rate: float | None
    seconds: float | None
    peak_bytes: int | None
    devices: tuple[str, ...]
    marks: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """Methods on one data set under one profile, best mean rank first, rows that are not ranked last.

    Attributes:
        task: name of the task.
        title: the task in words.
        dataset: name of the data set.
        split: of the data set, or "".
        profile: metric profile of every row.
        pairs: number of pairs of the image set that most rows have.
        columns: the metrics, the task's own first.
        rows: the methods.
        wins: how often each row beats each other one, by each ranking metric, in the order of rows and columns.
        notes: what goes for the whole table: departures from the task's protocol, missing values.
        published: what papers print for this data set under this profile, never ranked with the rows.
    """

    task: str
    title: str
    dataset: str
    split: str
    profile: str
    pairs: int
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    wins: WinRates
    notes: tuple[str, ...]
    published: tuple[PublishedTable, ...]

    @property
    def label(self) -> str:
        """Task, data set with split, and profile: ``"ivif / MSRS-test / refusion"``."""
        return f"{self.task} / {self.rows[0].record.label} / {self.profile}"

    @property
    def ranking(self) -> tuple[Column, ...]:
        """The columns that count for mean rank and win rate."""
        return tuple(column for column in self.columns if column.ranks)

    def placed(self, metric: str) -> dict[str, int]:
        """Method -> 1 or 2, for the best and the second-best means among the ranked rows; ties share a place."""
        higher = next(column.higher_is_better for column in self.columns if column.metric == metric)
        means = {
            row.record.method.name: cell.mean
            for row in self.rows
            if row.mean_rank is not None and (cell := row.cells.get(metric)) is not None and cell.mean is not None
        }
        best = sorted(set(means.values()), reverse=higher)[:2]
        return {name: best.index(mean) + 1 for name, mean in means.items() if mean in best}


def leaderboards(records: Iterable[Record], *, resamples: int = 9999, seed: int = 0) -> tuple[Leaderboard, ...]:
    """A table for each task, data set, split and profile.

    Args:
        records: results, of any methods.
        resamples: bootstrap draws behind each interval.
        seed: of the draws.
    """

    def key(record: Record) -> tuple[str, str, str, str]:
        return record.task, record.dataset, record.split, record.profile

    ordered = sorted(records, key=lambda record: (*key(record), record.method.name))
    return tuple(_leaderboard(tuple(group), resamples, seed) for _, group in groupby(ordered, key=key))


def _leaderboard(records: tuple[Record, ...], resamples: int, seed: int) -> Leaderboard:
    head = records[0]
    task = find_task(head.task)
    usual = usual_images(records)
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
    comparable = [
        record.data.fingerprint == usual[0]
        and not record.failures
        and bool(record.images)
        and all(metric in record.metrics for metric in ranking)
        for record in records
    ]
    higher = [usual_use(records, metric).higher_is_better for metric in ranking]
    at = [metrics.index(metric) for metric in ranking]
    among = np.flatnonzero(comparable)
    ranks = np.full(len(records), np.nan)
    images = np.zeros(len(ranking), dtype=np.int64)
    if len(among):
        ranks[among], images = mean_ranks(values[:, among][:, :, at], higher)
    order = sorted(range(len(records)), key=lambda k: (np.isnan(ranks[k]), ranks[k], records[k].method.name))
    wins = win_rates(values[:, order][:, :, at], higher)
    overall = dict(zip(order, wins.overall(), strict=True))
    return Leaderboard(
        task=head.task,
        title=task.title if task else head.task,
        dataset=head.dataset,
        split=head.split,
        profile=head.profile,
        pairs=usual[1],
        columns=tuple(_column(metric, records, ranking, cells) for metric in metrics),
        rows=tuple(
            Row(
                record=records[k],
                cells=cells[k],
                mean_rank=_finite(ranks[k]),
                win_rate=_finite(overall[k]),
                seconds=records[k].median_seconds(),
                peak_bytes=records[k].peak_bytes(),
                devices=tuple(sorted({image.cost.device for image in records[k].images if image.cost})),
                marks=marks[k],
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
    """``(images, methods, metrics)``; an image is one pair with the same sources, whatever it is called elsewhere."""

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
    return Cell(
        mean=_finite(means.mean[place]),
        low=_finite(means.low[place]),
        high=_finite(means.high[place]),
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
    return Column(
        metric=metric,
        higher_is_better=use.higher_is_better,
        unit=use.unit,
        ranks=metric in ranking,
        decimals=decimals,
    )


def _metrics(records: Sequence[Record], task: Task | None) -> tuple[str, ...]:
    """Every metric of the records, the task's own first and in its order."""
    known = dict.fromkeys(metric for record in records for metric in record.metrics)
    own = tuple(metric for metric in task.metrics if metric in known) if task else ()
    return (*own, *(metric for metric in known if metric not in own))


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
