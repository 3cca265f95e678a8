"""Styles and scripts that the pages of fusionkit share."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources

__all__ = ["page_asset", "page_script"]


def page_asset(name: str, *, package: str = "fusionkit.bench") -> str:
    """Read a file of a page: of the board's, or of the page of another package."""
    return resources.files(package).joinpath("page").joinpath(name).read_text(encoding="utf-8")


def page_script(parts: Iterable[str]) -> str:
    """Join scripts into one that leaves no names behind."""
    return "(() => {\n'use strict';\n" + "\n".join(parts) + "\n})();\n"
