"""The Python of the pages runs, each page's blocks in order in one namespace, on the built-in sample."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusionkit.data.sample import sample_pairs
from fusionkit.plugins import catalogue
from tests.support.pages import PAGES, ROOT, blocks


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the sample pairs, as the pages' first command leaves it."""
    monkeypatch.chdir(tmp_path)
    sample_pairs(catalogue.tasks.get("mif"), tmp_path / "pairs")
    return tmp_path


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.stem)
def test_the_python_of_a_page_runs(page: Path, workplace: Path) -> None:
    # dataclasses look their module up by name, and annotations in it.
    namespace: dict[str, object] = {"__name__": "__main__"}
    try:
        for block in blocks(page, "python"):
            # Tracebacks then give the line in the page.
            exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), namespace)
    finally:
        catalogue.fusers._registered.pop("midrange", None)


def test_the_readme_shows_the_call_of_the_quickstart() -> None:
    (shown,) = blocks(ROOT / "README.md", "python")
    for line in ("import fusionkit", 'fusionkit.load("laplacian")', '.save("fused.png")'):
        assert line in shown.text
