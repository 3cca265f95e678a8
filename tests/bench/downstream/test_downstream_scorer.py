"""The whole downstream bench with three-layer networks: fair, complete, going on where it was killed."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from fusionkit.bench.benchmark import BenchRequest, Outcome, run_bench
from fusionkit.bench.downstream.downstream_records import DownstreamRecord
from fusionkit.bench.downstream.scorer import DownstreamScorer
from fusionkit.bench.record_files import stored_records, write_record
from fusionkit.errors import DataError, UsageError
from fusionkit.train.checkpoints import Checkpoint, save_checkpoint
from tests.support.child_processes import Child
from tests.support.downstreamtoys import SQUARE, ToySegmenter, make_labelled, register_for_a_test

SETTINGS = ("steps=40", "batch=2", "lr=1e-2", "warmup=5", "network.width=4")


@pytest.fixture(autouse=True)
def _toys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    register_for_a_test(monkeypatch)
    monkeypatch.chdir(tmp_path)


def request(kind: str = "segmentation", **changes: Any) -> BenchRequest:
    if not Path(kind).is_dir():
        make_labelled(Path(kind), kind)
    network = {"segmentation": "toy-segmenter", "detection": "toy-detector"}[kind]
    own: dict[str, Any] = {"network": network, "size": "48x64", "settings": SETTINGS}
    own |= {name: changes.pop(name) for name in ("network", "seeds", "settings") if name in changes}
    return BenchRequest(**{"data": (kind,), "device": "cpu"} | changes, scorer=DownstreamScorer(**own))


def bench(asked: BenchRequest, out: str = "out") -> tuple[Outcome, list[str]]:
    lines: list[str] = []
    return run_bench(asked, Path(out), say=lines.append), lines


def records(out: str = "out") -> dict[tuple[str, int], DownstreamRecord]:
    return {(record.method.name, record.seed): record for record in stored_records(Path(out), DownstreamRecord)}


def test_the_thermal_image_shows_what_the_visible_does_not_and_all_start_alike() -> None:
    outcome, lines = bench(request(fusers=("toy-flat",), seeds=2))
    found = records()
    assert (outcome.failures, outcome.leads, len(lines)) == (0, True, 8)
    assert set(found) == {(name, seed) for name in ("copy-a", "copy-b", "average", "toy-flat") for seed in (0, 1)}
    for seed in (0, 1):
        score = {name: found[name, seed].scores["mIoU"] or 0 for name in ("copy-a", "copy-b", "toy-flat")}
        assert score["copy-a"] > 0.8 > 0.5 >= score["copy-b"]
        assert score["toy-flat"] <= 0.5
        own = [record for (_, number), record in found.items() if number == seed]
        assert len({record.network.initial_sha256 for record in own}) == 1
        assert len({record.network.trained_sha256 for record in own}) == 4
    assert found["copy-a", 0].network.initial_sha256 != found["copy-a", 1].network.initial_sha256
    record = found["copy-a", 0]
    assert (record.train.pairs, record.test.pairs, record.classes) == (6, 3, ("ground", "square"))
    assert record.protocol["steps"] == 40
    assert record.network.config["width"] == 4
    assert record.losses[-1][1] < 0.5 * record.losses[0][1]


def test_scores_can_be_redone_from_what_is_written_down() -> None:
    bench(request())
    for record in records().values():
        counts = np.zeros((2, 2))
        for image in record.images:
            seen, known = (
                cv2.imread(str(Path("out") / file), cv2.IMREAD_UNCHANGED) for file in (image.mask, image.label)
            )
            own = [[int(((known == k) & (seen == p)).sum()) for p in (0, 1)] for k in (0, 1)]
            assert image.confusion == tuple(tuple(row) for row in own)
            counts += own
        iou = counts.diagonal() / (counts.sum(0) + counts.sum(1) - counts.diagonal())
        assert record.scores["mIoU"] == pytest.approx(iou.mean())


def test_boxes_are_found_where_the_squares_are() -> None:
    bench(request("detection", settings=(*SETTINGS[:3], "steps=120")))
    found = records()
    best, none = (found[name, 0].scores["mAP50"] or 0 for name in ("copy-a", "copy-b"))
    assert best > 0.6 > none
    image = next(image for image in found["copy-a", 0].images if image.boxes)
    assert image.boxes
    x0, y0, x1, y1 = image.boxes[0].corners
    warm = cv2.imread(str(Path("out") / image.sources[0]), cv2.IMREAD_GRAYSCALE)
    rows, columns = np.nonzero(warm > 200)
    assert abs((x0 + x1) / 2 - columns.mean()) < SQUARE / 2
    assert abs((y0 + y1) / 2 - rows.mean()) < SQUARE / 2
    again = request("detection", settings=(*SETTINGS[:3], "steps=120"))
    assert bench(again)[1] == []
    changed = found["copy-b", 0].model_copy(update={"scores": {"mAP50-95": 0.9, "mAP50": 0.9, "mAP75": 0.9}})
    write_record(Path("out"), changed)
    (line,) = bench(again)[1]
    assert "repaired: its record was its scores do not follow" in line
    assert records()["copy-b", 0].scores == found["copy-b", 0].scores


def test_what_is_done_is_not_done_again_and_more_is_added() -> None:
    bench(request())
    assert ToySegmenter.made == 3
    outcome, lines = bench(request())
    assert (ToySegmenter.made, lines, outcome.failures) == (3, [], 0)
    _, lines = bench(request(fusers=("toy-flat",), seeds=2))
    assert ToySegmenter.made == 3 + 5
    assert [line.split(":")[1].strip() for line in lines].count("toy-flat on segmentation-test, seed 1") == 1
    fused = sorted(Path("out/downstream/fused").rglob("*.png"))
    assert len(fused) == 4 * 9
    before = {file: file.stat().st_mtime_ns for file in fused}
    bench(request(settings=(*SETTINGS, "steps=41")))
    assert {file: file.stat().st_mtime_ns for file in Path("out/downstream/fused").rglob("*.png")} == before
    assert len({record.table for record in stored_records(Path("out"), DownstreamRecord)}) == 2


def test_other_data_or_labels_are_another_result() -> None:
    bench(request())
    label = Path("segmentation/test/label/test0.png")
    mask = cv2.imread(str(label), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(label), np.where(mask == 1, 0, mask))
    before = records()["copy-a", 0]
    _, lines = bench(request())
    after = records()["copy-a", 0]
    assert len(lines) == 3
    assert before.test.fingerprint != after.test.fingerprint
    assert before.train.fingerprint == after.train.fingerprint
    assert before.network.trained_sha256 == after.network.trained_sha256


@pytest.mark.parametrize("damaged", [True, False])
def test_a_checkpoint_that_is_damaged_or_of_other_data_is_passed_over(damaged: bool) -> None:
    bench(request())
    before = records()["copy-a", 0]
    folder = (Path("out") / before.place).with_name(".seed-0")
    assert not folder.exists()
    state = {} if damaged else {"network": torch.zeros(3)}
    save_checkpoint(folder, Checkpoint(7, state, {"identity": "another", "seed": 0}))
    if damaged:
        next((folder / "checkpoints").glob("*.safetensors")).write_bytes(b"half of a f")
    (Path("out") / before.place).unlink()
    outcome, lines = bench(request())
    assert (outcome.failures, len(lines)) == (0, 1)
    assert records()["copy-a", 0].network == before.network
    assert not folder.exists()


def test_results_of_another_program_take_part() -> None:
    asked = request()
    bench(asked)
    for split in ("train", "test"):
        Path(f"theirs/segmentation-{split}").mkdir(parents=True)
        for file in Path(f"out/downstream/fused/ivif/segmentation-{split}/copy-a").iterdir():
            shutil.copy(file, f"theirs/segmentation-{split}/{file.name.partition('.')[0]}.png")
    bench(replace(asked, results=("theirs=theirs",)))
    found = records()
    assert found["theirs", 0].network.trained_sha256 == found["copy-a", 0].network.trained_sha256
    assert found["theirs", 0].scores == found["copy-a", 0].scores
    next(Path("theirs/segmentation-train").iterdir()).unlink()
    outcome, lines = bench(replace(asked, results=("theirs=theirs",)))
    assert outcome.failures == 1
    assert "1 of 6 images of segmentation-train are missing" in lines[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network": "toy-raising"}, "RuntimeError: no kernel for this"),
        (
            {"network": "toy-diverging"},
            "downstream.total is nan at step 1; no checkpoint was written yet. Start again",
        ),
        ({"fusers": ("toy-picky",)}, "cannot fuse these sources: ZeroDivisionError: cannot"),
    ],
)
def test_what_fails_is_said_and_counted_and_the_rest_is_done(changes: dict[str, object], words: str) -> None:
    outcome, lines = bench(request(**changes))
    failed = [line for line in lines if line.startswith("failed: ")]
    assert len(failed) == outcome.failures == (1 if "fusers" in changes else 3)
    assert all(words in line for line in failed)
    assert len(records()) == 3 - (0 if "fusers" in changes else 3)


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"network": "toy-segmentr"}, UsageError, "did you mean 'toy-segmenter'?"),
        ({"network": "toy-judge"}, UsageError, "is an outer loss without labels"),
        ({"seeds": 0}, UsageError, "--seeds 0"),
        ({"limit": 0}, UsageError, "--limit 0"),
        ({"split": "val"}, DataError, "has no split 'val' (its splits: train, test)"),
        ({"split": "train"}, UsageError, "score on another"),
        ({"settings": ("network.widht=3",)}, UsageError, "did you mean 'width'?"),
        ({"tasks": ("ivif", "mif")}, UsageError, "one at a time"),
        ({"data": ("nowhere",)}, DataError, "nowhere"),
    ],
)
def test_what_cannot_be_asked_for_is_one_line(changes: dict[str, object], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind) as caught:
        bench(request(**changes))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("folders", "task"), [(("mri", "ct"), "mif"), (("vi", "ir"), "ivif")])
def test_the_task_is_the_only_one_that_the_data_has_pairs_of(folders: tuple[str, str], task: str) -> None:
    asked = request(settings=("steps=2", "batch=2"))
    for split in ("train", "test"):
        for was, now in zip(("vi", "ir"), folders, strict=True):
            Path("segmentation", split, was).rename(Path("segmentation", split, now))
    bench(asked)
    assert {record.task for record in records().values()} == {task}


def test_data_that_can_be_of_several_tasks_needs_one_to_be_named() -> None:
    asked = request()
    for split in ("train", "test"):
        for was, now in (("vi", "b"), ("ir", "a")):
            Path("segmentation", split, was).rename(Path("segmentation", split, now))
    with pytest.raises(UsageError, match=r"several tasks \(ivif, .*\): add --task"):
        bench(asked)


def test_data_without_labels_is_refused_before_anything_is_trained() -> None:
    asked = request()
    Path("segmentation/train/label/train3.png").unlink()
    with pytest.raises(DataError, match="train3"):
        bench(asked)
    shutil.rmtree("segmentation/train/label")
    shutil.rmtree("segmentation/test/label")
    with pytest.raises(DataError, match="label"):
        bench(asked)
    assert ToySegmenter.made == 0


def _command(out: str, steps: int) -> list[str]:
    args = ["bench-downstream", "toy-slow-segmenter", "--data", "segmentation", "--size", "48x64", "--seeds", "2"]
    settings = [part for pair in (f"steps={steps}", "batch=2") for part in ("--set", pair)]
    return ["-m", "tests.support.downstreamtoys", *args, *settings, "--device", "cpu", "-o", out]


def _digests(out: str) -> dict[tuple[str, int], str]:
    return {key: record.network.trained_sha256 for key, record in records(out).items()}


def test_a_killed_bench_goes_on_and_two_at_once_share_the_work() -> None:
    make_labelled(Path("segmentation"), "segmentation")
    first = Child(*_command("out", 30), env={"COLUMNS": "200"})
    deadline = time.monotonic() + 300
    while not records() and time.monotonic() < deadline and first.poll() is None:
        time.sleep(0.05)
    first.kill()
    first.communicate(60)
    done = records()
    assert 1 <= len(done) < 6
    both = [Child(*_command("out", 30), env={"COLUMNS": "200"}) for _ in range(2)]
    told = [process.communicate(timeout=400) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    lines = [line for _, stderr in told for line in stderr.splitlines() if line.startswith("done: ")]
    names = sorted(line.split(":")[1] for line in lines)
    assert len(names) == len(set(names)) == 6 - len(done)
    assert len(records()) == 6
    assert all(records()[key] == record for key, record in done.items())
    # Each prints the whole table, whoever did what.
    assert all(stdout.count("average") == 1 for stdout, _ in told)
    torch.set_num_threads(1)
    scorer = DownstreamScorer(network="toy-slow-segmenter", size="48x64", settings=("steps=30", "batch=2"), seeds=2)
    alone = BenchRequest(data=("segmentation",), device="cpu", scorer=scorer)
    run_bench(alone, Path("whole"), say=lambda line: None)
    assert _digests("whole") == _digests("out")
