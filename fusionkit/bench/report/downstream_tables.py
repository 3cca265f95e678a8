"""From records to tables: one a data set, network and protocol, a method a row, every score with its spread over seeds.

Nothing here imports torch.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from fusionkit.bench.downstream.downstream_records import COLUMNS, PER_CLASS, DownstreamRecord, read_downstreams

__all__ = ["DownstreamRow", "DownstreamTable", "Spread", "downstream_tables"]

Key = TypeVar("Key")


@dataclass(frozen=True)
class Spread:
    """One score of a method over its seeds.

    Attributes:
        values: seed -> value; None where it is not defined.
    """

    values: Mapping[int, float | None]

    @property
    def mean(self) -> float | None:
        """Over the seeds; None where a seed has no value."""
        known = self._known
        return statistics.fmean(known) if known and len(known) == len(self.values) else None

    @property
    def deviation(self) -> float | None:
        """Standard deviation over the seeds, with n - 1; None for fewer than two."""
        known = self._known
        return statistics.stdev(known) if len(known) > 1 and len(known) == len(self.values) else None

    @property
    def _known(self) -> list[float]:
        return [value for value in self.values.values() if value is not None]


@dataclass(frozen=True)
class DownstreamRow:
    """One method.

    Attributes:
        records: its trainings, by seed.
        files: the records' files, in the same order.
        scores: score -> its spread.
        per_class: class -> score -> its spread.
        marks: what keeps it from being comparable with the rest of the table.
    """

    records: tuple[DownstreamRecord, ...]
    files: tuple[Path, ...]
    scores: Mapping[str, Spread]
    per_class: Mapping[str, Mapping[str, Spread]]
    marks: tuple[str, ...]

    @property
    def method(self) -> str:
        """The method's name."""
        return self.records[0].method.name

    @property
    def seconds(self) -> float:
        """Mean time of a training."""
        return statistics.fmean(record.cost.seconds for record in self.records)

    @property
    def peak_bytes(self) -> int | None:
        """Greatest memory of a training; None where none was measured."""
        return max((r.cost.peak_bytes for r in self.records if r.cost.peak_bytes is not None), default=None)


@dataclass(frozen=True)
class DownstreamTable:
    """Methods on one data set under one network and protocol, the best first.

    Attributes:
        folder: where the records are.
        rows: the methods.
        columns: the scores.
        class_columns: the scores of each class.
    """

    folder: Path
    rows: tuple[DownstreamRow, ...]
    columns: tuple[str, ...]
    class_columns: tuple[str, ...]

    @property
    def first(self) -> DownstreamRecord:
        """A record that stands for what all of them share."""
        return self.rows[0].records[0]

    @property
    def seeds(self) -> int:
        """Greatest number of trainings of a method."""
        return max(len(row.records) for row in self.rows)

    def best(self, column: str) -> set[str]:
        """The methods with the greatest mean of a score, among those without marks; none where there is one alone."""
        means = {row.method: row.scores[column].mean for row in self.rows if not row.marks}
        known = [mean for mean in means.values() if mean is not None]
        return {name for name, mean in means.items() if mean == max(known)} if len(known) > 1 else set()


def downstream_tables(out: Path) -> tuple[DownstreamTable, ...]:
    """Every table of a bench's folder; none where it has no downstream results.

    Raises:
        fusionkit.errors.DataError: a record is damaged.
    """
    found: dict[Path, list[tuple[Path, DownstreamRecord]]] = {}
    for file, record in read_downstreams(out):
        found.setdefault(file.parent.parent, []).append((file, record))
    return tuple(_table(folder, entries) for folder, entries in found.items())


def _table(folder: Path, entries: Sequence[tuple[Path, DownstreamRecord]]) -> DownstreamTable:
    kind = entries[0][1].kind
    usual_data = _most(_data(record) for _, record in entries)
    seeds = _most(_seeds(own) for own in _by_method(entries).values())
    rows = []
    for own in _by_method(entries).values():
        records = tuple(record for _, record in own)
        marks = ["other data"] if any(_data(record) != usual_data for record in records) else []
        if len({record.method.model_dump_json(include={"weights_sha256", "config"}) for record in records}) > 1:
            marks.append("its seeds are of different versions of the method")
        if _seeds(own) != seeds:
            marks.append(f"seeds {', '.join(map(str, _seeds(own)))}, the others {', '.join(map(str, seeds))}")
        rows.append(
            DownstreamRow(
                records=records,
                files=tuple(file for file, _ in own),
                scores={name: Spread({r.seed: r.scores.get(name) for r in records}) for name in COLUMNS[kind]},
                per_class={
                    label: {
                        name: Spread({r.seed: r.per_class.get(label, {}).get(name) for r in records})
                        for name in PER_CLASS[kind]
                    }
                    for label in records[0].classes
                },
                marks=tuple(marks),
            )
        )
    first = COLUMNS[kind][0]
    rows.sort(key=lambda row: (bool(row.marks), -(row.scores[first].mean or 0.0), row.method))
    return DownstreamTable(folder, tuple(rows), COLUMNS[kind], PER_CLASS[kind])


def _by_method(
    entries: Sequence[tuple[Path, DownstreamRecord]],
) -> dict[str, list[tuple[Path, DownstreamRecord]]]:
    found: dict[str, list[tuple[Path, DownstreamRecord]]] = {}
    for file, record in sorted(entries, key=lambda entry: entry[1].seed):
        found.setdefault(record.method.name, []).append((file, record))
    return found


def _seeds(own: Sequence[tuple[Path, DownstreamRecord]]) -> tuple[int, ...]:
    return tuple(record.seed for _, record in own)


def _data(record: DownstreamRecord) -> tuple[str, str]:
    return record.train.fingerprint, record.test.fingerprint


def _most(keys: Iterable[Key]) -> Key:
    return Counter(keys).most_common(1)[0][0]
