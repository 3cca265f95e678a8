"""The comparison of exposure fusions where something moves: scenes whose parts are known."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.moving import Scene, expose, main, psnr


def pair() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    light = cv2.GaussianBlur(rng.uniform(0.02, 0.9, (96, 128, 3)).astype(np.float32), (0, 0), 4)
    light = (light - light.min()) / (light.max() - light.min()) + 0.01
    return [np.rint(255 * np.clip(light * gain, 0, 1) ** (1 / 2.2)).astype(np.uint8) for gain in (0.3, 2.0)]


def test_things_that_stand_still_differ_from_the_moving_ones_in_the_other_exposures_alone() -> None:
    bracket = pair()
    scene = Scene(bracket, np.random.default_rng(1))
    moved, moving = scene.paste(None), scene.moving()
    for r in (0, 1):
        still = scene.paste(r)
        assert np.array_equal(still[r], moved[r])
        changed = (still[1 - r] != moved[1 - r]).any(2)
        assert changed.any()
        assert not changed[cv2.dilate(moving.astype(np.uint8), np.ones((7, 7))) == 0].any()


def test_a_bracket_that_is_made_goes_from_the_dark_exposure_to_the_bright_one() -> None:
    bracket = expose(pair(), 5, np.random.default_rng(0))
    means = [image.mean() for image in bracket]
    assert len(means) == 5
    assert means == sorted(means)
    assert psnr(bracket[0], pair()[0]) > 35


def test_one_command_prints_a_row_per_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, image in zip(("under", "over"), pair(), strict=True):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "one.png"), image)
    monkeypatch.setattr("shutil.which", lambda name: None)
    given = ["--data", str(tmp_path), "--exposures", "2", "--fuser", "average", "--keep", str(tmp_path / "kept")]
    monkeypatch.setattr(sys, "argv", ["moving", *given])
    main()
    shown = capsys.readouterr().out
    rows = {line.split(" | ")[0].strip("| "): line for line in shown.splitlines() if line.startswith("| ")}
    assert {"mertens-deghost", "mertens", "average"} <= set(rows)
    assert "static: " in shown
    assert (tmp_path / "kept" / "2-one" / "mertens-deghost.png").exists()
