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
    assert "MS-SSIM: needs images of at least 161x161 pixels" in result.stderr
    assert "(3 of 3 images: 01, 02, 03)" in result.stderr


def test_one_small_image_and_one_of_another_size_cost_themselves_and_not_the_mean(folders: dict[str, Path]) -> None:
    for role in "fab":
        file = next(folders[role].glob("02.*"))
        cv2.imwrite(str(file), cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)[:6, :6])
    cv2.imwrite(str(folders["a"] / "03.png"), np.zeros((44, 50), np.uint8))
    args = ("score", "-f", folders["f"], "-a", folders["a"], "-b", folders["b"], "-m", "EN,SSIM", "--json")
    result = run(*args)
    assert result.exit_code == 4
    assert "left out 03:" in result.stderr
    assert "note: SSIM: needs images of at least 11x11 pixels" in result.stderr
    assert "(1 of 2 images: 02)" in result.stderr
    data = json.loads(result.stdout)
    assert data["count"] == {"EN": 2, "SSIM": 1}
    assert data["mean"]["SSIM"] == data["images"][0]["values"]["SSIM"]
    assert list(data["failed"]) == ["03"]
    assert "SSIM" in data["images"][1]["reasons"]
    assert data["std"]["EN"] == pytest.approx(np.std([image["values"]["EN"] for image in data["images"]]))


def test_a_third_source_counts(folders: dict[str, Path]) -> None:
    files = [folders["f"] / "01.png", folders["a"] / "01.png", folders["b"] / "01.bmp", folders["a"] / "02.png"]
    args = ("score", "-f", files[0], "-a", files[1], "-b", files[2], "-s", files[3], "--json")
    values = json.loads(run(*args, "-m", "SSIM").stdout)["images"][0]["values"]
    assert values["SSIM"] == pytest.approx(score_files(*files, metrics=["SSIM"])["SSIM"].item())
    refused = run(*args, "-m", "QW")
    assert refused.exit_code == 2
    assert "defined for two sources, got 3" in refused.stderr


@pytest.mark.parametrize(
    ("rule", "name"), [("pattern:x_{name}_fused", "x_{}_fused"), ("number", "our-1_{}"), ("order", "a{}z")]
)
def test_files_that_are_called_otherwise_find_their_sources(folders: dict[str, Path], rule: str, name: str) -> None:
    args = ("score", "-f", folders["f"], "-a", folders["a"], "-b", folders["b"], "-m", "SCD", "--json")
    expected = json.loads(run(*args).stdout)
    for file in list(folders["f"].iterdir()):
        file.rename(file.with_stem(name.format(file.stem)))
    result = run(*args, "--match", rule)
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["mean"] == expected["mean"]
    assert len(found["images"]) == 3
    assert found["match"] == rule


@pytest.mark.parametrize("rule", ["stems", "pattern:{name}{name}"])
def test_an_unknown_rule_is_refused(folders: dict[str, Path], rule: str) -> None:
    result = run("score", "-f", folders["f"], "-a", folders["a"], "--match", rule)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert rule in result.stderr


def test_order_is_refused_where_the_folders_hold_unequal_numbers(folders: dict[str, Path]) -> None:
    (folders["f"] / "03.png").unlink()
    result = run("score", "-f", folders["f"], "-a", folders["a"], "--match", "order")
    assert result.exit_code == 4
    assert "as many images in each folder" in result.stderr


@pytest.mark.parametrize(("crop", "corner"), [("center", (2, 4)), ("topleft", (0, 0))])
def test_sources_of_a_method_that_crops_are_cut_as_it_does(
    folders: dict[str, Path], crop: str, corner: tuple[int, int]
) -> None:
    top, left = corner
    fused, source = cv2.imread(str(folders["f"] / "01.png"), 0)[:40, :40], cv2.imread(str(folders["a"] / "01.png"), 0)
    cv2.imwrite(str(folders["f"] / "cut.png"), fused)
    cv2.imwrite(str(folders["a"] / "cut.png"), source[top : top + 40, left : left + 40])
    cut, whole = folders["a"] / "cut.png", folders["a"] / "01.png"
    args = ("score", "-f", folders["f"] / "cut.png", "-m", "SSIM,CC,VIFp")
    known = json.loads(run(*args, "-a", cut, "--json").stdout)
    found = json.loads(run(*args, "-a", whole, "--crop-to-fused", crop, "--json").stdout)
    assert found["mean"] == known["mean"]
    assert (found["crop_to_fused"], known["crop_to_fused"]) == (crop, None)
    assert f"cut to the fused image ({crop})" in run(*args, "-a", whole, "--crop-to-fused", crop).stdout


def test_an_undefined_value_is_told_on_stderr(folders: dict[str, Path]) -> None:
    cv2.imwrite(str(folders["a"] / "02.png"), np.full((44, 48), 9, np.uint8))
    result = run("score", "-f", folders["f"], "-a", folders["a"], "-m", "CC", "-p", "tang")
    assert result.exit_code == 0
    head, row = (line.split() for line in result.stdout.splitlines()[1:3])
    assert dict(zip(head, row, strict=True))["n"] == "2"
    assert "note: CC: not defined by profile tang (1 of 3 images: 02)" in result.stderr


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
