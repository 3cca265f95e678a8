"""A bench: right values, nothing done twice, what fails is named and costs nothing else."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fusionkit.bench import image_scores, quality_job
from fusionkit.bench.benchmark import BenchRequest, Outcome, run_bench
from fusionkit.bench.jobs import locked_labels, run_jobs
from fusionkit.bench.methods import ResultsSpec
from fusionkit.bench.paths import record_path
from fusionkit.bench.quality_scorer import QualityScorer
from fusionkit.bench.record_files import read_record, read_records, write_record
from fusionkit.bench.records import Record
from fusionkit.bench.request import Bench
from fusionkit.data import find_pairs
from fusionkit.errors import DataError, UsageError
from fusionkit.fuse.model import load
from fusionkit.io.digest import file_digest
from fusionkit.models.weights import WeightsInfo, save_fuser
from fusionkit.tasks import IVIF
from tests.support import benchtoys
from tests.support.benchtoys import BenchLevel, BenchMean, BenchPicky, make_pairs


@pytest.fixture(autouse=True)
def _toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    benchtoys.register_for_a_test(monkeypatch)
    monkeypatch.chdir(tmp_path)
    yield
    image_scores.metric_use.cache_clear()


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    return make_pairs(tmp_path / "scenes", ["p0", "p1", "p2"])


SAID: list[str] = []


def bench(data: Path | str = "scenes", **changes: Any) -> Outcome:
    SAID.clear()
    asked: dict[str, Any] = {"tasks": ("ivif",), "fusers": ("bench-mean",), "device": "cpu"}
    asked |= {"metrics": ("EN", "BenchLevel")} | changes
    scorer = QualityScorer(**{name: asked.pop(name) for name in ("metrics", "profile", "maps") if name in asked})
    return run_bench(BenchRequest(data=(str(data),), scorer=scorer, **asked), Path("out"), say=SAID.append)


def stored(method: str = "bench-mean", profile: str = "refusion") -> Record:
    return read_record(record_path(Path("out"), "ivif", "scenes", profile, method), Record)


def slow_entropy(grey: np.ndarray) -> float:
    total = 0.0
    for level in range(256):
        share = float((grey == level).sum()) / grey.size
        total -= share * np.log2(share) if share else 0.0
    return total


def test_values_are_of_the_luminance_of_the_saved_colour_image(scenes: Path) -> None:
    outcome = bench()
    assert (outcome.failures, outcome.leads, SAID) == (0, True, [])
    own = stored()
    assert outcome.records == ((own,),)
    assert [image.name for image in own.images] == ["p0", "p1", "p2"]
    for image in own.images:
        saved = cv2.imread(str(Path("out") / image.fused), cv2.IMREAD_UNCHANGED)
        assert saved.shape == (24, 32, 3)
        assert saved.dtype == np.uint8
        grey = cv2.cvtColor(saved, cv2.COLOR_BGR2YCrCb)[..., 0]
        assert image.scores["EN"] == pytest.approx(slow_entropy(grey), abs=1e-12)
        assert image.scores["BenchLevel"] == pytest.approx(grey.astype(float).mean(), abs=1e-12)
        sources = [(Path("out") / source).resolve() for source in image.sources]
        assert sources == [scenes / side / f"{image.name}.png" for side in ("ir", "vi")]
        load("bench-mean", device="cpu").fuse(*sources, bits=8).save("alone.png")
        assert Path("alone.png").read_bytes() == (Path("out") / image.fused).read_bytes()


def test_the_record_says_what_decides_the_numbers(scenes: Path) -> None:
    bench()
    own = stored()
    assert own.data.fingerprint == find_pairs(scenes, IVIF).fingerprint()
    assert (own.data.pairs, own.profile, own.method.stretch, own.method.parameters) == (3, "refusion", "none", 0)
    assert own.method.fuser == "tests.support.benchtoys:BenchMean"
    assert own.metrics["EN"].version.startswith("image-fusionkit ")
    assert own.metrics["BenchLevel"].higher_is_better is False
    assert "torch" in own.environment["versions"]
    costs = [image.cost for image in own.images]
    assert all(cost and cost.seconds > 0 and cost.device.startswith("cpu") for cost in costs)
    assert [cost.peak_bytes is None for cost in costs if cost] == [False, True, True]


def test_nothing_is_fused_or_scored_twice(scenes: Path) -> None:
    bench()
    calls, levels = BenchMean.calls, BenchLevel.calls
    before = stored()
    assert (calls, levels) == (4, 3)  # the first pair once more, to warm up
    bench()
    assert (BenchMean.calls, BenchLevel.calls) == (calls, levels)
    assert stored() == before


def test_metrics_asked_for_later_are_added_without_fusing(scenes: Path) -> None:
    bench(metrics=("BenchLevel",))
    calls = BenchMean.calls
    outcome = bench(metrics=("SD", "BenchLevel"))
    assert (BenchMean.calls, BenchLevel.calls) == (calls, 3)
    assert list(stored().metrics) == ["SD", "BenchLevel"]
    bench(metrics=("EN",))
    assert set(stored().images[0].scores) == {"EN", "SD", "BenchLevel"}
    assert set(outcome.records[0][0].metrics) == {"SD", "BenchLevel"}


def test_another_profile_has_its_own_record_and_the_same_images(scenes: Path) -> None:
    bench(metrics=("SSIM",))
    calls = BenchMean.calls
    bench(metrics=("SSIM",), profile="standard")
    assert BenchMean.calls == calls
    one, two = stored(), stored(profile="standard")
    assert one.images[0].fused_sha256 == two.images[0].fused_sha256
    assert one.images[0].scores != two.images[0].scores


def test_a_limit_grows_and_never_takes_away(scenes: Path) -> None:
    bench(limit=1)
    assert [image.name for image in stored().images] == ["p0"]
    bench()
    assert BenchMean.calls == 2 + 3
    assert len(stored().images) == 3
    outcome = bench(limit=2)
    assert len(stored().images) == 3
    assert [image.name for image in outcome.records[0][0].images] == ["p0", "p1"]
    (scenes / "ir/p2.png").unlink()
    (scenes / "vi/p2.png").unlink()
    bench()
    assert [image.name for image in stored().images] == ["p0", "p1"]
    assert stored().data.fingerprint == find_pairs(scenes, IVIF).fingerprint()


def test_what_changed_is_done_again(scenes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench()
    calls, levels, before = BenchMean.calls, BenchLevel.calls, stored()
    shutil.copy(scenes / "ir/p0.png", scenes / "ir/p1.png")  # another source: fused and scored
    Path("out", before.images[2].fused).write_bytes(b"spoilt")  # the same result: fused, not scored
    bench()
    assert BenchMean.calls == calls + 1 + 2
    assert BenchLevel.calls == levels + 1
    after = stored()
    assert after.images[0] == before.images[0]
    assert after.images[1].scores != before.images[1].scores
    assert after.images[2].model_copy(update={"cost": None}) == before.images[2].model_copy(update={"cost": None})
    monkeypatch.setattr(image_scores, "settings_of", lambda name, profile: {"newer": name})
    image_scores.metric_use.cache_clear()
    calls = BenchMean.calls
    bench()
    assert (BenchMean.calls, BenchLevel.calls) == (calls, levels + 1 + 3)
    assert stored().metrics["EN"].settings == {"newer": "EN"}


def test_scores_that_another_process_writes_meanwhile_are_in_the_record(
    scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench(metrics=("EN",))
    theirs = stored()
    use = image_scores.metric_use("SD", "refusion")
    images = tuple(image.model_copy(update={"scores": {**image.scores, "SD": 1.25}}) for image in theirs.images)
    theirs = theirs.model_copy(update={"images": images, "metrics": {**theirs.metrics, "SD": use}})
    score_image = quality_job.score_image
    others = iter([theirs])

    def score(*args: Any, **settings: Any) -> Any:
        for record in others:
            write_record(Path("out"), record)
        return score_image(*args, **settings)

    monkeypatch.setattr(quality_job, "score_image", score)
    bench(metrics=("AG",))
    for image in stored().images:
        assert set(image.scores) == {"EN", "AG", "SD"}
        assert image.scores["SD"] == 1.25


def test_a_changed_score_is_computed_again_and_said(scenes: Path) -> None:
    bench()
    before = stored()
    path = record_path(Path("out"), "ivif", "scenes", "refusion", "bench-mean")
    content = json.loads(path.read_text())
    content["images"][0]["scores"]["EN"] = 9.0
    path.write_text(json.dumps(content))
    assert bench().failures == 0
    repaired = ["repaired: bench-mean on ivif scenes: its record was changed after it was written: done again"]
    assert repaired == SAID
    after = stored()
    assert [image.scores for image in after.images] == [image.scores for image in before.images]
    assert after.faults == ()


def test_a_value_that_cannot_be_had_is_tried_once_a_bench_by_all_processes(
    scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    score_image = quality_job.score_image

    def score(fused: Path, *args: Any, **settings: Any) -> Any:
        asked.append(fused.stem)
        return score_image(fused, *args, **settings)

    monkeypatch.setattr(quality_job, "score_image", score)
    scorer = QualityScorer(metrics=("BenchBroken",), profile="standard")
    request = BenchRequest(tasks=("ivif",), data=("scenes",), fusers=("bench-mean",), scorer=scorer, device="cpu")
    work = Bench(request=request, out=Path("out"), device=torch.device("cpu"), say=SAID.append)
    processes = [scorer.jobs(work), scorer.jobs(work)]
    for jobs in processes:
        assert run_jobs(jobs, work.out, say=SAID.append) == 0
    assert asked == ["p0", "p1", "p2"]
    assert {why for image in stored(profile="standard").images for why in image.reasons.values()}
    assert run_jobs(scorer.jobs(work), work.out, say=SAID.append) == 0
    assert len(asked) == 6


def test_a_replaced_fused_image_is_fused_again_and_said(scenes: Path) -> None:
    bench()
    before = stored()
    shutil.copy(scenes / "vi/p0.png", Path("out", before.images[1].fused))
    bench()
    said = "fused images that are not those that were scored: fused again"
    assert [f"repaired: bench-mean on ivif scenes: {said}"] == SAID
    for image in stored().images:
        assert file_digest(Path("out", image.fused)) == image.fused_sha256


def test_a_label_of_two_methods_at_once_is_refused_and_one_after_the_other_is_not(scenes: Path) -> None:
    held = hold_label("ours", "ivif", "scenes", identity="0" * 64)
    with held, pytest.raises(UsageError, match=r"ours is the label of another method in out.*LABEL=MODEL"):
        bench(fusers=("ours=bench-mean",))
    assert not Path("out/fused").exists()
    assert bench(fusers=("ours=bench-mean",)).failures == 0
    assert len(list(Path("out/locks").glob("*-*.lock"))) == 1


def hold_label(*label: str, identity: str) -> Any:
    """Another bench's hold on a label."""
    job = SimpleNamespace(label=label, identity=identity)
    return locked_labels(Path("out"), [job])  # type: ignore[list-item]


def test_the_name_of_a_data_set_does_not_lead_to_images_elsewhere(tmp_path: Path) -> None:
    for place in ("given/mine", "elsewhere/other"):
        Path(place).mkdir(parents=True)
    given = ResultsSpec("theirs", Path("given/mine"))
    for name in ("../../elsewhere/other", str(tmp_path / "elsewhere/other"), "..", "."):
        assert given.place("ivif", name, name) == given.folder
    (Path("given/mine") / "My Data").mkdir()
    assert given.place("ivif", "My Data", "My Data-test") == given.folder / "My Data"


def test_a_damaged_record_is_named(scenes: Path) -> None:
    bench()
    path = record_path(Path("out"), "ivif", "scenes", "refusion", "bench-mean")
    path.write_text("{")
    with pytest.raises(DataError, match=r"bench-mean\.json.*delete it"):
        bench()
    path.unlink()
    assert bench().failures == 0
    assert len(stored().images) == 3


def test_a_fuser_that_raises_costs_its_own_image_alone(scenes: Path) -> None:
    white = cv2.imread(str(scenes / "ir/p1.png"), cv2.IMREAD_UNCHANGED)
    white[0, 0] = 255
    cv2.imwrite(str(scenes / "ir/p1.png"), white)
    outcome = bench(fusers=("bench-picky", "bench-mean"))
    assert outcome.failures == 1
    raised = "BenchPicky of tests.support.benchtoys cannot fuse these sources: ZeroDivisionError: a white corner"
    (said,) = SAID
    assert said == f"failed: bench-picky on ivif scenes: p1: {raised}; correct it, or use another"
    assert stored("bench-picky").failures == {"p1": f"{raised}; correct it, or use another"}
    assert [image.name for image in stored("bench-picky").images] == ["p0", "p2"]
    assert len(stored().images) == 3
    assert not Path("out/fused/ivif/scenes/bench-picky/p1.png").exists()
    calls = BenchPicky.calls
    white[0, 0] = 7
    cv2.imwrite(str(scenes / "ir/p1.png"), white)
    assert bench(fusers=("bench-picky",)).failures == 0
    assert BenchPicky.calls == calls + 2


def test_sources_that_cannot_be_read_or_have_no_partner_are_failures_of_their_pair(scenes: Path) -> None:
    (scenes / "vi/p1.png").write_bytes(b"no image")
    (scenes / "ir/p9.png").write_bytes(b"")
    outcome = bench()
    assert outcome.failures == 2
    assert set(stored().failures) == {"p1", "p9"}
    assert "vi/p1.png" in stored().failures["p1"]
    assert stored().failures["p9"] == "no partner in vi"
    assert [image.name for image in stored().images] == ["p0", "p2"]


def test_a_metric_without_a_value_is_null_with_the_reason_and_the_others_are_kept(scenes: Path) -> None:
    for name, level in (("p0", 30), ("p1", 120), ("p2", 220)):
        for side in ("ir", "vi"):
            cv2.imwrite(str(scenes / side / f"{name}.png"), np.full((24, 32), level, np.uint8))
    outcome = bench(metrics=("EN", "BenchBroken", "MS-SSIM"), profile="standard")
    own = stored(profile="standard")
    assert [image.scores["EN"] for image in own.images] == [0, 0, 0]
    assert [image.reasons["BenchBroken"] for image in own.images] == [
        "not defined on this image",
        "infinite on this image",
        "BenchBroken of tests.support.benchtoys cannot score these images: ValueError: too bright; correct it, or use "
        "another",
    ]
    assert all("needs images of at least" in image.reasons["MS-SSIM"] for image in own.images)
    # What is not defined is said, but only what could not be computed has failed.
    assert outcome.failures == 1 + 3
    assert [line.partition(":")[0] for line in SAID] == ["note", "note", "failed", "failed"]
    assert own.mean("BenchBroken") is None


def test_results_of_another_program_are_matched_checked_and_scored(scenes: Path) -> None:
    make_pairs(scenes, ["p3"])
    theirs = Path("theirs")
    theirs.mkdir()
    good = np.random.default_rng(3).integers(0, 256, (24, 32), dtype=np.uint8)
    cv2.imwrite("theirs/p0.bmp", good)
    cv2.imwrite("theirs/p1.png", good[:-1])
    Path("theirs/p2.png").write_bytes(Path("theirs/p0.bmp").read_bytes()[:100])
    outcome = bench(fusers=("none",), results=("theirs=theirs",))
    own = stored("theirs")
    assert own.method.kind == "results"
    assert own.method.parameters is None
    (image,) = own.images
    assert (image.name, image.fused, image.cost) == ("p0", "../theirs/p0.bmp", None)
    assert image.scores["EN"] == pytest.approx(slow_entropy(good), abs=1e-12)
    assert outcome.failures == 3
    assert "32x24 pixels" in own.failures["p1"]
    assert "theirs/p2.png" in own.failures["p2"]
    assert own.failures["p3"] == "theirs: no image of it"
    assert len(SAID) == 3
    cv2.imwrite("theirs/p1.png", good)
    assert bench(fusers=("none",), results=("theirs=theirs",)).failures == 2
    assert [image.name for image in stored("theirs").images] == ["p0", "p1"]
    cv2.imwrite("theirs/p1.jpg", good)
    bench(fusers=("none",), results=("theirs=theirs",))
    assert stored("theirs").failures["p1"] == "theirs: two images of that name (p1.jpg, p1.png)"
    with pytest.raises(DataError, match="has no image of ivif scenes"):
        bench(fusers=("none",), results=("theirs=out",))


def test_a_full_disk_ends_the_bench_and_the_same_command_goes_on(scenes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.replace

    def full(source: Any, target: Any) -> None:
        if Path(target).name == "p1.png":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        whole(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(DataError, match=r"p1\.png.*No space left on device"):
        bench()
    assert [file.name for file in Path("out/fused").rglob("*.*")] == ["p0.png"]
    monkeypatch.setattr(os, "replace", whole)
    calls = BenchMean.calls
    assert bench().failures == 0
    assert BenchMean.calls == calls + 1 + 2
    assert BenchLevel.calls == 3


def test_models_are_named_and_described(scenes: Path) -> None:
    fuser = benchtoys.BenchBlend()
    save_fuser(Path("runs/one/model.safetensors"), fuser, WeightsInfo("bench-blend", "ivif", training={"steps": 7}))
    save_file({"alpha": torch.tensor(0.5)}, "published.safetensors")
    bench(fusers=("runs/one", "ours=runs/one/model.safetensors", "official=bench-blend:published.safetensors"))
    records = {record.method.name: record for record in read_records(Path("out"))}
    assert {name: record.method.kind for name, record in records.items()} == {
        "one": "run",
        "ours": "weights",
        "official": "weights",
    }
    assert records["one"].method.parameters == 1
    assert records["one"].method.training == {"steps": 7}
    assert records["one"].method.config == {"start": 0.25}
    assert records["one"].method.weights_sha256 == records["ours"].method.weights_sha256
    assert records["one"].images[0].fused_sha256 == records["ours"].images[0].fused_sha256
    # Half and half is the mean.
    bench(fusers=("bench-mean",))
    assert records["official"].images[0].fused_sha256 == stored().images[0].fused_sha256


def test_other_weights_under_one_name_are_fused_anew(scenes: Path) -> None:
    for start in (0.25, 0.75):
        fuser = benchtoys.BenchBlend(benchtoys.BlendOptions(start))
        save_fuser(Path(f"runs/{start}/model.safetensors"), fuser, WeightsInfo("bench-blend", "ivif"))
        bench(fusers=(f"best=runs/{start}",))
    best = stored("best")
    assert best.method.config == {"start": 0.75}
    bench(fusers=("runs/0.75",))
    assert [i.scores for i in best.images] == [i.scores for i in stored("0.75").images]


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"fusers": ("bench-meen",)}, UsageError, "did you mean 'bench-mean'"),
        ({"fusers": ("bench-mean", "bench-mean")}, UsageError, "two methods are called 'bench-mean'"),
        ({"fusers": ("a b=bench-mean", "a_b=average")}, UsageError, "two methods are called 'a_b'"),
        ({"fusers": ("x=",)}, UsageError, "write LABEL=MODEL"),
        ({"fusers": ("mertens",)}, UsageError, "mertens: is for meif, and the data is for ivif"),
        ({"fusers": ("bench-blend",)}, UsageError, "fusionkit train bench-blend"),
        ({"fusers": ("none",)}, UsageError, "--fuser none: is to score --results alone"),
        ({"fusers": (), "results": ("gff=scenes/ir",)}, UsageError, "two methods are called 'gff'"),
        ({"results": ("theirs",)}, UsageError, "write NAME=DIR"),
        ({"results": ("theirs=none",)}, DataError, "none is no folder"),
        ({"tasks": ("ivf",)}, UsageError, "did you mean 'ivif'"),
        ({"tasks": ()}, UsageError, "add --task"),
        ({"limit": 0}, UsageError, "--limit 0"),
        ({"metrics": ("ENN",)}, UsageError, "did you mean 'EN'"),
        ({"profile": "vifb", "metrics": ("SCD",)}, UsageError, "profile 'vifb' has no SCD"),
        ({"profile": "refusio"}, UsageError, "did you mean 'refusion'"),
        ({"device": "gpu"}, UsageError, "--device gpu"),
        ({"data": "none"}, DataError, "no such folder"),
    ],
)
def test_misuse_is_refused_before_anything_is_written(
    scenes: Path, changes: dict[str, Any], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        bench(**changes)
    assert not Path("out").exists()


def test_a_manifest_gives_every_task_and_data_set_its_own_records(scenes: Path) -> None:
    rows = ["task,dataset,split,name,file_a,file_b"]
    rows += ["ivif,One,test,x,scenes/ir/p0.png,scenes/vi/p0.png", "ivif,Two,test,x,scenes/ir/p1.png,scenes/vi/p1.png"]
    rows += ["mif,Three,test,x,scenes/ir/p2.png,scenes/vi/p2.png", "ivif,One,train,y,scenes/ir/p2.png,scenes/vi/p2.png"]
    Path("MANIFEST.csv").write_text("\n".join(rows) + "\n")
    bench(".", tasks=())
    found = {(r.task, r.dataset, r.split): [i.name for i in r.images] for r in read_records(Path("out"))}
    assert found == {("ivif", "One", "test"): ["x"], ("ivif", "Two", "test"): ["x"], ("mif", "Three", "test"): ["x"]}
    bench(".", split="all")
    found = {(r.dataset, r.split): [i.name for i in r.images] for r in read_records(Path("out"), task="ivif")}
    assert found[("One", "all")] == ["x", "y"]


def test_a_source_that_is_not_the_manifest_s_is_a_failure(scenes: Path) -> None:
    Path("MANIFEST.csv").write_text(
        f"task,dataset,split,name,file_a,file_b,sha256_a\nivif,One,,x,scenes/ir/p0.png,scenes/vi/p0.png,{'0' * 64}\n"
    )
    assert bench(".").failures == 1
    assert SAID[0].startswith("failed: bench-mean on ivif One: x: ")
    assert "is not the file that the manifest describes" in SAID[0]
