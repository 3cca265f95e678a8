"""The comparison of exposure fusions: what counts as lost, and that every row is of the images of its method."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.exposure import lost, main


def test_detail_is_lost_only_where_a_source_has_it() -> None:
    dark, bright = np.array([[10, 210, 240, 0]], np.uint8), np.array([[100, 255, 255, 20]], np.uint8)
    assert lost(np.array([[50, 230, 250, 3]], np.uint8), (dark, bright)) == (0, 0)
    assert lost(np.array([[0, 255, 255, 0]], np.uint8), (dark, bright)) == (0.25, 0.25)


def test_one_command_scores_fusers_and_other_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ramp = np.tile(np.linspace(0, 255, 64), (48, 1)) + np.random.default_rng(0).normal(0, 8, (48, 64))
    for folder, gain in (("under", 0.5), ("over", 2.0)):
        (tmp_path / "pairs" / folder).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "pairs" / folder / "one.png"), np.clip(gain * ramp, 0, 255).astype(np.uint8))
    given = ["--data", str(tmp_path / "pairs"), "--out", str(tmp_path / "out"), "--fuser", "average"]
    monkeypatch.setattr(sys, "argv", ["exposure", *given])
    main()
    rows = {line.split(" | ")[0].strip("| "): line for line in capsys.readouterr().out.splitlines()}
    assert {"average", "opencv-mertens"} <= set(rows)
    washed = float(rows["average"].split("|")[-3])
    under, over = (np.clip(gain * ramp, 0, 255).astype(np.uint8) for gain in (0.5, 2.0))
    mean = np.rint(under / 2 + over / 2)
    assert washed == pytest.approx(100 * ((mean >= 250) & (under < 220)).mean(), abs=0.01)
    assert rows["average"] != rows["opencv-mertens"].replace("opencv-mertens", "average")
