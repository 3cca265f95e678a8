"""The board of a bench: its tables on a page, in Markdown, CSV and JSON, written beside its records."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from fusionkit.bench.downstream.downstream_records import DownstreamRecord
from fusionkit.bench.paths import RESULTS
from fusionkit.bench.record_files import read_records, stored_records
from fusionkit.bench.records import Record
from fusionkit.bench.report.downstream_tables import DownstreamTable, downstream_tables
from fusionkit.bench.report.evidence import checked
from fusionkit.bench.report.formats import as_csv, as_downstream_csv, as_json, as_markdown
from fusionkit.bench.report.page import PageCopy, page_text
from fusionkit.bench.report.quality_tables import QualityTable, quality_tables
from fusionkit.bench.report.tables import Table
from fusionkit.errors import DataError, UsageError
from fusionkit.io.atomic import write_text

__all__ = ["BoardFiles", "load_downstream", "load_results", "tables_of", "write_board", "write_copy"]


@dataclass(frozen=True, kw_only=True)
class BoardFiles:
    """Files of a written board.

    Attributes:
        page: the page, to be opened in a browser.
        markdown: every table.
        csv: one line per method and metric.
        json: everything but the values of single images, which the records have.
    """

    page: Path
    markdown: Path
    csv: Path
    json: Path


def load_results(out: Path, *, task: str | None = None) -> tuple[QualityTable, ...]:
    """The quality tables of a bench, one per task, data set, split and profile.

    Args:
        out: the folder that the bench wrote to.
        task: only those of this task.

    Returns:
        The tables; none where the bench has downstream tables alone.

    Raises:
        fusionkit.errors.DataError: there is no bench in the folder, no record in it, or a damaged one.
        fusionkit.errors.UsageError: the bench has no such task.
    """
    if not (out / RESULTS).is_dir() and task is None and load_downstream(out):
        return ()
    records = read_records(out, task=task)
    if not records:
        raise DataError(f"{out}: holds no results of a bench yet: run 'fusionkit bench --out {out}'")
    return quality_tables(checked(out, records))


def load_downstream(out: Path) -> tuple[DownstreamTable, ...]:
    """The downstream tables of a bench, one per data set, network and protocol; none where it has no such results.

    Raises:
        fusionkit.errors.DataError: a record is damaged.
    """
    return downstream_tables(checked(out, stored_records(out, DownstreamRecord)))


def tables_of(records: Iterable[Record | DownstreamRecord]) -> tuple[Table, ...]:
    """The tables that records of either kind make."""
    found = tuple(records)
    quality = quality_tables(record for record in found if isinstance(record, Record))
    return *quality, *downstream_tables(record for record in found if isinstance(record, DownstreamRecord))


def write_board(
    out: Path,
    tables: tuple[QualityTable, ...] | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> BoardFiles:
    """Write a bench's board beside its records: ``index.html`` with previews, ``board.md``, ``.csv`` and ``.json``.

    Where there are downstream tables, they are on the page and in ``downstream.md``, ``.csv`` and ``.json``. What is
    there is brought up to date; previews of images that did not change stay.

    Args:
        out: the folder that the bench wrote to.
        tables: what :func:`load_results` gave for it, if it was called already.
        progress: called with the number of images whose previews are done, and of all.

    Raises:
        fusionkit.errors.DataError: as :func:`load_results`, or something cannot be written.
    """
    tables = load_results(out) if tables is None else tables
    files = BoardFiles(
        page=out / "index.html", markdown=out / "board.md", csv=out / "board.csv", json=out / "board.json"
    )
    _write_text_forms(files.markdown, files.csv, tables)
    write_text(files.json, as_json(tables))
    downstream = load_downstream(out)
    _write_downstream(out, downstream)
    write_text(files.page, page_text(out, tables, downstream, progress=progress))
    return files


def write_copy(
    out: Path, folder: Path, tables: tuple[QualityTable, ...] | None = None, *, pairs: int = 2, longest: int = 384
) -> Path:
    """Write a small copy of a bench's board, complete in itself, for a repository or a web site.

    It has the page, ``board.md``, ``board.csv`` and previews of some pairs, and leads to no file outside its folder.
    All values are on the page; predictions of downstream networks are not.

    Args:
        out: the folder that the bench wrote to.
        folder: where the copy is written; made if it is not there.
        tables: what :func:`load_results` gave for it, if it was called already.
        pairs: number of pairs of each data set whose images are copied, from the first.
        longest: longer side of these in pixels, at most.

    Returns:
        The page.

    Raises:
        fusionkit.errors.UsageError: the folder holds a bench.
        fusionkit.errors.DataError: as :func:`write_board`.
    """
    if (folder / RESULTS).exists() or folder.resolve() == out.resolve():
        raise UsageError(f"{folder}: holds a bench of its own: give a new folder for the copy of the board")
    tables = load_results(out) if tables is None else tables
    downstream = load_downstream(out)
    _write_text_forms(folder / "board.md", folder / "board.csv", tables)
    _write_downstream(folder, downstream)
    copy = PageCopy(folder=folder, pairs=pairs, longest=longest)
    write_text(folder / "index.html", page_text(out, tables, downstream, copy=copy))
    return folder / "index.html"


def _write_text_forms(markdown: Path, csv: Path, tables: tuple[QualityTable, ...]) -> None:
    write_text(markdown, as_markdown(tables, "Leaderboards"))
    write_text(csv, as_csv(tables))


def _write_downstream(folder: Path, tables: tuple[DownstreamTable, ...]) -> None:
    if tables:
        write_text(folder / "downstream.md", as_markdown(tables, "Downstream scores"))
        write_text(folder / "downstream.csv", as_downstream_csv(tables))
        write_text(folder / "downstream.json", as_json(tables))
