"""``fusionkit align`` and ``fuse --align``: files in, aligned files, transforms and refusals out."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from click.testing import CliRunner, Result

import fusionkit
from fusionkit.cli import align, main
from fusionkit.io.images import read_image
from fusionkit.plugins import catalogue
from tests.support.toyfusers import TOYS

PHOTOGRAPH = skimage.data.camera()


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(catalogue.fusers, "_registered", {})
    for name, kind in TOYS.items():
        catalogue.fusers.register(name, kind)
    monkeypatch.chdir(tmp_path)


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def write(path: str, pixels: np.ndarray) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(path, pixels)


def pair(folder: str = ".", name: str = "x", x: int = 9, y: int = -6) -> None:
    """The same view twice, ``a`` shifted and with bright and dark exchanged."""
    write(f"{folder}/b/{name}.png", PHOTOGRAPH[150:310, 120:330])
    write(f"{folder}/a/{name}.png", 255 - PHOTOGRAPH[150 - y : 310 - y, 120 - x : 330 - x])


def test_a_shifted_pair_is_fused_as_if_it_were_aligned() -> None:
    pair()
    args = ("fuse", "-m", "toy-mean", "-a", "a/x.png", "-b", "b/x.png", "--stretch", "none", "--device", "cpu")
    result = run(*args, "--align", "translation", "-o", "out.png")
    assert result.exit_code == 0, result.output
    fused = read_image("out.png").pixels[10:-10, 12:-12].astype(float)
    assert abs(np.median(fused) - 127.5) < 1
    assert np.abs(fused - 127.5).mean() < 1.5
    run(*args, "-o", "ghosts.png")
    ghosts = read_image("ghosts.png").pixels[10:-10, 12:-12].astype(float)
    assert np.abs(ghosts - 127.5).mean() > 10


def test_a_transform_that_was_found_once_is_given_again() -> None:
    pair()
    result = run("align", "-a", "a/x.png", "-b", "b/x.png", "-o", "aligned", "--kind", "translation")
    assert (result.exit_code, result.stdout) == (0, "aligned\n")
    assert sorted(str(file) for file in Path("aligned").rglob("*.*")) == [
        "aligned/a/x.png",
        "aligned/b/x.png",
        "aligned/transforms.json",
    ]
    record = json.loads(Path("aligned/transforms.json").read_text())
    np.testing.assert_allclose(record["transforms"][0], [[1, 0, 9], [0, 1, -6], [0, 0, 1]], atol=0.1)
    assert record["transforms"][1] is None
    np.testing.assert_array_equal(read_image("aligned/b/x.png").pixels, read_image("b/x.png").pixels)
    args = ("fuse", "-m", "toy-mean", "--stretch", "none", "--device", "cpu")
    assert run(*args, "aligned/a/x.png", "aligned/b/x.png", "-o", "1.png").exit_code == 0
    given = ("--transform", "aligned/transforms.json")
    assert run(*args, "a/x.png", "b/x.png", *given, "-o", "2.png").exit_code == 0
    difference = read_image("1.png").pixels.astype(int) - read_image("2.png").pixels
    assert np.abs(difference).max() <= 1


def test_a_folder_of_one_rig_shares_a_transform_and_the_record_has_it() -> None:
    pair(name="1")
    pair(name="2")
    write("a/2.png", np.full((160, 210), 90, np.uint8))
    args = ("fuse", "-m", "toy-mean", "-a", "a", "-b", "b", "--device", "cpu", "--align", "translation")
    alone = run(*args, "-o", "pairs")
    assert alone.exit_code == 4
    assert "problem: 2: a/2.png: cannot be aligned with b/2.png: the confidence is 0.00" in alone.stderr
    assert not Path("pairs").exists()
    result = run(*args, "-o", "out", "--align-scope", "folder")
    assert result.exit_code == 0, result.output
    record = json.loads(Path("out/fusion.json").read_text())["align"]
    assert (record["kind"], record["reference"], record["scope"]) == ("translation", 1, "folder")
    assert record["transforms"]["1.png"] == record["transforms"]["2.png"]
    np.testing.assert_allclose(np.array(record["transforms"]["1.png"][0]["matrix"])[:2, 2], [9, -6], atol=0.2)


def test_the_report_says_how_far_pairs_are_off_and_writes_nothing() -> None:
    pair()
    before = sorted(Path().rglob("*"))
    result = run("align", "-a", "a", "-b", "b", "--report", "--kind", "translation")
    assert result.exit_code == 0
    assert result.stdout.startswith("x: source 1 is off by 10.8 pixels (centre +9.0, -6.0), confidence")
    assert "off by 3 pixels or more" in result.stderr
    assert sorted(Path().rglob("*")) == before


def test_a_shift_that_nobody_corrects_is_noted() -> None:
    pair(x=12, y=0)
    args = ("fuse", "-m", "toy-mean", "a/x.png", "b/x.png", "--device", "cpu")
    noted = run(*args, "-o", "1.png")
    assert "a/x.png seems to be shifted against b/x.png by about (12, 0) pixels: --align auto" in noted.stderr
    assert run(*args, "-o", "2.png", "--align", "none").stderr == ""
    assert run(*args[:3], "b/x.png", "b/x.png", "--device", "cpu", "-o", "3.png").stderr == ""
    folders = run("fuse", "-m", "toy-mean", "-a", "a", "-b", "b", "--device", "cpu", "-o", "out")
    assert "shifted" in folders.stderr


def test_sources_of_another_size_are_resized_where_that_is_asked_for() -> None:
    pair(x=0, y=0)
    small = cv2.resize(cv2.imread("b/x.png", 0), (105, 80), interpolation=cv2.INTER_AREA)
    write("small.png", small)
    args = ("fuse", "-m", "toy-mean", "small.png", "b/x.png", "--stretch", "none", "--device", "cpu", "-o", "1.png")
    refused = run(*args)
    assert refused.exit_code == 4
    assert "--align or --resize" in refused.stderr
    assert run(*args, "--resize").exit_code == 0
    wanted = cv2.imread("b/x.png", 0).astype(float)
    # The mean of the image and its copy in half the size lies near the image, and not shifted against it.
    for y, x in ((0, 1), (1, 0)):
        errors = [
            np.abs(read_image("1.png").pixels[..., 0] - np.roll(wanted, (k * y, k * x), (0, 1))).mean()
            for k in (-1, 0, 1)
        ]
        assert errors[1] < 0.7 * min(errors[0], errors[2])
    write("wide.png", small[:40])
    assert "would distort it" in run("fuse", "-m", "toy-mean", "wide.png", "b/x.png", "-o", "2.png", "--resize").stderr
    assert "leave one out" in run(*args[:-1], "3.png", "--resize", "--align", "auto").stderr


def test_python_aligns_as_the_command_does() -> None:
    pair()
    args = ("fuse", "-m", "toy-mean", "a/x.png", "b/x.png", "--device", "cpu", "--align", "translation", "-o", "1.png")
    assert run(*args).exit_code == 0
    fused = fusionkit.load("toy-mean", device="cpu").fuse("a/x.png", "b/x.png", align="translation")
    np.testing.assert_array_equal(fused.image.pixels, read_image("1.png").pixels)


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("align", "-a", "a", "-b", "b"), 2, "-o, or --report"),
        (("align", "-a", "a", "-b", "b", "-o", "a"), 2, "is a folder of sources"),
        (("align", "-a", "a", "-b", "b", "-o", "new", "--reference", "B"), 2, "--reference B"),
        (("align", "-a", "a", "-b", "b", "-o", "new", "--reference", "c"), 2, "source 3 of 2"),
        (("fuse", "-m", "toy-mean", "a", "b", "-o", "new", "--transform", "none.json"), 4, "none.json: cannot be read"),
        (("fuse", "-m", "toy-mean", "a", "b", "-o", "new", "--transform", "flat.json"), 4, "flat.json: is no file of"),
        (("fuse", "-m", "toy-mean", "a", "b", "-o", "new", "--align", "auto", "--reference", "3"), 2, "2 sources"),
        (("fuse", "-m", "toy-mean", "a/x.png", "b/x.png", "-o", "x.png", "--align", "curved"), 2, "--align"),
    ],
)
def test_what_cannot_be_done_is_one_line(args: tuple[str, ...], code: int, words: str) -> None:
    pair()
    Path("flat.json").write_text(json.dumps({"reference": 1, "transforms": [[[1, 0], [0, 1]], None]}))
    result = run(*args)
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert not Path("new").exists()


def test_a_file_is_no_folder_to_write_to(tmp_path: Path) -> None:
    pair()
    write("taken.png", PHOTOGRAPH)
    before = (tmp_path / "taken.png").read_bytes()
    result = run("align", "-a", "a/x.png", "-b", "b/x.png", "-o", "taken.png")
    assert result.exit_code == 2
    assert "taken.png' is a file" in result.stderr
    assert (tmp_path / "taken.png").read_bytes() == before


def test_of_two_processes_at_once_one_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair()
    args = ("align", "-a", "a/x.png", "-b", "b/x.png", "-o", "out")
    new_folder, other = align._new_folder, []

    def late(out: Path) -> AbstractContextManager[None]:
        monkeypatch.setattr(align, "_new_folder", new_folder)
        other.append(run(*args, "--kind", "translation"))  # the other process, between the plan and the first file
        return new_folder(out)

    monkeypatch.setattr(align, "_new_folder", late)
    result = run(*args, "--kind", "affine")
    assert other[0].exit_code == 0
    assert result.exit_code == 2
    assert "out: is not empty; name another place" in result.stderr


def test_a_pair_that_cannot_be_aligned_leaves_the_folder_free(tmp_path: Path) -> None:
    write("a/x.png", np.full((64, 64), 9, np.uint8))
    write("b/x.png", np.full((64, 64), 9, np.uint8))
    for _ in range(2):
        result = run("align", "-a", "a/x.png", "-b", "b/x.png", "-o", "out")
        assert result.exit_code == 4
        assert "none of 1 scenes can be aligned" in result.stderr
    assert not (tmp_path / "out").exists()
