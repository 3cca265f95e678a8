"""The tables that the paper prints, as data."""

from __future__ import annotations

from importlib.resources import files

from fusionkit.plugins.declarations import PublishedPaper

__all__ = ["PAPER"]

PAPER = PublishedPaper.read(files(__package__) / "paper_tables.toml")
