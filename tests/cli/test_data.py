"""``fusionkit data`` and ``fusionkit sample`` as they are typed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from fusionkit.cli import main
from fusionkit.data.published.ivif import MSRS
from fusionkit.data.sample.sample_folder import CACHE_VARIABLE
from fusionkit.plugins.catalogue import datasets


@pytest.fixture(autouse=True)
def msrs() -> Iterator[None]:
    if "MSRS" not in datasets.names():
        datasets.register("MSRS", MSRS)
    yield
    datasets._registered.pop("MSRS", None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for side in ("ir", "vi"):
        for n in range(3):
            file = tmp_path / "mine" / side / f"{n}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), 10 * n).save(file)
    return tmp_path / "mine"


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_list_gives_task_published_pairs_and_licence() -> None:
    line = next(line for line in _run("data", "list").stdout.splitlines() if line.startswith("MSRS "))
    assert line.split("  ")[-1] == "none stated"
    assert "1083 train, 361 test" in line
    listed = json.loads(_run("data", "list", "--json").stdout)
    assert next(entry for entry in listed if entry["name"] == "MSRS")["splits"] == {"train": 1083, "test": 361}


def test_show_gives_every_field() -> None:
    shown = _run("data", "show", "MSRS").stdout
    for expected in (MSRS.homepage, MSRS.citation, MSRS.paper_split, "train: train/ir/{name} with train/vi/{name}"):
        assert expected in shown
    assert json.loads(_run("data", "show", "MSRS", "--json").stdout)["task"] == "ivif"


def test_show_of_an_unknown_name_is_a_usage_error() -> None:
    result = _run("data", "show", "MSR")
    assert result.exit_code == 2
    assert "did you mean 'MSRS'" in result.stderr


def test_verify_says_what_is_there(folder: Path) -> None:
    result = _run("data", "verify", folder, "--task", "ivif", "--decode")
    assert result.exit_code == 0
    assert "3 pairs ok (3 in all), 0 with known digests" in result.stdout
    assert len(result.stdout.split("fingerprint ")[1].strip()) == 64


def test_verify_of_damaged_pairs_exits_with_4_and_one_line(folder: Path) -> None:
    (folder / "vi" / "1.png").write_bytes(b"broken")
    result = _run("data", "verify", folder, "--task", "ivif")
    assert result.exit_code == 4
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert "vi/1.png" in result.stderr


def test_a_named_set_knows_its_task_and_a_folder_does_not(folder: Path) -> None:
    missing = _run("data", "verify", folder)
    assert missing.exit_code == 2
    assert "does not say its task" in missing.stderr
    wrong = _run("data", "verify", f"MSRS:{folder}")
    assert wrong.exit_code == 4
    assert "does not hold MSRS" in wrong.stderr


def test_a_manifest_pins_what_verify_then_checks(folder: Path) -> None:
    manifest = folder / "MANIFEST.csv"
    assert _run("data", "manifest", folder, "--task", "ivif", "-o", manifest).exit_code == 0
    assert "3 with known digests" in _run("data", "verify", folder, "--task", "ivif").stdout
    Image.new("L", (8, 8), 99).save(folder / "ir" / "0.png")
    result = _run("data", "verify", folder, "--task", "ivif")
    assert result.exit_code == 4
    assert "ir/0.png is not the file that the manifest lists" in result.stderr


def test_a_manifest_is_not_written_over_without_force(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "list.csv"
    out.write_text("mine")
    result = _run("data", "manifest", folder, "--task", "ivif", "-o", out)
    assert result.exit_code == 2
    assert out.read_text() == "mine"
    assert _run("data", "manifest", folder, "--task", "ivif", "-o", out, "--force").exit_code == 0
    assert out.read_text().startswith("task,dataset,split,name,")


def test_source_folders_can_be_named(folder: Path) -> None:
    (folder / "ir").rename(folder / "thermal")
    assert _run("data", "verify", folder, "--task", "ivif", "--folders", "thermal,vi").exit_code == 0
    assert _run("data", "verify", folder, "--task", "ivif").exit_code == 4


def test_sample_writes_one_task_or_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = _run("sample", "meif", "-o", tmp_path / "one")
    assert result.stdout == f"{tmp_path / 'one'}: meif, 13 pairs (9 train, 4 test)\n"
    assert (tmp_path / "one" / "MANIFEST.csv").is_file()
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    assert str(tmp_path / "cache") in _run("sample", "meif").stdout
    monkeypatch.setattr("fusionkit.data.sample.SAMPLE_TASKS", ("meif",))
    assert _run("sample", "all", "-o", tmp_path / "all").exit_code == 0
    assert (tmp_path / "all" / "meif" / "MANIFEST.csv").is_file()


def test_sample_of_an_unknown_task_is_a_usage_error(tmp_path: Path) -> None:
    result = _run("sample", "mfi", "-o", tmp_path / "x")
    assert result.exit_code == 2
    assert "did you mean" in result.stderr


def test_listing_and_finding_import_neither_torch_nor_numpy(folder: Path) -> None:
    script = (
        "import sys; from fusionkit.data import find_pairs, verify; from fusionkit.tasks import IVIF\n"
        f"verify(find_pairs({str(folder)!r}, IVIF))\n"
        "from importlib import import_module\n"
        "for task in ('ivif', 'mif', 'mfif', 'meif'): import_module('fusionkit.data.published.' + task)\n"
        "from fusionkit.data.sample import SAMPLE_TASKS\n"
        "from fusionkit.data.labels import find_labelled\n"
        "print([name for name in ('torch', 'numpy', 'cv2', 'skimage') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def labelled(folder: Path) -> Path:
    (folder / "label").mkdir()
    (folder / "classes.txt").write_text("person\ncar\n")
    for n in range(3):
        (folder / "label" / f"{n}.txt").write_text("0 0.5 0.5 0.5 0.5\n" * n)
    return folder


def test_verify_with_labels_counts_them(labelled: Path) -> None:
    result = _run("data", "verify", labelled, "--task", "ivif", "--labels", "detection")
    assert result.exit_code == 0
    assert "3 pairs ok (3 in all), 0 with known digests, boxes: person 3, car 0" in result.stdout
    plain = _run("data", "verify", labelled, "--task", "ivif")
    assert "boxes" not in plain.stdout
    assert plain.stdout.split("fingerprint ")[1] != result.stdout.split("fingerprint ")[1]


def test_verify_of_labels_that_do_not_fit_exits_with_4_and_one_line(labelled: Path) -> None:
    (labelled / "label" / "1.txt").write_text("2 0.5 0.5 0.5 0.5\n")
    (labelled / "label" / "2.txt").unlink()
    result = _run("data", "verify", labelled, "--task", "ivif", "--labels", "detection")
    assert result.exit_code == 4
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert "label/1.txt, line 1: unknown class id 2" in result.stderr
    assert "mine/2: no label for" in result.stderr
    assert _run("data", "verify", labelled, "--task", "ivif", "--labels", "boxes").exit_code == 2


def test_a_manifest_with_labels_pins_them(labelled: Path) -> None:
    arguments = ("--task", "ivif", "--labels", "detection")
    assert _run("data", "manifest", labelled, *arguments, "-o", labelled / "MANIFEST.csv").exit_code == 0
    assert _run("data", "verify", labelled, *arguments).exit_code == 0
    (labelled / "label" / "1.txt").write_text("1 0.5 0.5 0.5 0.5\n")
    result = _run("data", "verify", labelled, *arguments)
    assert result.exit_code == 4
    assert "label/1.txt is not the file that the manifest lists" in result.stderr


def test_show_says_where_labels_lie_and_what_they_are() -> None:
    shown = _run("data", "show", "MSRS").stdout
    assert "train/vi/{name}, masks train/Segmentation_labels/{name}" in shown
    assert "labels for segmentation: unlabelled, car, person" in shown
    listed = json.loads(_run("data", "show", "MSRS", "--json").stdout)["labels"]
    assert [entry["kind"] for entry in listed] == ["segmentation", "detection"]


def test_the_labelled_sample_is_written(tmp_path: Path) -> None:
    result = _run("sample", "ivif", "--labelled", "-o", tmp_path / "streets")
    assert result.stdout == f"{tmp_path / 'streets'}: ivif, 32 pairs (24 train, 8 test)\n"
    for kind, unit in (("segmentation", "pixels: background"), ("detection", "boxes: person")):
        checked = _run("data", "verify", tmp_path / "streets", "--task", "ivif", "--labels", kind, "--decode")
        assert f"32 with known digests, {unit}" in checked.stdout
    assert _run("sample", "mif", "--labelled", "-o", tmp_path / "x").exit_code == 2


def test_unpack_wants_a_name_and_a_packed_set(tmp_path: Path) -> None:
    assert "write NAME:DIR" in _run("data", "unpack", "MSRS", "-o", tmp_path / "out").stderr
    result = _run("data", "unpack", f"MSRS:{tmp_path}", "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "nothing to unpack" in result.stderr
