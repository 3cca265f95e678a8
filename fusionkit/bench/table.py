"""The tables that a bench prints: a method a line, the mean of every metric."""

from __future__ import annotations

from collections.abc import Sequence

from fusionkit.bench.records import Record
from fusionkit.metrics.report import aligned

__all__ = ["table"]

_NONE = "-"


def table(records: Sequence[Record]) -> str:
    """The records of one data set as a table.

    Means are over all images that were asked for; where a value is missing there is no mean, but a dash. The best of
    each metric has an asterisk, if the methods that have a mean have it over the same images.

    Args:
        records: of one task, data set and profile.
    """
    first = records[0]
    metrics = list(first.metrics)
    images = max(len(record.images) for record in records)
    count = f"{images} image{'s' if images != 1 else ''}"
    heading = (
        f"{first.task}  {first.dataset}{f', {first.split}' if first.split else ''}, {count}, profile {first.profile}"
    )
    arrows = ["^" if first.metrics[name].higher_is_better else "v" for name in metrics]
    head = ["method", *(f"{name} {arrow}" for name, arrow in zip(metrics, arrows, strict=True)), "ms", "MiB", "failed"]
    columns = [_column(records, name) for name in metrics]
    rows = [
        [record.method.name, *(column[i] for column in columns), _time(record), _memory(record), _failed(record)]
        for i, record in enumerate(records)
    ]
    return f"{heading}\n{aligned(head, rows)}"


def _column(records: Sequence[Record], metric: str) -> list[str]:
    means = [_mean(record, metric) for record in records]
    known = [mean for mean in means if mean is not None]
    choose = max if records[0].metrics[metric].higher_is_better else min
    best = choose(known) if len(known) > 1 else None
    return [_NONE if mean is None else f"{mean:.4f}{'*' if mean == best else ''}" for mean in means]


def _mean(record: Record, metric: str) -> float | None:
    # A mean over fewer images than the others' would not compare.
    return None if record.failures else record.mean(metric)


def _time(record: Record) -> str:
    seconds = record.median_seconds()
    return _NONE if seconds is None else f"{1000 * seconds:.1f}"


def _memory(record: Record) -> str:
    peak = record.peak_bytes()
    return _NONE if peak is None else f"{peak / 2**20:.1f}"


def _failed(record: Record) -> str:
    return str(len(record.failures)) if record.failures else ""
