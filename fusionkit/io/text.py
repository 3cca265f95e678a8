"""Text from outside, made safe to print: names of files, plugins and records can hold anything."""

from __future__ import annotations

import unicodedata

__all__ = ["as_csv_cell", "printable", "shortened"]

_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories of control and format characters, surrogates, line and paragraph separators."""

LONGEST = 200
"""Characters of one value that a message repeats."""


def printable(text: str) -> str:
    """Replace what could move a terminal's cursor or turn its text around: each such character becomes U+FFFD.

    Those are control characters (ESC, BEL, CR, ...), format characters such as right-to-left marks, lone surrogates
    (file names that are not UTF-8) and line separators.

    >>> printable("a\\x1b[31mb")
    'a\ufffd[31mb'
    """
    if text.isprintable():
        return text
    return "".join("\ufffd" if unicodedata.category(c) in _UNPRINTABLE else c for c in text)


def as_csv_cell(text: str) -> str:
    """Make a name printable, and put ``'`` before one that a spreadsheet would run as a formula.

    >>> as_csv_cell("=1+1")
    "'=1+1"
    """
    shown = printable(text)
    return f"'{shown}" if shown.startswith(("=", "+", "-", "@")) else shown


def counted(number: int, noun: str) -> str:
    """Write how many there are of something; the plural takes an ``s``.

    >>> counted(1, "image"), counted(2, "image")
    ('1 image', '2 images')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def shortened(text: str, longest: int = LONGEST) -> str:
    """Cut a text to at most ``longest`` characters and say how many there were.

    >>> shortened("x" * 500, 10)
    'xxxxxxxxxx... (500 characters)'
    """
    return text if len(text) <= longest else f"{text[:longest]}... ({len(text)} characters)"
