"""The tables that stand in the pages are those that the code gives today."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path

import pytest

from fusionkit.plugins import catalogue
from fusionkit.train.bilevel import BilevelOptions
from tests.support.pages import DOCS, PAGES, ROOT

sys.path.insert(0, str(DOCS / "tools"))
tables = pytest.importorskip("tables")


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.stem)
def test_the_tables_of_a_page_are_fresh(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert tables.renewed(text) == text, "run: python docs/tools/tables.py"


def test_every_data_set_and_every_classical_fuser_has_a_row() -> None:
    data = (DOCS / "data.md").read_text(encoding="utf-8")
    assert all(f"| [{name}](" in data for name in catalogue.datasets.names())
    classical = (DOCS / "classical.md").read_text(encoding="utf-8")
    own = [name for name in catalogue.fusers.names() if catalogue.fusers.entry(name).target.startswith("fusionkit_cl")]
    assert own
    assert all(f"\n### {name}\n" in classical for name in own)


def options(config: object, prefix: str = "") -> list[str]:
    """Names of all options of a configuration, nested ones included."""
    found: list[str] = []
    for field in dataclasses.fields(config):  # type: ignore[arg-type]
        value = getattr(config, field.name)
        inner = options(value, f"{prefix}{field.name}.") if dataclasses.is_dataclass(value) else []
        found += inner or [prefix + field.name]
    return found


def test_every_option_of_refusion_is_described() -> None:
    text = (DOCS / "refusion.md").read_text(encoding="utf-8")
    missing = [name for name in options(catalogue.trainers.get("refusion").Config()) if f"`{name}`" not in text]
    assert not missing


def test_a_docstring_is_read_with_its_continued_lines() -> None:
    said = tables.attributes(BilevelOptions.__doc__)
    assert set(said) == {field.name for field in dataclasses.fields(BilevelOptions)}
    assert any("\n" not in text and len(text) > 120 for text in said.values())
    assert "``" not in "".join(said.values())


def test_a_stale_table_is_noticed() -> None:
    page = DOCS / "runs.md"
    text = re.sub(r"\| 2 \|.*\n", "", page.read_text(encoding="utf-8"))
    assert tables.renewed(text) != text
