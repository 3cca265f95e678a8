"""``fusionkit bench`` from the outside: what stands on stdout, what on stderr, and the exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fusionkit.bench.record_files import read_records
from fusionkit.cli import main
from tests.support import benchtoys
from tests.support.benchtoys import make_pairs


@pytest.fixture(autouse=True)
def _scenes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    benchtoys.register_for_a_test(monkeypatch)
    monkeypatch.chdir(tmp_path)
    make_pairs(tmp_path / "scenes", ["p0", "p1"])


def bench(*args: str) -> Result:
    return CliRunner().invoke(main, ["bench", "--device", "cpu", *args])


def on_scenes(*args: str) -> Result:
    return bench("--task", "ivif", "--data", "scenes", "--fuser", "bench-mean", "--fuser", "copy-a", *args)


def test_the_table_is_on_stdout_and_all_else_on_stderr() -> None:
    result = on_scenes("-m", "en, BenchLevel", "-m", "SD", "-o", "out")
    assert result.exit_code == 0, result.stderr
    heading, head, _, *body = result.stdout.splitlines()
    assert heading == "infrared-visible image fusion: scenes, 2 pairs, profile refusion"
    # The metrics of the task come first; the one that is not of it is shown all the same.
    costs = ["wins", "params", "time", "memory"]
    assert head.split() == ["method", "rank", "EN", "↑", "SD", "↑", "BenchLevel", "↓", *costs]
    records = {record.method.name: record for record in read_records(Path("out"))}
    rows = {line.split()[0]: line.split()[2:5] for line in body if line.split()[0] in records}
    assert set(rows) == {"bench-mean", "copy-a"}
    for name, cells in rows.items():
        for cell, metric in zip(cells, ("EN", "SD", "BenchLevel"), strict=True):
            assert float(cell) == pytest.approx(records[name].mean(metric), abs=0.006)
    notes = [line for line in result.stdout.splitlines() if line.startswith("note: ")]
    assert notes == ["note: not measured: SF, AG, SCD, SSIM, of the protocol of ivif"]
    assert result.stderr.splitlines() == [
        "done: bench-mean on ivif scenes, 2 pairs",
        "done: copy-a on ivif scenes, 2 pairs",
        f"board: {Path('out/index.html')}",
    ]
    assert Path("out/index.html").is_file()


def test_a_failure_is_named_the_rest_is_printed_and_the_code_is_4() -> None:
    Path("scenes/vi/p1.png").write_bytes(b"")
    result = on_scenes("-m", "EN", "-q", "-o", "out")
    assert result.exit_code == 4
    assert result.stderr.splitlines() == [
        "failed: bench-mean on ivif scenes: p1: scenes/vi/p1.png: is empty (0 bytes); get the file again",
        "failed: copy-a on ivif scenes: p1: scenes/vi/p1.png: is empty (0 bytes); get the file again",
        f"board: {Path('out/index.html')}",
        "error: 2 results or values are missing (named above); the rest is in out",
    ]
    # What has failed has no rank.
    rows = [line.split() for line in result.stdout.splitlines() if line.startswith(("bench-mean †", "copy-a †"))]
    assert [row[2] for row in rows] == ["-", "-"]
    assert "† bench-mean: 1 of 2 pairs failed" in result.stdout.splitlines()


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["-m", " , "], 2, "name at least one metric"),
        (["--limit", "x"], 2, "--limit"),
        (["--split", "tset"], 2, "did you mean 'test'"),
        (["--task", "mif", "--data", "MSRS:scenes"], 2, "MSRS:scenes: is for task ivif, and --task says mif"),
        (["--task", "ivif", "--data", "scenes", "-o", "scenes/ir/p0.png"], 2, "scenes/ir/p0.png"),
    ],
)
def test_misuse_is_one_line_with_its_exit_code(args: list[str], code: int, words: str) -> None:
    result = bench("--fuser", "average", *args)
    assert result.exit_code == code
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert words in line
    assert result.stdout == ""


def test_a_place_that_cannot_be_written_is_one_line() -> None:
    Path("file").touch()
    result = on_scenes("-m", "EN", "-q", "-o", "file/out")
    assert result.exit_code == 4
    (line,) = result.stderr.splitlines()
    assert "cannot be written" in line


def test_without_a_fuser_every_one_that_can_be_used_is_compared_on_the_sample() -> None:
    result = bench("--task", "meif", "--limit", "1", "-m", "EN", "-o", "out", "-q")
    assert result.exit_code == 0, result.stderr
    names = {line.split()[0] for line in result.stdout.splitlines() if line.strip()}
    assert {"average", "mertens", "laplacian", "bench-mean"} <= names
    assert not {"gtf", "focus-gf", "bench-blend"} & names  # for other tasks, or not trained


def test_help_needs_no_torch() -> None:
    code = (
        "import sys; from fusionkit.cli import main\n"
        "try: main(['bench', '--help'])\n"
        "except SystemExit: pass\n"
        "print({'torch', 'cv2', 'numpy'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "set()\n"
    assert "torchrun" in done.stdout
