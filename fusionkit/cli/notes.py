"""Prints the library's notes, such as a loss of bits or a superseded model, as lines of their own."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import click

from fusionkit.errors import FusionNote, RenamedOption

__all__ = ["notes_printed"]

NOTES = (FusionNote, RenamedOption)
"""The kinds of warnings that are meant for the user of a command."""


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
                click.echo(f"note: {line}", err=True)

        warnings.showwarning = show  # type: ignore[assignment]
        yield
