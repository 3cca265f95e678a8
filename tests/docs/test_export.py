"""The program of the page on export, run as a reader runs it, beside ``fusionkit fuse``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from fusionkit.cli import main
from fusionkit.contracts import Fuser
from fusionkit.data.sample import sample_pairs
from fusionkit.models.weights import WeightsInfo, save_fuser
from fusionkit.plugins import catalogue
from tests.support.pages import DOCS, blocks

pytest.importorskip("onnxruntime", reason="needs the extra 'export'")


def test_the_program_of_the_page_fuses_as_fusionkit_does(tmp_path: Path) -> None:
    kind = catalogue.fusers.get("refusion")
    fuser: Fuser = kind(kind.Config(dim=4, heads=2, blocks=1))
    weights, model = tmp_path / "small.safetensors", tmp_path / "fuser.onnx"
    save_fuser(weights, fuser, WeightsInfo(fuser="refusion", task="ivif"))
    result = CliRunner().invoke(main, ["export", str(weights), "-o", str(model), "--size", "256x256"])
    assert result.exit_code == 0, result.output
    infrared, visible = map(str, sample_pairs(catalogue.tasks.get("ivif"), tmp_path / "pairs").split("test")[0].files)

    (program,) = blocks(DOCS / "export.md", "py")
    assert len(program.text.splitlines()) <= 40
    script, got, wanted = tmp_path / "example.py", tmp_path / "got.png", tmp_path / "wanted.png"
    script.write_text(program.text)
    subprocess.run([sys.executable, script, model, infrared, visible, got], check=True)
    arguments = ["fuse", "-m", str(weights), "-a", infrared, "-b", visible, "-o", str(wanted), "--gamut", "clip"]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    ours, theirs = (cv2.imread(str(file)).astype(np.int64) for file in (wanted, got))
    assert ours.std() > 5
    assert abs(ours - theirs).max() <= 1
