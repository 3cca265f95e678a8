"""Unpacking radiometric photographs: pairs that lie on each other by what the file states, float degrees Celsius."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result

from fusionkit.cli import main
from fusionkit.io.images import read_image
from tests.support.radiometric import Air, celsius_of, write_flir

pytest.importorskip("flyr")
# A scene of 320x240 of which the sensor sees the middle half, a little to the right and up, in 80x60 pixels.
Y, X = np.mgrid[:240, :320].astype(np.float32)
SCENE = 0.5 + 0.25 * np.sin(X / 14) + 0.25 * np.cos(Y / 11 + X / 60)
PHOTOGRAPH = np.repeat((SCENE * 255).astype(np.uint8)[..., None], 3, 2)
LEFT, TOP = 90, 54
RAW = (
    13000 + 4000 * cv2.resize(SCENE[TOP : TOP + 120, LEFT : LEFT + 160], (80, 60), interpolation=cv2.INTER_AREA)
).astype(np.uint16)
OFFSET = (2.0, LEFT + 80 - 160, TOP + 60 - 120)


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments])


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    write_flir(folder / "one.jpg", RAW, photograph=PHOTOGRAPH, offset=OFFSET)
    cv2.imwrite(str(folder / "other.jpg"), PHOTOGRAPH)
    return folder


def test_unpacked_pairs_lie_on_each_other(photos: Path, tmp_path: Path) -> None:
    result = _run("data", "unpack", photos, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == f"{tmp_path / 'out'}: 1 pair"
    celsius = tifffile.imread(tmp_path / "out" / "ir" / "one.tif")
    visible = read_image(tmp_path / "out" / "vi" / "one.png").pixels
    assert celsius.dtype == np.float32
    assert celsius.shape == visible.shape[:2] == (120, 160)
    assert np.array_equal(visible, PHOTOGRAPH[TOP : TOP + 120, LEFT : LEFT + 160])
    # The raw values are a known function of the scene: at the photograph's pixels they must give its temperatures.
    known = celsius_of((13000 + 4000 * SCENE)[TOP : TOP + 120, LEFT : LEFT + 160], Air())
    inner = np.s_[4:-4, 4:-4]
    assert np.abs(celsius - known)[inner].max() < 0.02 * np.ptp(known)
    record = json.loads((tmp_path / "out" / "unpacked.json").read_text())
    assert record["files"]["one"]["cut"] == [LEFT, TOP, LEFT + 160, TOP + 120]
    assert record["files"]["one"]["celsius"] == pytest.approx([celsius.min(), celsius.max()])


def test_unpacked_pairs_fuse(photos: Path, tmp_path: Path) -> None:
    assert _run("data", "unpack", photos, "-o", tmp_path / "out").exit_code == 0
    sources = ("-a", tmp_path / "out" / "ir", "-b", tmp_path / "out" / "vi")
    result = _run("fuse", "--task", "ivif", "-m", "average", *sources, "-o", tmp_path / "fused")
    assert result.exit_code == 0, result.output
    assert read_image(tmp_path / "fused" / "one.png").size == "160x120"


def test_both_pictures_of_one_file_are_sources_of_fuse(photos: Path, tmp_path: Path) -> None:
    write_flir(tmp_path / "same.jpg", RAW, photograph=cv2.resize(PHOTOGRAPH, (80, 60)))
    sources = ("-a", f"{tmp_path / 'same.jpg'}[thermal]", "-b", f"{tmp_path / 'same.jpg'}[visible]")
    result = _run("fuse", "--task", "ivif", "-m", "maximum", *sources, "-o", tmp_path / "fused.png")
    assert result.exit_code == 0, result.output
    assert "are scaled to 0..1" in result.stderr
    assert read_image(tmp_path / "fused.png").size == "80x60"


def test_as_stored_keeps_sizes(photos: Path, tmp_path: Path) -> None:
    assert _run("data", "unpack", photos / "one.jpg", "-o", tmp_path / "out", "--as-stored").exit_code == 0
    assert tifffile.imread(tmp_path / "out" / "ir" / "one.tif").shape == (60, 80)
    assert np.array_equal(read_image(tmp_path / "out" / "vi" / "one.png").pixels, PHOTOGRAPH)


def test_what_cannot_be_unpacked_is_named(photos: Path, tmp_path: Path) -> None:
    write_flir(photos / "two.jpg", RAW, photograph=PHOTOGRAPH)
    write_flir(photos / "three.jpg", RAW, photograph=PHOTOGRAPH, offset=(2.0, 3000, 0))
    write_flir(photos / "four.jpg", RAW)
    result = _run("data", "unpack", photos, "-o", tmp_path / "out")
    assert result.exit_code == 0
    assert "skipped: two.jpg: does not say where the photograph lies" in result.stderr
    assert "skipped: three.jpg: photograph and temperatures do not overlap" in result.stderr
    assert "skipped: four.jpg: holds no visible photograph" in result.stderr
    (photos / "one.jpg").unlink()
    result = _run("data", "unpack", photos, "-o", tmp_path / "none")
    assert result.exit_code == 4
    assert result.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "photos"]


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("photos/other.jpg", "holds no radiometric JPEG of FLIR"),
        ("empty", "holds no radiometric JPEG of FLIR"),
        ("absent", "no such folder of radiometric JPEG; for a data set write NAME:DIR"),
    ],
)
def test_bad_places_are_one_line(photos: Path, tmp_path: Path, spec: str, says: str) -> None:
    (tmp_path / "empty").mkdir()
    result = _run("data", "unpack", tmp_path / spec, "-o", tmp_path / "out")
    assert result.exit_code in (2, 4)
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
