"""``fusionkit score`` and ``fusionkit metrics``: output for people and programs, one line for every mistake."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from fusionkit.cli import main
from fusionkit.metrics import score_files
from tests.support.metric_scenes import arrays, scene


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    places = {role: tmp_path / role for role in ("f", "a", "b", "t")}
    for place in places.values():
        place.mkdir()
    for seed in (1, 2, 3):
        fused, a, b = arrays(*scene(44, 48, seed=seed))
        for role, image in (("f", fused), ("a", a), ("b", b), ("t", a)):
            suffix = "bmp" if role == "b" else "png"
            cv2.imwrite(str(places[role] / f"{seed:02}.{suffix}"), image.astype(np.uint8))
    return places


def test_one_image_gives_a_line_a_metric(folders: dict[str, Path]) -> None:
    files = [folders["f"] / "01.png", folders["a"] / "01.png", folders["b"] / "01.bmp"]
    result = run(
        "score", "-f", files[0], "-a", files[1], "-b", files[2], "-m", "en,SSIM", "-m", "vifp", "-p", "cddfuse"
    )
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "profile cddfuse, 1 image"
    expected = score_files(*files, metrics=["SSIM"], profile="cddfuse")["SSIM"].item()
    assert [line.split()[:2] for line in lines[2:]][1] == ["SSIM", f"{expected:.6g}"]
    assert [line.split()[0] for line in lines[2:]] == ["EN", "SSIM", "VIFp"]


def test_folders_are_matched_by_stem(folders: dict[str, Path]) -> None:
    (folders["b"] / "03.bmp").unlink()
    args = ("-f", folders["f"], "-a", folders["a"], "-b", folders["b"], "-m", "SCD,CC")
    result = run("score", *args, "--csv")
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(result.stdout.splitlines()))
    assert [row["image"] for row in rows] == ["01", "02"]
    assert "left out 03: no partner in b" in result.stderr
    expected = score_files(folders["f"] / "02.png", folders["a"] / "02.png", folders["b"] / "02.bmp", metrics=["SCD"])
    assert float(rows[1]["SCD"]) == expected["SCD"].item()
    data = json.loads(run("score", *args, "--json").stdout)
    assert data["mean"]["SCD"] == pytest.approx(sum(float(row["SCD"]) for row in rows) / 2)


def test_a_truth_brings_its_metrics(folders: dict[str, Path]) -> None:
    result = run("score", "-f", folders["f"], "-a", folders["a"], "-b", folders["b"], "--truth", folders["t"], "--json")
    assert result.exit_code == 0, result.output
    values = json.loads(result.stdout)["images"][0]["values"]
    assert values["PSNR-truth"] > 0
    assert values["SSIM"] is not None
    assert values["MS-SSIM"] is None
    assert "MS-SSIM needs images of at least 161x161 pixels" in result.stderr


def test_an_undefined_value_is_told_on_stderr(folders: dict[str, Path]) -> None:
    cv2.imwrite(str(folders["a"] / "02.png"), np.full((44, 48), 9, np.uint8))
    result = run("score", "-f", folders["f"], "-a", folders["a"], "-m", "CC", "-p", "tang")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[2].split()[:2] == ["CC", "nan"]
    assert "note: CC: not defined on 1 of 3 images (02) by profile tang" in result.stderr


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["-f", "{f}/01.png", "-m", "SSMI"], 2, ["unknown metric 'SSMI'", "did you mean 'SSIM'"]),
        (["-f", "{f}/01.png", "-m", ","], 2, ["--metric: name at least one metric"]),
        (["-f", "{f}/01.png", "-p", "vifbb"], 2, ["unknown metric profile 'vifbb'", "did you mean 'vifb'"]),
        (["-f", "{f}/01.png", "-b", "{b}/01.bmp"], 2, ["-b needs -a"]),
        (["-f", "{f}/01.png", "-a", "{a}"], 2, ["-a", "is a folder and -f", "a file"]),
        (["-f", "{f}/01.png", "-m", "SSIM"], 2, ["SSIM compares with the sources"]),
        (["-f", "{f}/01.png", "-m", "NMI", "-p", "cddfuse"], 2, ["profile 'cddfuse' has no NMI"]),
        (["-f", "{f}/01.png", "--device", "tpu"], 2, ["--device tpu"]),
        (["-f", "{f}/09.png"], 4, ["09.png: no such file or folder"]),
        (["-f", "{f}/01.png", "-a", "{a}/01.png", "-m", "MS-SSIM"], 4, ["01.png: MS-SSIM needs", "161x161"]),
        (["-f", "{f}/01.png", "-a", "{a}/small.png", "-m", "CC"], 4, ["small.png: 5x5 pixels", "01.png has 48x44"]),
        (["-f", "{f}/broken.png", "-m", "EN"], 4, ["broken.png"]),
        (["-f", "{empty}", "-m", "EN"], 4, ["empty", "holds no images"]),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_an_exit_code(
    folders: dict[str, Path], args: list[str], code: int, words: list[str]
) -> None:
    cv2.imwrite(str(folders["a"] / "small.png"), np.zeros((5, 5), np.uint8))
    (folders["f"] / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    empty = folders["f"].parent / "empty"
    empty.mkdir()
    result = run("score", *(arg.format(**folders, empty=empty) for arg in args))
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    line = result.stderr.strip()
    assert "\n" not in line
    assert line.startswith("error: ")
    for word in words:
        assert word in line


def test_metrics_are_listed_and_explained() -> None:
    listed = run("metrics")
    assert listed.exit_code == 0, listed.output
    assert listed.stdout.splitlines()[0].split() == [
        "name", "title", "better", "range", "unit", "needs", "loss", "profiles",
    ]  # fmt: skip
    assert any(line.startswith("EN ") for line in listed.stdout.splitlines())
    assert "refusion" in listed.stdout
    assert run("metrics", "vifp").stdout.startswith("VIFp: visual information fidelity")
    assert {entry["name"] for entry in json.loads(run("metrics", "-p", "tang", "--json").stdout)} >= {"EN", "Nabf"}
    assert json.loads(run("metrics", "EN", "--json").stdout)["profiles"]["ivif_zoo"] == {"offset": 1e-7}
    wrong = run("metrics", "SIMM")
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert "did you mean 'SSIM'" in wrong.stderr


def test_help_imports_no_torch() -> None:
    for command in ("score", "metrics"):
        code = f"import sys; from fusionkit.cli import main; main(['{command}', '--help'], standalone_mode=False); " \
            "assert 'torch' not in sys.modules, 'torch was imported'"  # fmt: skip
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
