"""The notebooks run from their first cell to their last, as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.pages import DOCS

nbformat = pytest.importorskip("nbformat", reason="needs nbformat")
nbclient = pytest.importorskip("nbclient", reason="needs nbclient")
pytest.importorskip("ipykernel", reason="needs ipykernel")

NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
SAID = {
    "compare_methods": ("refusion", r"\toprule", "(256, 256"),
    "score_my_results": ("profile refusion, 3 images", "image,profile,EN,Qabf", r"\toprule"),
    "train_on_my_pairs": ("my-run", "meta.", "refusion-mif.png"),
    "write_a_method": ("sharper-pixel", "PSNR-truth"),
}
"""Parts of what a notebook prints."""


def printed(notebook: Any) -> str:
    """Everything that the cells of a notebook put out."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs]
    return "\n".join(texts)


def test_every_notebook_is_tested_and_linked() -> None:
    assert {path.stem for path in NOTEBOOKS} == set(SAID)
    page = (DOCS / "notebooks.md").read_text(encoding="utf-8")
    for path in NOTEBOOKS:
        assert f"(notebooks/{path.name})" in page


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_prints_what_it_is_for(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(path, as_version=4)
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code")
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3", resources=resources).execute()
    text = printed(notebook)
    for part in SAID[path.stem]:
        assert part in text, text[-3000:]


def test_a_cell_that_fails_is_noticed(tmp_path: Path) -> None:
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("raise ValueError('a fault')")])
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="a fault"):
        nbclient.NotebookClient(book, timeout=60, kernel_name="python3").execute()
    assert json.loads(nbformat.writes(book))["nbformat"] == 4
