"""Tables of downstream scores from records: one per data set, network and protocol, with the spread over seeds.

Nothing here imports torch.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import PurePosixPath
from typing import TypeVar

from fusionkit.bench.downstream.downstream_records import COLUMNS, PER_CLASS, DownstreamRecord
from fusionkit.bench.report import tables
from fusionkit.bench.report.comparability import find_task
from fusionkit.bench.report.tables import Cell, Column, Table, format_value, row_of
from fusionkit.io.text import counted

__all__ = ["DownstreamTable", "downstream_tables", "seed_cell"]

Key = TypeVar("Key")

_MIRRORED = {"none": "none mirrored", "horizontal": "mirrored left-right", "both": "mirrored both ways"}


@dataclass(frozen=True, kw_only=True, eq=False)
class DownstreamTable(Table):
    """Methods on one data set under one network and protocol, the best first.

    Attributes:
        protocol: name of network and protocol, as of the folder of the records.
    """

    protocol: str

    @property
    def first(self) -> DownstreamRecord:
        """One of the records, for what all of them share."""
        record: DownstreamRecord = self.rows[0].records[0]
        return record


def downstream_tables(records: Iterable[DownstreamRecord]) -> tuple[DownstreamTable, ...]:
    """A table for each data set, network and protocol."""

    def key(record: DownstreamRecord) -> str:
        return record.table

    return tuple(_table(name, tuple(own)) for name, own in groupby(sorted(records, key=key), key=key))


def _table(name: str, entries: Sequence[DownstreamRecord]) -> DownstreamTable:
    head = entries[0]
    columns = _columns(head)
    usual_data, usual_protocol = (_most(map(of, entries)) for of in (_data, _protocol))
    by_method = _by_method(entries)
    seeds = _most(_seeds(own) for own in by_method.values())
    rows = []
    for records in by_method.values():
        marks = list(dict.fromkeys(f"seed {r.seed}: {fault}" for r in records for fault in r.faults))
        if any(_data(record) != usual_data for record in records):
            marks.append("other data")
        if any(_protocol(record) != usual_protocol for record in records):
            marks.append("another network or protocol")
        if twice := sorted(seed for seed, number in Counter(_seeds(records)).items() if number > 1):
            marks.append(f"seed {twice[0]} is there twice")
        if len({record.method.model_dump_json(include={"weights_sha256", "config"}) for record in records}) > 1:
            marks.append("its seeds are of different versions of the method")
        if _seeds(records) != seeds:
            marks.append(f"seeds {', '.join(map(str, _seeds(records)))}, the others {', '.join(map(str, seeds))}")
        cells = {
            column.key: seed_cell({record.seed: _score(record, column.key) for record in records}) for column in columns
        }
        rows.append(row_of(records, cells, marks, ranked=not marks))
    rows.sort(key=lambda row: (not row.ranked, -(row.value(columns[0].key) or 0.0), row.method))
    most = max(len(row.records) for row in rows)
    task = find_task(head.task)
    images = f"{counted(head.test.pairs, 'image')}, trained on {head.train.pairs}"
    return DownstreamTable(
        task=head.task,
        title=task.title if task else head.task,
        dataset=head.dataset,
        split=head.test.split,
        heading=f"{head.kind} by {head.network.name}: {head.label}, {images}",
        legend=(
            f"Percent, {'mean ± standard deviation over the seeds' if most > 1 else 'one seed: no spread is known'}. "
            "Every row is the same network trained afresh on that method's images, from the same initial weights, on "
            "the same batches. Best in bold, second-best underlined."
        ),
        columns=(*columns, *tables.DETAILS),
        rows=tuple(rows),
        facts=_facts(head, most),
        protocol=PurePosixPath(name).name,
    )


def seed_cell(values: Mapping[int, float | None]) -> Cell:
    """One score of a method over its seeds: no mean where a seed has no value, no spread for fewer than two seeds."""
    known = [value for value in values.values() if value is not None]
    whole = bool(known) and len(known) == len(values)
    return Cell(
        mean=statistics.fmean(known) if whole else None,
        half_width=statistics.stdev(known) if whole and len(known) > 1 else None,
        count=len(known),
        missing=len(values) - len(known),
        values=dict(values),
    )


def _columns(head: DownstreamRecord) -> list[Column]:
    """The scores of all classes, and one score per class if there are several."""

    def column(key: str, hint: str, ranks: bool) -> Column:
        return Column(
            key=key, title=key, higher_is_better=True, ranks=ranks, format="percent", decimals=1, hint=hint, score=True
        )

    score = PER_CLASS[head.kind][0]
    overall = [column(name, "higher is better", k == 0) for k, name in enumerate(COLUMNS[head.kind])]
    classes = head.classes if len(head.classes) > 1 else ()
    return [*overall, *(column(f"{score} {name}", f"{score} of {name}; higher is better", False) for name in classes)]


def _score(record: DownstreamRecord, key: str) -> float | None:
    if key in record.scores:
        return record.scores[key]
    score, _, label = key.partition(" ")
    return record.per_class.get(label, {}).get(score)


def _facts(head: DownstreamRecord, seeds: int) -> tuple[str, ...]:
    """The protocol in a few words."""
    p = head.protocol
    size = "x".join(map(str, p.get("size", ()))) or "own size"
    count = format_value(head.network.parameters, Column(key="", title="", format="count"))
    options = ", ".join(f"{name}={value}" for name, value in head.network.config.items())
    return (
        f"{count} parameters, {head.network.implementation} of {head.network.version}",
        *([f"network: {options}"] if options else []),
        f"{p['steps']} updates of {p['batch']} images {size}, {_MIRRORED.get(p['flip'], p['flip'])}",
        f"Adam {p['lr']:g}, {p['warmup']} updates warm-up, cosine to {p['lr'] * p['lr_end']:g}",
        f"{counted(seeds, 'seed')}",
    )


def _by_method(entries: Sequence[DownstreamRecord]) -> dict[str, list[DownstreamRecord]]:
    found: dict[str, list[DownstreamRecord]] = {}
    for record in sorted(entries, key=lambda record: record.seed):
        found.setdefault(record.method.name, []).append(record)
    return found


def _seeds(own: Sequence[DownstreamRecord]) -> tuple[int, ...]:
    return tuple(record.seed for record in own)


def _data(record: DownstreamRecord) -> tuple[str, str]:
    return record.train.fingerprint, record.test.fingerprint


def _protocol(record: DownstreamRecord) -> str:
    shared = {"name", "implementation", "version", "config", "parameters"}
    return json.dumps([record.network.model_dump(include=shared), record.protocol], sort_keys=True)


def _most(keys: Iterable[Key]) -> Key:
    return Counter(keys).most_common(1)[0][0]
