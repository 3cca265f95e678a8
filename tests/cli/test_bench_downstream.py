"""``fusionkit bench-downstream`` from the outside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fusionkit.bench.downstream.downstream_records import DownstreamRecord
from fusionkit.bench.record_files import stored_records
from fusionkit.cli import main
from tests.support.downstreamtoys import make_labelled, register_for_a_test


@pytest.fixture(autouse=True)
def _toys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    register_for_a_test(monkeypatch)
    monkeypatch.chdir(tmp_path)
    make_labelled(Path("scenes"), "segmentation", train=3, test=2)


def bench(*args: str) -> Result:
    return CliRunner().invoke(main, ["bench-downstream", "--device", "cpu", *args])


SHORT = ("--set", "steps=4", "--set", "batch=2", "--size", "32x64", "-o", "out")


def test_the_table_is_on_stdout_and_all_else_on_stderr() -> None:
    result = bench("toy-segmenter", "--data", "scenes", "--fuser", "flat=toy-flat", *SHORT)
    assert result.exit_code == 0, result.stderr
    assert "segmentation by toy-segmenter: scenes-test, 2 images, trained on 3" in result.stdout
    assert all(name in result.stdout for name in ("copy-a", "copy-b", "average", "flat", "mIoU", "IoU square"))
    lines = result.stderr.splitlines()
    assert [line.split(",")[0] for line in lines[:-1]] == [
        f"done: {name} on scenes-test" for name in ("average", "copy-a", "copy-b", "flat")
    ]
    assert lines[-1] == f"board: {Path('out/index.html')}"
    assert "toy-segmenter" in Path("out/downstream.md").read_text()


def test_failed_trainings_give_exit_code_4_and_the_rest_is_printed() -> None:
    result = bench("toy-segmenter", "--data", "scenes", "--fuser", "toy-picky", *SHORT)
    assert result.exit_code == 4
    (failed,) = (line for line in result.stderr.splitlines() if line.startswith("failed: "))
    assert failed.startswith("failed: toy-picky on scenes-test, seed 0: train0 of scenes-train: ")
    assert "cannot fuse these sources: ZeroDivisionError: cannot" in failed
    assert "error: 1 trainings are missing (named above); the rest is in out" in result.stderr
    assert "copy-a" in result.stdout


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["segmentatoin"], 2, "did you mean 'segmentation'?"),
        (["toy-segmenter", "--seeds", "0"], 2, "--seeds 0"),
        (["toy-segmenter", "--size", "big"], 2, "HEIGHTxWIDTH"),
        (["toy-detector"], 4, "detection"),
    ],
)
def test_mistakes_are_one_line(args: list[str], code: int, words: str) -> None:
    result = bench("--data", "scenes", "--task", "ivif", "-o", "out", *args)
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", ["segmentation", "detection"])
def test_the_shipped_networks_go_through_it_on_the_labelled_sample(name: str) -> None:
    short = ("--set", "steps=2", "--set", "batch=1", "--size", "64x64", "--limit", "2")
    result = bench(name, "--data", "sample", "-o", "out", *short)
    assert result.exit_code == 0, result.stderr
    found = stored_records(Path("out"), DownstreamRecord)
    assert {record.method.name for record in found} == {"copy-a", "copy-b", "average"}
    assert all(record.kind == name and len(record.images) == 2 for record in found)


def test_real_pairs_with_boxes_are_read_and_scored() -> None:
    folder = os.environ.get("FUSIONKIT_LABELLED")
    if not folder or not (Path(folder) / "llvip256_det").is_dir():
        pytest.skip("set FUSIONKIT_LABELLED to a folder of labelled pairs with llvip256_det in it to run this test")
    data = str(Path(folder) / "llvip256_det")
    result = bench("toy-detector", "--data", data, "--limit", "4", *SHORT)
    assert result.exit_code == 0, result.stderr
    record = stored_records(Path("out"), DownstreamRecord)[0]
    assert (record.dataset, record.train.pairs, record.classes) == ("llvip256_det", 4, ("person",))


def test_the_old_option_is_answered_with_the_command_that_took_over() -> None:
    args = ["bench", "--task", "ivif", "--downstream", "toy-segmenter", "--data", "the scenes", "--seeds", "3"]
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 2
    command = "fusionkit bench-downstream toy-segmenter --task ivif --data 'the scenes' --seeds 3"
    assert result.stderr == f"error: --downstream: is a command of its own: {command}\n"
    assert not Path("bench").exists()
