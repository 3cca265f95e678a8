"""Tables of methods, with their columns as data: every form of a board shows the columns that a table lists.

A column that is measured from a method's records alone is added in one place, :data:`DETAILS`. Nothing here imports
torch.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeVar

from fusionkit.bench.records import BenchRecord, Method
from fusionkit.errors import UsageError, did_you_mean

__all__ = ["DETAILS", "Cell", "Column", "Detail", "Format", "Row", "Table", "format_value", "row_of"]

T = TypeVar("T", bound="Table")

Format = Literal["number", "percent", "share", "count", "seconds", "bytes"]
"""Format of a value: 1.25; 0.613 as 61.3; 0.89 as 89%; 59856 as 59.9 k; 0.0123 as 12.3 ms; 2048 as 2.0 KiB."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table.

    Attributes:
        key: its name in JSON and CSV, unique in the table.
        title: its heading.
        unit: of its values, "" where the format says it.
        higher_is_better: its direction; None if there is none.
        ranks: whether it counts for the mean rank and win rate, or orders the rows.
        format: how its values are written.
        decimals: how many to show of numbers and percentages.
        hint: what it is, in a few words.
        score: whether it is a score of images, with a spread; else one measured value per method.
        extra: left out where room is scarce: in Markdown, and on the page until it is asked for.
    """

    key: str
    title: str
    unit: str = ""
    higher_is_better: bool | None = None
    ranks: bool = False
    format: Format = "number"
    decimals: int = 2
    hint: str = ""
    score: bool = False
    extra: bool = False

    @property
    def heading(self) -> str:
        """The title, with an arrow for scores: ``"EN ↑"``."""
        return f"{self.title} {'↑' if self.higher_is_better else '↓'}" if self.score else self.title

    def as_data(self) -> dict[str, Any]:
        """The column for JSON and the page."""
        return {name: value for name, value in asdict(self).items() if name != "measure"}


@dataclass(frozen=True, kw_only=True)
class Detail(Column):
    """A column whose value is computed from a method's records.

    Attributes:
        measure: the value from the records of one method: one of quality, or one per seed; None if
            there is none.
    """

    measure: Callable[[Sequence[Any]], float | None]


DETAILS: tuple[Detail, ...] = (
    Detail(
        key="parameters",
        title="params",
        higher_is_better=False,
        format="count",
        hint="learned parameters of the method",
        measure=lambda records: records[0].method.parameters,
    ),
    Detail(
        key="seconds",
        title="time",
        higher_is_better=False,
        format="seconds",
        hint="of fusing an image, median; of a downstream network, of a training, mean",
        measure=lambda records: _mean(record.seconds() for record in records),
    ),
    Detail(
        key="peak_bytes",
        title="memory",
        higher_is_better=False,
        format="bytes",
        hint="greatest that fusing an image, or training a downstream network, took",
        measure=lambda records: max((b for r in records if (b := r.peak_bytes()) is not None), default=None),
    ),
)
"""Columns beside the scores; a new one is shown in every form of the board."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One value of a table.

    Attributes:
        mean: the value: a mean over images or seeds, or what was measured; None if there is none.
        half_width: half of the interval's width, or the standard deviation over seeds; None if there is none.
        low: lower end of the interval, if there is one.
        high: its upper end.
        count: number of values behind it.
        missing: number of images without a value: not defined there, or not asked for.
        values: seed -> value, for scores of trainings.
    """

    mean: float | None
    half_width: float | None = None
    low: float | None = None
    high: float | None = None
    count: int = 1
    missing: int = 0
    values: Mapping[int, float | None] | None = None

    def lines(self, column: Column) -> list[str]:
        """The value, its spread, and the number of values where some are missing, as text."""
        if self.mean is None:
            return ["-"]
        spread = [] if self.half_width is None else [f"± {format_value(self.half_width, column)}"]
        return [format_value(self.mean, column), *spread, *([f"(n={self.count})"] if self.missing else [])]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One method.

    Attributes:
        records: its records: one of quality, or one per seed.
        cells: column key -> value; without the scores that it does not have.
        marks: how it departs from the table's protocol.
        ranked: whether it is compared with the other rows.
        devices: where its costs were measured.
    """

    records: tuple[Any, ...]
    cells: Mapping[str, Cell]
    marks: tuple[str, ...]
    ranked: bool
    devices: tuple[str, ...]

    @property
    def about(self) -> Method:
        """The method as its record describes it."""
        method: Method = self.records[0].method
        return method

    @property
    def method(self) -> str:
        """The method's name."""
        return self.about.name

    @property
    def seen(self) -> Literal["trained on", "unknown", ""]:
        """Say if the method was trained on pairs of the table's data set, in any split, or if that is not known."""
        saw = self.about.saw(self.records[0].dataset)
        return "unknown" if saw is None else "trained on" if saw else ""

    def value(self, key: str) -> float | None:
        """The value of a column; None if there is none."""
        cell = self.cells.get(key)
        return cell.mean if cell else None


def row_of(records: Sequence[BenchRecord], cells: Mapping[str, Cell], marks: Sequence[str], *, ranked: bool) -> Row:
    """Make a method's row.

    Args:
        records: the method's: one of quality, or one per seed.
        cells: column key -> value, for all columns but the details.
        marks: how it departs from the table's protocol.
        ranked: whether it is compared with the other rows.
    """
    details = {detail.key: Cell(mean=detail.measure(records)) for detail in DETAILS}
    devices = tuple(sorted({device for record in records for device in record.devices()}))
    return Row(records=tuple(records), cells={**cells, **details}, marks=tuple(marks), ranked=ranked, devices=devices)


@dataclass(frozen=True, kw_only=True)
class Table:
    """Methods on one data set, the best first, rows that are not ranked last.

    Attributes:
        task: name of the task.
        title: the task in words.
        dataset: name of the data set.
        split: of the data set, or "".
        heading: what the table is about.
        legend: how to read its numbers.
        columns: in the order in which they are shown.
        rows: the methods.
        facts: how it was measured, a few words each.
        notes: what limits the whole table: departures from the task's protocol, missing values.
    """

    task: str
    title: str
    dataset: str
    split: str
    heading: str
    legend: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    facts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The data set with its split: ``"MSRS-test"``."""
        return f"{self.dataset}-{self.split}" if self.split else self.dataset

    @property
    def scores(self) -> tuple[Column, ...]:
        """The columns of scores."""
        return tuple(column for column in self.columns if column.score)

    @property
    def details(self) -> tuple[Column, ...]:
        """The columns of one measured value per method."""
        return tuple(column for column in self.columns if not column.score)

    @property
    def ranking(self) -> tuple[Column, ...]:
        """The scores that count for mean rank and win rate."""
        return tuple(column for column in self.scores if column.ranks)

    def with_scores(self: T, names: Sequence[str]) -> T:
        """The table with these scores alone, in this order, none of them left out where room is scarce.

        Raises:
            fusionkit.errors.UsageError: it has no such score.
        """
        own = {column.key: column for column in self.scores}
        for name in names:
            if name not in own:
                raise UsageError(f"{self.heading}: has no {name}: {did_you_mean(name, own)}")
        chosen = [replace(own[name], extra=False) for name in names]
        first = next(k for k, column in enumerate(self.columns) if column.score)
        before, after = ([c for c in part if not c.score] for part in (self.columns[:first], self.columns[first:]))
        return replace(self, columns=(*before, *chosen, *after))

    def placed(self, key: str) -> tuple[int, ...]:
        """The place of each row, 1 or 2 for the best and second-best values among the ranked ones; else 0.

        Ties share a place.
        """
        higher = next(column.higher_is_better for column in self.columns if column.key == key)
        values = [row.value(key) if row.ranked else None for row in self.rows]
        best = sorted({value for value in values if value is not None}, reverse=bool(higher))[:2]
        return tuple(best.index(value) + 1 if value in best else 0 for value in values)


def format_value(value: float | None, column: Column) -> str:
    """A value as its column writes it.

    >>> format_value(0.0123, Column(key="seconds", title="time", format="seconds"))
    '12.3 ms'
    """
    if value is None:
        return "-"
    match column.format:
        case "number":
            return f"{value:.{column.decimals}f}"
        case "percent":
            return f"{100 * value:.{column.decimals}f}"
        case "share":
            return f"{value:.0%}"
        case "count":
            return _scaled(value, ("", "k", "M", "G"), 1000)
        case "bytes":
            return _scaled(value, ("B", "KiB", "MiB", "GiB", "TiB"), 1024)
        case "seconds":
            scale, unit = (1.0, "s") if value >= 1 else (1e3, "ms") if value >= 1e-3 else (1e6, "µs")
            return f"{value * scale:.3g} {unit}"


def _scaled(number: float, units: Sequence[str], step: int) -> str:
    place = 0
    while number >= step and place < len(units) - 1:
        number /= step
        place += 1
    return f"{number:.1f} {units[place]}".strip() if place else f"{number:.0f} {units[0]}".strip()


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None
