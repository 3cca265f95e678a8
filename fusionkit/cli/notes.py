"""Output of a command: results on stdout, notes and problems on stderr, with nothing that moves a cursor."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import click

from fusionkit.errors import FusionNote, RenamedOption
from fusionkit.io.text import printable

__all__ = ["answer", "notes_printed", "say"]

NOTES = (FusionNote, RenamedOption)
"""The kinds of warnings that are meant for the user of a command."""


def say(line: str) -> None:
    """Print a note, a problem or what was done on stderr. Names in it can hold anything."""
    click.echo(printable(line), err=True)


def answer(text: object) -> None:
    """Print a result on stdout: as it is for another program, and without control characters on a terminal."""
    lines = str(text).split("\n")
    click.echo("\n".join(map(printable, lines) if sys.stdout.isatty() else lines), color=True)


@contextmanager
def notes_printed() -> Iterator[None]:
    """Print each of :data:`NOTES` once, as a line on stderr; leave other warnings as they are."""
    printed: set[str] = set()
    with warnings.catch_warnings():
        for kind in NOTES:
            warnings.simplefilter("always", kind)
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *rest: object) -> None:
            line = " ".join(str(message).split())
            if not issubclass(category, NOTES):
                usual(message, category, *rest)  # type: ignore[arg-type]
            elif line not in printed:
                printed.add(line)
                say(f"note: {line}")

        warnings.showwarning = show  # type: ignore[assignment]
        yield
