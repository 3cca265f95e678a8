"""Convert the Sphinx roles of docstrings to Markdown for the pages."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import griffe

_ROLE = re.compile(r":(?:func|class|meth|mod|attr|data|ref):`~?([^`]+)`")
_FORMULA = re.compile(
    r"^(?P<indent> *)\.\. math:: ?(?P<first>.*)\n(?P<rest>(?:(?P=indent) +\S.*\n?|\n)*)", re.MULTILINE
)
_CODE = re.compile(r"^(?P<before>.*\S)::\n(?=\n)", re.MULTILINE)


def as_markdown(text: str) -> str:
    """Convert roles to code, ``.. math::`` and ``:math:`` to formulas, ``::`` to a colon before an indented block."""

    def formula(match: re.Match[str]) -> str:
        tex = " ".join(f"{match['first']} {textwrap.dedent(match['rest'])}".split())
        return f"{match['indent']}$$\n{match['indent']}{tex}\n{match['indent']}$$\n\n"

    text = _FORMULA.sub(formula, text + "\n").rstrip()
    text = re.sub(r":math:`([^`]+)`", r"$\1$", text)
    text = _ROLE.sub(r"`\1`", text)
    return _CODE.sub(r"\g<before>:\n", text)


class PlainMarkup(griffe.Extension):
    """Griffe extension that converts every docstring as it is read."""

    def on_object(self, *, obj: griffe.Object, **_rest: Any) -> None:
        """Convert the docstring of a module, class, function or attribute; called by Griffe."""
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)
