"""Records: what is written is read back, and nothing else is taken for one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fusionkit.bench.paths import file_name, record_path
from fusionkit.bench.record_files import read_record, read_records, write_record
from fusionkit.bench.records import Cost, DataNote, ImageResult, Method, MetricUse, Record, common_images
from fusionkit.errors import DataError, UsageError


def image(
    name: str, *, digest: str = "0", reasons: dict[str, str] | None = None, **scores: float | None
) -> ImageResult:
    return ImageResult(
        name=name,
        sources=(f"../ir/{name}.png", f"../vi/{name}.png"),
        sources_sha256=(digest * 64, "1" * 64),
        fused=f"fused/{name}.png",
        fused_sha256="2" * 64,
        height=24,
        width=32,
        scores=scores,
        reasons=reasons or {},
        cost=Cost(device="cpu", seconds=0.5, peak_bytes=1000, memory="resident set"),
    )


def record(
    *images: ImageResult, method: str = "mean", task: str = "ivif", failures: dict[str, str] | None = None
) -> Record:
    return Record(
        task=task,
        dataset="MSRS",
        split="test",
        profile="refusion",
        method=Method(name=method, kind="fuser", origin=method),
        data=DataNote(origin="MSRS:data", fingerprint="a" * 64, pairs=len(images) + len(failures or {})),
        metrics={"EN": MetricUse(version="image-fusionkit 0"), "CE": MetricUse(version="x", higher_is_better=False)},
        images=images,
        failures=failures or {},
    )


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    own = record(
        image("a", EN=1.0 / 3, CE=None, reasons={"CE": "infinite"}), image("b", EN=2.0), failures={"c": "lost"}
    )
    path = record_path(tmp_path, "ivif", "MSRS-test", "refusion", "mean")
    written = write_record(tmp_path, own)
    assert read_record(path, Record) == written
    assert read_records(tmp_path) == (written,)
    assert written.model_copy(update={"sha256": "", "place": ""}) == own


def test_records_are_sorted_and_chosen_by_task(tmp_path: Path) -> None:
    for task in ("mif", "ivif"):
        for method in ("z", "b"):
            write_record(tmp_path, record(image("a", EN=1.0), method=method, task=task))
    assert [(r.task, r.method.name) for r in read_records(tmp_path)] == [
        ("ivif", "b"),
        ("ivif", "z"),
        ("mif", "b"),
        ("mif", "z"),
    ]
    assert {r.task for r in read_records(tmp_path, task="mif")} == {"mif"}
    with pytest.raises(UsageError, match="did you mean 'mif'"):
        read_records(tmp_path, task="miff")
    with pytest.raises(DataError, match="no folder results"):
        read_records(tmp_path / "results")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r.update(format=2), "format 2.*upgrade"),
        (lambda r: r.update(colour="red"), "colour"),
        (lambda r: r.pop("profile"), "profile"),
        (lambda r: r["method"].update(kind="magic"), "method.kind"),
        (lambda r: r["data"].update(fingerprint="abc"), "data.fingerprint"),
        (lambda r: r["images"][0].update(height="24"), "images.0.height"),
        (lambda r: r["images"][0]["scores"].update(EN=None), "null exactly where a reason is given"),
        (lambda r: r["images"][0]["reasons"].update(EN="why"), "null exactly where a reason is given"),
        (lambda r: r["images"][0]["scores"].update(XY=1.0), "a has a score of XY"),
        (lambda r: r["images"][0].update(sources_sha256=[]), "2 sources but 0 digests"),
        (lambda r: r["images"].append(r["images"][0]), "listed twice"),
        (lambda r: r["failures"].update(a="lost"), "both a result and a failure"),
    ],
)
def test_what_is_no_record_is_an_error_that_names_file_and_field(tmp_path: Path, change: Any, words: str) -> None:
    path = tmp_path / write_record(tmp_path, record(image("a", EN=1.0))).place
    fields = json.loads(path.read_text())
    change(fields)
    path.write_text(json.dumps(fields))
    with pytest.raises(DataError, match=words) as caught:
        read_record(path, Record)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', "\xff", '{"format": NaN}'])
def test_damaged_files_are_an_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"x\.json"):
        read_record(file, Record)


def test_values_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        image("a", EN=float("nan"))


def test_a_mean_over_fewer_images_is_no_mean() -> None:
    own = record(
        image("a", EN=1.0, CE=4.0), image("b", EN=2.0, CE=None, reasons={"CE": "not defined"}), image("c", EN=6.0)
    )
    assert own.mean("EN") == 3.0
    assert own.mean("EN", ["a", "b"]) == 1.5
    assert own.mean("CE") is None
    assert own.mean("CE", ["a"]) == 4.0
    assert own.mean("EN", ["a", "d"]) is None
    assert own.mean("EN", []) is None
    assert own.values("CE") == {"a": 4.0, "b": None}
    assert own.seconds() == 0.5
    assert own.peak_bytes() == 1000


def test_common_images_have_equal_sources_and_every_value() -> None:
    one = record(image("a", EN=1.0), image("b", EN=1.0), image("c", EN=1.0), image("d", EN=1.0))
    two = record(image("d", EN=2.0), image("c", EN=None, reasons={"EN": "x"}), image("b", EN=2.0, digest="9"))
    assert common_images([one, two]) == ("c", "d")
    assert common_images([one, two], ["EN"]) == ("d",)
    assert common_images([one], ["EN", "CE"]) == ()
    assert common_images([]) == ()


def test_a_part_of_a_data_set_counts_as_the_data_set_and_a_like_name_does_not() -> None:
    def saw(*names: str) -> bool | None:
        method = Method(name="m", kind="weights", origin="m", parameters=9, trained_on=names or None)
        return method.saw("TNO")

    assert (saw("MSRS", "TNO_extra"), saw("TNO"), saw("TNOX", "tno")) == (True, True, False)
    assert saw() is None
    assert Method(name="average", kind="fuser", origin="average", parameters=0).saw("TNO") is False
    assert Method(name="theirs", kind="results", origin="theirs").saw("TNO") is None


def test_names_become_file_names_that_stay_in_their_folder() -> None:
    assert file_name("runs/mif 1") == "runs_mif_1"
    assert file_name("../../x") == "_.._x"
    assert file_name("..") == "_"
    assert file_name("größe-1.5+b") == "größe-1.5+b"
