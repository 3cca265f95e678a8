"""Maps beside results: the weights rebuild the image, the depth is the true one, and a model without any says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from fusionkit.cli import main

SIZE = (120, 160)


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def _pixels(file: Path) -> Any:
    return cv2.imread(str(file), cv2.IMREAD_UNCHANGED)


@pytest.fixture(scope="module")
def tilted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six frames of a textured plane that is tilted: frame k is sharp in its sixth of the columns."""
    folder = tmp_path_factory.mktemp("tilted")
    sharp = np.random.default_rng(0).integers(0, 256, SIZE, dtype=np.uint8)
    sharp = cv2.GaussianBlur(sharp, (0, 0), 0.7)
    blurred = [sharp, *(cv2.GaussianBlur(sharp, (0, 0), s) for s in (1, 1.5, 2, 2.5, 3))]
    band = np.minimum(np.arange(SIZE[1]) * 6 // SIZE[1], 5)
    for k in range(6):
        frame = np.stack([blurred[abs(k - b)][:, x] for x, b in enumerate(band)], 1)
        Image.fromarray(frame).save(folder / f"{k}.png")
    np.save(folder / "band.npy", band)
    return folder


def _frames(folder: Path) -> list[Path]:
    return sorted(folder.glob("?.png"))


def test_the_depth_of_a_tilted_plane_is_within_a_frame(tilted: Path, tmp_path: Path) -> None:
    done = _run("fuse", "-m", "focus-select", *_frames(tilted), "-o", tmp_path / "f.png", "--spacing", "2.5")
    assert done.exit_code == 0, done.output
    depth = _pixels(tmp_path / "f.depth.tif")
    assert depth.dtype == np.float32
    truth = 2.5 * np.load(tilted / "band.npy")
    assert (abs(depth - truth) <= 2.5).mean() >= 0.95
    assert _pixels(tmp_path / "f.depth.png").shape == (*SIZE, 3)


def test_the_weights_rebuild_the_result(tilted: Path, tmp_path: Path) -> None:
    frames = _frames(tilted)
    assert _run("fuse", "-m", "focus-select", *frames, "-o", tmp_path / "f.png", "--maps").exit_code == 0
    weights = np.stack([_pixels(tmp_path / f"f.w_{name}.png").astype(float) / 255 for name in "abcdef"])
    sources = np.stack([_pixels(frame).astype(float) for frame in frames])
    # Weights are rounded to 8 bits, six of them.
    assert abs((weights * sources).sum(0) - _pixels(tmp_path / "f.png")).max() <= 4
    assert not (tmp_path / "f.depth.tif").exists()


def test_maps_of_a_folder_have_a_folder(tilted: Path, tmp_path: Path) -> None:
    for side, frame in {"a": 0, "b": 5}.items():
        (tmp_path / side).mkdir()
        (tmp_path / side / "1.png").write_bytes((tilted / f"{frame}.png").read_bytes())
    options = ("fuse", "-m", "gff", "-a", tmp_path / "a", "-b", tmp_path / "b", "-o", tmp_path / "out", "--maps")
    assert _run(*options).exit_code == 0
    assert [file.name for file in (tmp_path / "out").iterdir() if file.is_file() and file.suffix == ".png"] == ["1.png"]
    made = sorted((tmp_path / "out" / "maps").iterdir())
    assert made
    assert all(file.name.startswith("1.") and _pixels(file).shape == SIZE for file in made)
    assert _run(*options, "--force").exit_code == 0


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("-m", "average", "--maps"), "computes no weight of each source at each pixel"),
        (("-m", "gff", "--spacing", "1"), "does not choose one frame per pixel, so there is no depth"),
        (("-m", "focus-select", "--spacing", "0"), "--spacing"),
    ],
)
def test_what_cannot_be_mapped_is_refused_before_work(
    tilted: Path, tmp_path: Path, options: tuple[str, ...], what: str
) -> None:
    a, b = _frames(tilted)[:2]
    done = _run("fuse", *options, "-a", a, "-b", b, "-o", tmp_path / "f.png")
    assert done.exit_code == 2
    assert what in done.output
    assert not list(tmp_path.iterdir())


def test_maps_that_are_there_are_kept(tilted: Path, tmp_path: Path) -> None:
    a, b = _frames(tilted)[:2]
    (tmp_path / "f.w_a.png").write_text("mine")
    options = ("fuse", "-m", "focus-select", "-a", a, "-b", b, "-o", tmp_path / "f.png", "--maps")
    done = _run(*options)
    assert done.exit_code == 2
    assert "f.w_a.png: is there already" in done.output
    assert [file.name for file in tmp_path.iterdir()] == ["f.w_a.png"]
    assert _run(*options, "--force").exit_code == 0
