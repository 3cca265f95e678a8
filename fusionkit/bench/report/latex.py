"""Tables as LaTeX, for papers: booktabs, the best value in bold and the second-best underlined."""

from __future__ import annotations

from collections.abc import Sequence

from fusionkit.bench.report.formats import seen_notes
from fusionkit.bench.report.tables import Column, Row, Table, format_value
from fusionkit.io.text import printable

__all__ = ["as_latex", "escaped"]

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\u2021": r"$\ddagger$",
    "\u2191": r"$\uparrow$",
    "\u2193": r"$\downarrow$",
    "\u00b1": r"$\pm$",
    "\u00b5": r"\textmu{}",
    "\ufffd": "?",
}


def escaped(text: str) -> str:
    """Escape a text so that LaTeX prints it as it is; control characters become ``?``.

    >>> print(escaped("a_b & 50%"))
    a\\_b \\& 50\\%
    """
    return "".join(_SPECIAL.get(character, character) for character in printable(text))


def as_latex(tables: Sequence[Table], *, intervals: bool = False) -> str:
    """Tables of scores as LaTeX, each a ``table`` with a ``tabular``; the preamble needs ``\\usepackage{booktabs}``.

    Scores that are left out where room is scarce are left out, and so are published rows. A row that departs from the
    table's protocol has a dagger, and the departure stands below the table.

    Args:
        tables: what to write.
        intervals: add half of the interval, or the deviation over seeds, to each value.
    """
    return "\n".join(_table(table, intervals) for table in tables)


def _table(table: Table, intervals: bool) -> str:
    columns = [column for column in table.scores if not column.extra]
    cells = [_cells(table, column, intervals) for column in columns]
    rows = [
        f"{escaped(row.method)}{_mark(row)} & {' & '.join(values)} \\\\"
        for row, values in zip(table.rows, zip(*cells, strict=True), strict=True)
    ]
    heads = " & ".join(escaped(column.heading) for column in columns)
    notes = [
        f"$^{{\\dagger}}$ {escaped(row.method)}: {escaped('; '.join(row.marks))}." for row in table.rows if row.marks
    ]
    notes += [f"{escaped(note)}." for note in (*table.notes, *seen_notes(table))]
    below = [r"\par\smallskip\footnotesize\raggedright " + r"\\ ".join(notes)] if notes else []
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escaped(table.heading)}. Best in bold, second-best underlined.}}",
        rf"\begin{{tabular}}{{l{'r' * len(columns)}}}",
        r"\toprule",
        rf"Method & {heads} \\",
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
        *below,
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _mark(row: Row) -> str:
    marks = (r"\dagger" * bool(row.marks), {"trained on": r"\ddagger", "unknown": "?", "": ""}[row.seen])
    shown = " ".join(mark for mark in marks if mark)
    return f"$^{{{shown}}}$" if shown else ""


def _cells(table: Table, column: Column, intervals: bool) -> list[str]:
    shown = []
    for row, place in zip(table.rows, table.placed(column.key), strict=True):
        cell = row.cells.get(column.key)
        if cell is None or cell.mean is None:
            shown.append("--")
            continue
        value = format_value(cell.mean, column)
        text = rf"\textbf{{{value}}}" if place == 1 else rf"\underline{{{value}}}" if place == 2 else value
        if intervals and cell.half_width is not None:
            text += rf" {{\scriptsize $\pm$ {format_value(cell.half_width, column)}}}"
        shown.append(text)
    return shown
