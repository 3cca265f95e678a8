"""``fusionkit fuse`` from the outside: exit codes, one line an error, and nothing half-written."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
import tifffile
from click.testing import CliRunner, Result

from fusionkit.cli import main
from fusionkit.io.images import read_image
from fusionkit.models.weights import WeightsInfo, save_fuser
from fusionkit.plugins import catalogue
from tests.support.toyfusers import TOYS, ToyOptions, ToyTrained

RNG = np.random.default_rng(11)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(catalogue.fusers, "_registered", {})
    for name, kind in TOYS.items():
        catalogue.fusers.register(name, kind)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    save(RNG.integers(0, 256, (40, 50), dtype=np.uint8), tmp_path / "a.png")
    save(RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8), tmp_path / "b.png")
    return "a.png", "b.png"


@pytest.fixture
def folders(tmp_path: Path) -> tuple[str, str]:
    for k in range(4):
        save(np.full((8, 9), 10 * k, np.uint8), tmp_path / f"ir/s{k}.png")
        save(np.full((8, 9, 3), 10 * k + 20, np.uint8), tmp_path / f"vi/s{k}.jpg")
    return "ir", "vi"


def save(pixels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(pixels).save(path)


def fuse(*args: object) -> Result:
    return CliRunner().invoke(main, ["fuse", "--device", "cpu", *map(str, args)])


def refused(result: Result, code: int, *words: str) -> None:
    """One line on stderr, nothing on stdout, no result, no traceback."""
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr
    assert not Path("out").exists()
    assert not [file for file in Path().rglob("*") if file.name.startswith((".", "out"))]


def test_a_pair_of_files_is_fused_and_its_place_printed(pair: tuple[str, str]) -> None:
    result = fuse("-m", "toy-mean", "-a", pair[0], "-b", pair[1], "-o", "out/x.png", "--gamut", "clip")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "out/x.png\n", "")
    a, b = (read_image(file).pixels.astype(np.float32) / 255 for file in pair)
    y = (a[..., 0] + cv2.cvtColor(b, cv2.COLOR_RGB2YCrCb)[..., 0]) / 2
    ycc = np.dstack([y, cv2.cvtColor(b, cv2.COLOR_RGB2YCrCb)[..., 1:]])
    expected = cv2.cvtColor(ycc, cv2.COLOR_YCrCb2RGB).clip(0, 1)
    assert np.abs(read_image("out/x.png").pixels / 255 - expected).max() < 1 / 255


def test_folders_are_fused_with_a_record(folders: tuple[str, str]) -> None:
    result = fuse("-m", "toy-mean", "-a", folders[0], "-b", folders[1], "-o", "out", "--bits", 16, "--stretch", "none")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "out\n", "")
    assert sorted(file.name for file in Path("out").iterdir()) == ["fusion.json", *(f"s{k}.png" for k in range(4))]
    assert read_image("out/s2.png").bits == 16
    assert read_image("out/s2.png").pixels[0, 0].tolist() == [30 * 257]
    record = json.loads(Path("out/fusion.json").read_text())
    assert (record["complete"], record["bits"], record["model"]) == (True, 16, "toy-mean")


def test_folders_are_matched_by_number_and_the_matches_said(folders: tuple[str, str]) -> None:
    for k in range(4):
        Path(f"ir/s{k}.png").rename(f"ir/IR_{k:04}.PNG")
        Path(f"vi/s{k}.jpg").rename(f"vi/VIS_{k:02}.JPG")
    args = ("-m", "toy-mean", "-a", *folders[:1], "-b", folders[1], "-o", "out", "--stretch", "none")
    refused(fuse(*args), 4, "no file name in common", "by number they would match")
    result = fuse(*args, "--match", "number")
    assert (result.exit_code, result.stdout) == (0, "out\n")
    first = ", ".join(f"IR_{k:04}.PNG + VIS_{k:02}.JPG" for k in range(3))
    assert result.stderr == f"note: matched by number: {first}, and 1 more\n"
    assert [int(read_image(f"out/IR_{k:04}.png").pixels[0, 0, 0]) for k in range(4)] == [10, 20, 30, 40]
    record = json.loads(Path("out/fusion.json").read_text())
    assert record["match"] == "number"
    assert record["files"]["IR_0002.png"] == ["IR_0002.PNG", "VIS_02.JPG"]


def test_a_thermal_image_is_scaled_as_its_grey_picture_and_what_was_taken_is_said(pair: tuple[str, str]) -> None:
    grey = np.asarray(PIL.Image.open(pair[0]))
    tifffile.imwrite("kelvin.tif", (27315 + 20 * grey.astype(np.int64)).astype(np.uint16))
    args = ("-m", "toy-mean", "-b", pair[1], "--stretch", "none", "--force")
    assert fuse("-a", pair[0], "-o", "grey.png", *args).exit_code == 0
    result = fuse("-a", "kelvin.tif", "-o", "auto.png", *args)
    assert result.exit_code == 0
    assert result.stderr.startswith("note: kelvin.tif: its values fill a small part of their range")
    assert "--range-a" in result.stderr
    expected, found = (read_image(f"{name}.png").tensor().numpy() for name in ("grey", "auto"))
    assert np.corrcoef(expected.ravel(), found.ravel())[0, 1] > 0.99
    result = fuse("-a", "kelvin.tif", "-o", "known.png", "--range-a", f"27315,{27315 + 20 * 255}", *args)
    assert (result.exit_code, result.stderr) == (0, "")
    assert np.abs(read_image("known.png").tensor().numpy() - expected).max() < 1.01 / 255
    flat = fuse("-a", "kelvin.tif", "-o", "full.png", "--range-a", "full", *args)
    assert (flat.exit_code, flat.stderr) == (0, "")


def test_a_folder_can_share_one_range(tmp_path: Path) -> None:
    for k in range(3):
        values = np.linspace(29000 + 100 * k, 29500 + 100 * k, 72).reshape(8, 9).astype(np.uint16)
        Path("ir").mkdir(exist_ok=True)
        tifffile.imwrite(f"ir/{k}.tif", values)
        save(np.zeros((8, 9), np.uint8), tmp_path / f"vi/{k}.png")
    args = ("-m", "toy-mean", "-a", "ir", "-b", "vi", "--stretch", "none", "--range-a", "minmax", "--bits", 16)
    assert fuse(*args, "-o", "each").exit_code == 0
    assert fuse(*args, "-o", "one", "--range-scope", "folder").exit_code == 0
    each, one = ([read_image(f"{out}/{k}.png").pixels[0, 0, 0] for k in range(3)] for out in ("each", "one"))
    assert each == [0, 0, 0]
    np.testing.assert_allclose(np.asarray(one) * 2 / 65535, [0, 1 / 7, 2 / 7], atol=1e-4)
    record = json.loads(Path("one/fusion.json").read_text())
    assert (record["ranges"], record["range_scope"]) == (["minmax", "auto"], "folder")
    assert record["limits"] == {f"{k}.png": [[29000.0, 29700.0], None] for k in range(3)}
    assert json.loads(Path("each/fusion.json").read_text())["limits"]["2.png"] == [[29200.0, 29700.0], None]


def test_the_automatic_range_of_a_folder_is_said_once(tmp_path: Path) -> None:
    Path("ir").mkdir()
    for k in range(5):
        tifffile.imwrite(f"ir/{k}.tif", RNG.uniform(5, 30, (8, 9)).astype(np.float32))
        save(np.zeros((8, 9), np.uint8), tmp_path / f"vi/{k}.png")
    result = fuse("-m", "toy-mean", "-a", "ir", "-b", "vi", "-o", "out", "--bits", 8)
    assert result.exit_code == 0
    first, others = result.stderr.splitlines()
    assert first.startswith("note: ir/0.tif: its values fill")
    assert others.startswith("note: the other images of ir/0.tif")


def test_invalid_values_are_filled_where_asked(pair: tuple[str, str]) -> None:
    values = RNG.uniform(0, 1, (40, 50)).astype(np.float32)
    values[3, 4] = np.nan
    tifffile.imwrite("nan.tif", values)
    args = ("-m", "toy-mean", "-a", "nan.tif", "-b", pair[1], "-o", "out.png", "--bits", 8)
    refused(fuse(*args), 4, "nan.tif: not finite (NaN or infinite): 1 value;", "--fill-invalid")
    result = fuse(*args, "--fill-invalid")
    assert (result.exit_code, result.stderr) == (0, "note: nan.tif: 1 invalid values are filled\n")


def test_sources_are_named_as_arguments_too(pair: tuple[str, str]) -> None:
    assert fuse("-m", "toy-lean", *pair, "-o", "x.png").exit_code == 0
    assert fuse("-m", "toy-lean", "-a", pair[0], "-b", pair[1], "-o", "y.png").exit_code == 0
    assert Path("x.png").read_bytes() == Path("y.png").read_bytes()
    refused(fuse("-m", "toy-mean", pair[0], "-b", pair[1], "-o", "out.png"), 2, "not both")
    refused(fuse("-m", "toy-mean", pair[0], "-o", "out.png"), 2, "two or more sources")
    refused(fuse("-m", "toy-mean", "-a", pair[0], "-o", "out.png"), 2, "-a, -b and -s, or as arguments")


def test_a_file_of_several_pages_is_a_stack_or_says_which_page_it_is(pair: tuple[str, str]) -> None:
    pages = np.stack([np.full((6, 8), value, np.uint8) for value in (10, 50, 200)])
    tifffile.imwrite("stack.tif", pages, photometric="minisblack")
    assert fuse("-m", "toy-lean", "stack.tif", "-o", "x.tif", "--stretch", "none").exit_code == 0
    assert (read_image("x.tif").pixels == round(0.25 * (0.25 * 10 + 0.75 * 50) + 0.75 * 200)).all()
    for page, value in enumerate((10, 50, 200)):
        args = ("-a", f"stack.tif[{page}]", "-b", f"stack.tif[{page}]", "-o", f"{page}/")
        assert (fuse("-m", "toy-mean", *args).stderr) == ""
        assert (read_image(f"{page}/stack.png").pixels == value).all()
    result = fuse("-m", "toy-mean", "-a", "stack.tif", "-b", "stack.tif[2]", "-o", "y.png", "--stretch", "none")
    assert result.stderr == "note: stack.tif: has 3 pages, of which the first is read; stack.tif[1] names the second\n"
    assert (read_image("y.png").pixels == 105).all()
    refused(
        fuse("-m", "toy-mean", "-a", "stack.tif[3]", "-b", "stack.tif", "-o", "out.png"), 4, "stack.tif[3]: has 3 pages"
    )


def test_a_folder_of_photographs_held_upright_and_sideways_is_fused_upright(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[274] = 6
    Path("vi").mkdir()
    for k in range(2):
        save(np.full((6, 8), 50 * k, np.uint8), tmp_path / f"ir/{k}.png")
        PIL.Image.fromarray(np.full((8, 6, 3), 90, np.uint8)).save(f"vi/{k}.jpg", exif=exif)
    result = fuse("-m", "toy-mean", "-a", "ir", "-b", "vi", "-o", "out")
    assert result.exit_code == 0
    assert "turned upright" in result.stderr
    assert read_image("out/1.png").size == "8x6"


def test_further_sources_are_fused_in_order(pair: tuple[str, str], tmp_path: Path) -> None:
    for k, value in enumerate((10, 50, 200)):
        save(np.full((3, 3), value, np.uint8), tmp_path / f"{k}.png")
    result = fuse("-m", "toy-lean", "-a", "0.png", "-b", "1.png", "-s", "2.png", "-o", "x.tif", "--stretch", "none")
    assert result.exit_code == 0
    assert (read_image("x.tif").pixels == round(0.25 * (0.25 * 10 + 0.75 * 50) + 0.75 * 200)).all()


def test_a_run_folder_is_a_model(pair: tuple[str, str]) -> None:
    save_fuser(Path("run/model.safetensors"), ToyTrained(ToyOptions(start=1.0)), WeightsInfo("toy-trained", "ivif"))
    result = fuse("-m", "run", "-a", pair[0], "-b", pair[0], "-o", "x.png")
    assert result.exit_code == 0
    np.testing.assert_array_equal(read_image("x.png").pixels, read_image(pair[0]).pixels)


@pytest.mark.parametrize("form", ["png", "tif", "jpg", "bmp"])
def test_every_format_of_a_folder_can_be_read_again(form: str, folders: tuple[str, str]) -> None:
    assert fuse("-m", "toy-mean", "-a", *folders[:1], "-b", folders[1], "-o", "out", "--format", form).exit_code == 0
    assert read_image(f"out/s3.{form}").size == "9x8"


def test_rounding_to_what_the_format_holds_is_noted_once(tmp_path: Path) -> None:
    for k in range(3):
        for side in "ab":
            path = tmp_path / f"{side}/{k}.png"
            path.parent.mkdir(exist_ok=True)
            cv2.imwrite(str(path), np.full((4, 4), 999 * k, np.uint16))
    result = fuse("-m", "toy-mean", "-a", "a", "-b", "b", "-o", "out", "--format", "jpg")
    assert result.exit_code == 0
    assert result.stderr.count("\n") == 1
    assert "note: sources of 16 bits give a result of 8 bits" in result.stderr
    assert fuse("-m", "toy-mean", "-a", "a", "-b", "b", "-o", "o", "--format", "jpg", "--bits", 8).stderr == ""


BAD = {
    "missing": (lambda p: p.unlink(), "no such file"),
    "empty": (lambda p: p.write_bytes(b""), "empty"),
    "cut": (lambda p: p.write_bytes(p.read_bytes()[:700]), "cut short"),
    "text": (lambda p: p.write_text("hello"), "not an image"),
    "nan": (lambda p: tifffile.imwrite(p, np.full((40, 50), np.nan, np.float32)), "not finite"),
    "range": (lambda p: tifffile.imwrite(p, np.full((40, 50), 300, np.float32)), "0..1"),
    "complex": (lambda p: tifffile.imwrite(p, np.zeros((40, 50), np.complex64)), "is read"),
    "signed": (lambda p: tifffile.imwrite(p, np.zeros((40, 50), np.int16)), "are no range"),
    "size": (lambda p: PIL.Image.new("L", (50, 41)).save(p), "sources differ in size (a.png 50x40, b.png 50x41)"),
    "folder": (lambda p: (p.unlink(), p.mkdir()), "b.png is a folder and a.png is not"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_source_is_one_line_and_leaves_nothing(case: str, pair: tuple[str, str]) -> None:
    spoil, words = BAD[case]
    spoil(Path(pair[1]))
    result = fuse("-m", "toy-mean", "-a", pair[0], "-b", pair[1], "-o", "out/x.png")
    refused(result, 2 if case == "folder" else 4, "b.png", words)


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["-m", "toy-meen"], 2, "did you mean 'toy-mean'"),
        (["-m", "toy-trained", "--task", "mif"], 2, "fusionkit train toy-trained --task mif"),
        (["-m", "toy-mean", "--task", "miff"], 2, "did you mean 'mif'"),
        (["-m", "none/run"], 4, "no such file"),
        (["-m", "toy-mean", "--device", "gpu"], 2, "--device gpu"),
        (["-m", "toy-mean", "--bits", "12"], 2, "--bits"),
        (["-m", "toy-mean", "--stretch", "half"], 2, "--stretch"),
        (["-m", "toy-mean", "--gamut", "keep"], 2, "--gamut"),
        (["-m", "toy-mean", "-o", "out.gif"], 2, "unknown suffix '.gif'"),
        (["-m", "toy-mean", "-o", "outwards"], 2, "a suffix is needed"),
        (["-m", "toy-mean", "-o", "out.jpg", "--bits", "16"], 2, "at most 8 bits"),
        (["-m", "toy-mean", "-o", "a.png"], 2, "would replace a source"),
        (["-m", "toy-mean", "-o", "a.png/x.png"], 4, "a.png/x.png: cannot be written"),
        (["-m", "toy-cropped"], 3, "ToyCropped"),
        (["-m", "toy-hungry"], 4, "do not fit into the memory"),
        (["-m", "toy-mean", "-s", "none.png"], 4, "none.png: no such file"),
        (["-m", "toy-mean", "--range-a", "5,1"], 2, "--range-a 5,1: the lower value has to come first"),
        (["-m", "toy-mean", "--range-b", "windows"], 2, "--range-b windows"),
        (["-m", "toy-mean", "--range-s", "full"], 2, "one per source after the second"),
        ([], 2, "--model"),
    ],
)
def test_misuse_is_one_line_with_its_exit_code(args: list[str], code: int, words: str, pair: tuple[str, str]) -> None:
    out = [] if "-o" in args else ["-o", "out/x.png"]
    refused(fuse("-a", pair[0], "-b", pair[1], *out, *args), code, words)


def test_results_are_replaced_only_with_force(folders: tuple[str, str]) -> None:
    args = ["-m", "toy-mean", "-a", folders[0], "-b", folders[1], "-o", "out"]
    assert fuse(*args).exit_code == 0
    before = {file: file.stat().st_mtime_ns for file in Path("out").iterdir()}
    again = fuse(*args)
    assert again.exit_code == 2
    assert "--force" in again.stderr
    assert {file: file.stat().st_mtime_ns for file in Path("out").iterdir()} == before
    assert fuse(*args, "--force").exit_code == 0


def test_bad_pairs_are_all_named_and_nothing_is_fused(folders: tuple[str, str]) -> None:
    Path("ir/s0.png").write_bytes(b"")
    Path("vi/s1.jpg").unlink()
    result = fuse("-m", "toy-mean", "-a", *folders[:1], "-b", folders[1], "-o", "out")
    assert result.exit_code == 4
    lines = result.stderr.splitlines()
    assert [line[:12] for line in lines] == ["problem: s0:", "problem: s1:", "error: 2 of "]
    assert "--skip-bad" in lines[-1]
    assert not Path("out").exists()


def test_bad_pairs_are_left_out_when_asked(folders: tuple[str, str]) -> None:
    Path("ir/s0.png").write_bytes(b"")
    Path("vi/s1.jpg").unlink()
    result = fuse("-m", "toy-mean", "-a", folders[0], "-b", folders[1], "-o", "out", "--skip-bad")
    assert (result.exit_code, result.stdout) == (0, "out\n")
    assert [line[:12] for line in result.stderr.splitlines()] == ["skipped: s0:", "skipped: s1:"]
    assert sorted(file.name for file in Path("out").iterdir()) == ["fusion.json", "s2.png", "s3.png"]
    assert len(json.loads(Path("out/fusion.json").read_text())["skipped"]) == 2
    for k in (2, 3):
        Path(f"ir/s{k}.png").write_text("x")
    none_left = fuse("-m", "toy-mean", "-a", folders[0], "-b", folders[1], "-o", "new", "--skip-bad")
    assert none_left.exit_code == 4
    assert "none is left" in none_left.stderr


def test_help_needs_no_torch() -> None:
    code = (
        "import sys; from fusionkit.cli import main\n"
        "try: main(['fuse', '--help'])\n"
        "except SystemExit: pass\n"
        "print({'torch', 'cv2', 'numpy'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "set()\n"
    assert "--skip-bad" in done.stdout


def test_an_interrupted_run_leaves_whole_results_and_exits_with_130(tmp_path: Path) -> None:
    for k in range(200):
        for side in "ab":
            save(RNG.integers(0, 256, (30, 30), dtype=np.uint8), tmp_path / f"{side}/{k:03}.png")
    code = (
        "from tests.support.toyfusers import ToySlow\n"
        "from fusionkit.plugins import catalogue\n"
        "from fusionkit.cli import main\n"
        "catalogue.fusers.register('toy-slow', ToySlow)\n"
        "main(['fuse', '-m', 'toy-slow', '-a', 'a', '-b', 'b', '-o', 'out', '--device', 'cpu'])"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "out/003.png").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stdout == b""
    assert b"Traceback" not in stderr
    results = sorted((tmp_path / "out").iterdir())
    assert 4 < len(results) < 200
    assert results[-1].name == "fusion.json"
    assert json.loads(results[-1].read_text())["complete"] is False
    for file in results[:-1]:
        assert read_image(file).size == "30x30"


def test_real_pairs_of_every_task_are_fused(data_dir: Path, tmp_path: Path) -> None:
    with (data_dir / "MANIFEST.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] == "test"]
    chosen = {row["dataset"]: row for row in rows}.values()
    assert {row["task"] for row in chosen} == {"ivif", "mif", "mfif", "meif"}
    for row in chosen:
        a, b = data_dir / row["file_a"], data_dir / row["file_b"]
        out = tmp_path / f"{row['dataset']}.png"
        result = fuse("-m", "toy-mean", "-a", a, "-b", b, "-o", out, "--task", row["task"])
        assert result.exit_code == 0, result.output
        fused = cv2.imread(str(out), cv2.IMREAD_UNCHANGED)
        assert fused.shape[:2] == (int(row["height"]), int(row["width"]))
        grey = [cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2YCrCb)[..., 0].astype(float) for file in (a, b)]
        y = fused if fused.ndim == 2 else cv2.cvtColor(fused, cv2.COLOR_BGR2YCrCb)[..., 0]
        inside = np.ones(y.shape, bool) if fused.ndim == 2 else ((fused > 0) & (fused < 255)).all(2)
        # Colours that leave the cube are cut off, which moves their luminance.
        assert np.abs(y - (grey[0] + grey[1]) / 2)[inside].max() <= 2.5, row["dataset"]
