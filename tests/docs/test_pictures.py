"""The tool that puts a run's pictures into the page on training."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from fusionkit.plugins import catalogue
from tests.support.pages import DOCS

sys.path.insert(0, str(DOCS / "tools"))
pictures = pytest.importorskip("pictures")
samples = pytest.importorskip("samples")


def test_a_run_becomes_a_section_with_small_pictures_and_no_path_of_the_machine(
    short_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "images").mkdir()
    shutil.copy(DOCS / "training.md", tmp_path)
    monkeypatch.setattr(pictures, "DOCS", tmp_path)
    monkeypatch.setattr(pictures, "PAGE", tmp_path / "training.md")
    monkeypatch.setattr(sys, "argv", ["pictures.py", str(short_run)])
    pictures.main()
    text = (tmp_path / "training.md").read_text(encoding="utf-8")
    assert "## Medical image fusion" in text
    assert "fusionkit train refusion --task mif --data sample --preset quick --set trainer.epochs=1" in text
    assert str(short_run) not in text
    assert "](/" not in text
    made = sorted(file.name for file in (tmp_path / "images").iterdir())
    assert made == ["learning_mif_0.jpg", "learning_mif_1.jpg", "losses_mif.jpg"]
    assert all(name in text for name in made)
    assert all((tmp_path / "images" / name).stat().st_size < 150_000 for name in made)
    pictures.main()
    assert (tmp_path / "training.md").read_text(encoding="utf-8") == text


def test_a_run_that_is_not_done_is_refused(short_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(short_run, tmp_path / "run")
    (tmp_path / "run" / "model.safetensors").unlink()
    monkeypatch.setattr(sys, "argv", ["pictures.py", str(tmp_path / "run")])
    with pytest.raises(SystemExit, match="not finished"):
        pictures.main()


def test_a_picture_that_is_hard_to_compress_stays_small(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (400, 520, 3), dtype=np.uint8)
    pictures.write_jpeg(tmp_path / "noise.jpg", noise)
    assert (tmp_path / "noise.jpg").stat().st_size < 150_000
    assert cv2.imread(str(tmp_path / "noise.jpg")).shape == noise.shape


def test_the_home_picture_shows_both_sources_and_their_fusion(tmp_path: Path) -> None:
    drawn = samples.strip("mif", folder=tmp_path / "pairs")[20:-2]  # without labels and borders
    first, second, fused = np.split(drawn.astype(float), 3, axis=1)
    assert np.abs(first - second).mean() > 5
    # A fused image resembles each source more than the sources resemble each other.
    between = np.corrcoef(first.ravel(), second.ravel())[0, 1]
    assert np.corrcoef(fused.ravel(), first.ravel())[0, 1] > between
    assert np.corrcoef(fused.ravel(), second.ravel())[0, 1] > between


@pytest.mark.parametrize("page", ["classical", "rivals", "refusion", "tdfusion"])
def test_every_page_on_methods_shows_what_they_make(page: str) -> None:
    shown = re.findall(r"\(images/(\w+\.jpg)\)", (DOCS / f"{page}.md").read_text(encoding="utf-8"))
    assert shown
    assert all((DOCS / "images" / name).is_file() for name in shown)


def test_every_classical_method_is_in_a_picture(tmp_path: Path) -> None:
    methods = pytest.importorskip("methods")
    drawn = {name for task in methods.SHOWN for name in methods.methods(task)}
    every = {entry.name for entry in catalogue.fusers.entries() if entry.target.startswith("fusionkit_classical.")}
    assert drawn == every
    assert methods.sheet("mfif", tmp_path / "pairs").shape == (170, 900, 3)
