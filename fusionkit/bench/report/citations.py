"""BibTeX of the methods, metrics and data that records tell of, from what plugins declare."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from fusionkit.bench.downstream.downstream_records import DownstreamRecord
from fusionkit.bench.records import BenchRecord, Method, Record
from fusionkit.bench.report.latex import escaped
from fusionkit.contracts import Fuser
from fusionkit.errors import FusionkitError
from fusionkit.plugins import catalogue

__all__ = ["as_bibtex"]

_ENTRY = re.compile(r"@\w+\s*\{\s*([^,\s]+)\s*,")
_YEAR = re.compile(r"\b(1[89]\d\d|20\d\d)\b")
_BOOK = re.compile(r"(?P<authors>[^:.]+): (?P<title>[^.]+(?:\.(?! )[^.]*)*)\. (?P<rest>.+)")


def as_bibtex(records: Iterable[BenchRecord]) -> str:
    """Write an entry for each method, metric and data set of the records that has a publication.

    A plugin's own entry is taken where it declares one (:meth:`fusionkit.contracts.Fuser.bibtex`,
    ``MetricInfo.bibtex``, ``Dataset.bibtex``); else ``@misc`` with the reference that it declares as text. A method
    that is not installed is cited by the reference in its record. Sources without a year, such as controls, have none.
    """
    found = tuple(records)
    entries: dict[str, str] = {}
    texts: set[str] = set()
    for kind, name, declared, reference in _sources(found):
        text = declared.strip() or _misc(kind, name, reference)
        if not text or text in texts or (not declared and reference in texts):
            continue
        texts |= {text, reference}
        head = _ENTRY.match(text)
        if head is None:
            continue
        key, number = head[1], 2
        while key in entries:
            key, number = f"{head[1]}-{number}", number + 1
        entries[key] = text[: head.start(1)] + key + text[head.end(1) :]
    return "\n\n".join(entries.values()) + "\n" if entries else ""


def _sources(records: tuple[BenchRecord, ...]) -> Iterator[tuple[str, str, str, str]]:
    """Kind, name, declared BibTeX and reference of everything that was used, each once."""
    methods = {(r.method.fuser or r.method.name): r.method for r in records}
    for method in methods.values():
        yield "method", method.name, _method_entry(method), method.reference
    metrics = dict.fromkeys(metric for r in records if isinstance(r, Record) for metric in r.metrics)
    for name in metrics:
        try:
            info = catalogue.metrics.get(name).info
        except FusionkitError:
            continue
        yield "metric", name, info.bibtex, info.paper
    data = {r.dataset: r for r in records}
    for name, record in data.items():
        citation = record.data.citation if isinstance(record, Record) else ""
        citation = record.citation if isinstance(record, DownstreamRecord) else citation
        try:
            declared = catalogue.datasets.get(name).bibtex
        except FusionkitError:
            declared = ""
        yield "data", name, declared, citation


def _method_entry(method: Method) -> str:
    for entry in catalogue.fusers.entries():
        if entry.target == method.fuser:
            try:
                kind: type[Fuser] = catalogue.fusers.get(entry.name)
                return kind.bibtex()
            except FusionkitError:
                return ""
    return ""


def _misc(kind: str, name: str, reference: str) -> str:
    """An entry that quotes a reference; "" where it names no year."""
    years = _YEAR.findall(reference)
    if not years:
        return ""
    fields = {"title": name, "note": reference, "year": years[-1]}
    if (book := _BOOK.fullmatch(reference)) and kind == "data":
        authors = " and ".join(part.strip() for part in book["authors"].split(","))
        fields = {"author": authors, "title": book["title"], "note": f"{name}. {book['rest']}", "year": years[-1]}
    key = re.sub(r"[^a-z0-9]+", "-", f"{kind}-{name}".lower()).strip("-")
    return f"@misc{{{key},\n" + ",\n".join(f"  {field} = {{{escaped(text)}}}" for field, text in fields.items()) + "\n}"
