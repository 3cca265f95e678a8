"""A bench in processes of its own: killed, interrupted, two at once, and shared by torchrun."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fusionkit.bench.benchmark import BenchRequest, run_bench
from fusionkit.bench.quality_scorer import QualityScorer
from fusionkit.bench.record_files import read_records
from fusionkit.bench.records import Record
from tests.support import benchtoys
from tests.support.benchtoys import BenchSlow, make_pairs
from tests.support.child_processes import Child

ARGS = ["bench", "--task", "ivif", "--data", "scenes", "--device", "cpu", "-o"]
NAMES = [f"p{k}" for k in range(12)]


def start(*args: str) -> Child:
    return Child("-m", "tests.support.benchtoys", *args)


def torchrun(*args: str) -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, "-m", "tests.support.benchtoys", *args]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def await_that(happened: Callable[[], bool], process: Child) -> None:
    deadline = time.monotonic() + 120
    while not happened():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def recorded(out: str) -> int:
    """Number of images in the records as they are on the disk."""
    files = Path(out).glob("results/**/[!.]*.json")
    return sum(len(json.loads(file.read_text())["images"]) for file in files)


def without_cost(records: tuple[Record, ...]) -> list[Record]:
    return [
        # Without the digest, in which the cost takes part.
        record.model_copy(
            update={
                "sha256": "",
                "images": tuple(image.model_copy(update={"cost": None}) for image in record.images),
            }
        )
        for record in records
    ]


@pytest.fixture(autouse=True)
def _scenes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    benchtoys.register_for_a_test(monkeypatch)
    monkeypatch.chdir(tmp_path)
    make_pairs(tmp_path / "scenes", NAMES)


def test_a_killed_bench_goes_on_where_it_was() -> None:
    process = start(*ARGS, "out", "--fuser", "bench-slow", "--metric", "EN")
    await_that(lambda: recorded("out") >= 3, process)
    process.kill()
    process.communicate()
    done = recorded("out")
    assert 3 <= done < len(NAMES)
    scorer = QualityScorer(metrics=("EN",))
    request = BenchRequest(tasks=("ivif",), data=("scenes",), fusers=("bench-slow",), scorer=scorer, device="cpu")
    assert run_bench(request, Path("out")).failures == 0
    assert BenchSlow.calls == len(NAMES) - done + 1  # one more to warm up
    (own,) = read_records(Path("out"))
    assert [image.name for image in own.images] == sorted(NAMES)


def test_an_interrupted_bench_keeps_what_is_done_and_exits_with_130() -> None:
    process = start(*ARGS, "out", "--fuser", "bench-slow", "--metric", "EN")
    await_that(lambda: recorded("out") >= 2, process)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130
    assert stderr.splitlines()[-1] == "interrupted: what is done is kept in out; the same command goes on from there"
    (own,) = read_records(Path("out"))
    assert 2 <= len(own.images) < len(NAMES)
    assert own.data.pairs == len(NAMES)
    assert not list(Path("out").rglob(".*"))


def test_two_benches_at_once_lose_nothing() -> None:
    both = [
        start(*ARGS, "out", "--fuser", "bench-mean", "--fuser", "copy-a", "--metric", m) for m in ("EN,AG", "SD,SF")
    ]
    for process in both:
        _, stderr = process.communicate(timeout=200)
        assert process.returncode == 0, stderr
    for record in read_records(Path("out")):
        assert set(record.metrics) == {"EN", "AG", "SD", "SF"}
        assert [image.name for image in record.images] == sorted(NAMES)
        assert all(set(image.scores) == {"EN", "AG", "SD", "SF"} for image in record.images)
    assert len(read_records(Path("out"))) == 2


def test_torchrun_shares_the_pairs_and_gives_the_records_of_one_process() -> None:
    Path("scenes/vi/p5.png").write_bytes(b"no image")
    args = ["--fuser", "bench-slow", "--fuser", "copy-a", "--metric", "EN,SSIM"]
    # torchrun would kill the other process at the first's exit code 4, were they not done together.
    shared = torchrun(*ARGS, "shared", *args)
    alone = start(*ARGS, "alone", *args)
    (out_shared, err_shared), (out_alone, _) = (process.communicate(timeout=300) for process in (shared, alone))
    assert alone.returncode == 4
    assert shared.returncode != 0
    assert err_shared.count("failed: bench-slow on ivif scenes: p5:") == 1
    one, two = (without_cost(read_records(Path(out))) for out in ("alone", "shared"))
    assert len(one) == 2
    assert [r.model_dump_json().replace("shared", "alone") for r in two] == [r.model_dump_json() for r in one]
    # The rule below the head is as wide as the times are long.
    table_of = [
        [line.split()[:3] for line in text.splitlines() if not line.startswith("─")] for text in (out_alone, out_shared)
    ]
    assert table_of[0] == table_of[1]
    # Each of the eleven pairs that can be read was fused once by each bench, and once more to warm up in each process.
    assert sum(len(calls.read_text()) for calls in Path("begun").iterdir()) == 2 * 11 + 3
