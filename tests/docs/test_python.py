"""Run the Python of the pages on the built-in sample, the blocks of a page in order in one namespace."""

from __future__ import annotations

from pathlib import Path

import cv2
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
            exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec", dont_inherit=True), namespace)
    finally:
        catalogue.fusers._registered.pop("midrange", None)


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shown,) = blocks(ROOT / "README.md", "python")
    pair = sample_pairs(catalogue.tasks.get("ivif"), tmp_path / "pairs").split("test")[0]
    for file, name in zip(pair.files, ("ir.png", "visible.png"), strict=True):
        (tmp_path / name).symlink_to(file)
    monkeypatch.chdir(tmp_path)
    exec(shown.text, {})
    fused, visible = (cv2.imread(str(tmp_path / name)) for name in ("fused.png", "visible.png"))
    assert fused.shape == visible.shape
    assert not (fused == visible).all()
