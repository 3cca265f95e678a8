"""Records that were changed, and files that were replaced, are marked, not ranked and not shown.

Each test changes one thing, knows what it was, and holds the board against the one before the change.
"""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fusionkit.bench.record_files import seal, write_record
from fusionkit.bench.report.board import load_downstream, load_results, write_board
from fusionkit.bench.report.tables import Row, Table
from fusionkit.errors import DataError
from tests.support.boardrecords import bench_folder
from tests.support.downstreamrecords import boxes, masks

METHODS = ("alpha", "beta", "gamma")
PLACE = Path("results/ivif/MSRS-test/refusion")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bench_folder(tmp_path_factory.mktemp("whole") / "bench", methods=METHODS).parent


@pytest.fixture
def out(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "copy")
    return tmp_path / "copy" / "bench"


def change(file: Path, how: Callable[[dict[str, Any]], object], *, sealed: bool) -> None:
    """Change a record on the disk; ``sealed`` as one would who takes a new digest of it."""
    content = json.loads(file.read_text(encoding="utf-8"))
    how(content)
    if sealed:
        content["sha256"] = seal(content)
    file.write_text(json.dumps(content), encoding="utf-8")


def row_of(out: Path, method: str = "beta") -> Row:
    (table,) = load_results(out)
    return next(row for row in table.rows if row.method == method)


def _score(content: dict[str, Any]) -> None:
    content["images"][0]["scores"]["EN"] += 3


def _without_an_image(content: dict[str, Any]) -> None:
    del content["images"][0]


def _other_way(content: dict[str, Any]) -> None:
    content["metrics"]["EN"]["higher_is_better"] = False


def _other_unit(content: dict[str, Any]) -> None:
    content["metrics"]["EN"]["unit"] = "percent"


@pytest.mark.parametrize(
    ("how", "sealed", "mark"),
    [
        (_score, False, "changed after it was written"),
        (_without_an_image, False, "changed after it was written"),
        (_without_an_image, True, "1 of 4 pairs have no result"),
        (_other_way, False, "changed after it was written"),
        (_other_way, True, "EN said to be better when lower, and is better when higher"),
        (_other_unit, True, "EN said to be in percent, and is in bit"),
        (lambda content: content.update(profile="standard"), True, "of results/ivif/MSRS-test/standard/beta.json, and"),
    ],
)
def test_a_changed_record_is_marked_and_not_ranked(
    out: Path, how: Callable[[dict[str, Any]], object], sealed: bool, mark: str
) -> None:
    before = {row.method: (row.ranked, row.marks) for row in load_results(out)[0].rows}
    assert before == dict.fromkeys(METHODS, (True, ()))
    change(out / PLACE / "beta.json", how, sealed=sealed)
    tables = load_results(out)
    rows = {row.method: row for table in tables for row in table.rows}
    assert not rows["beta"].ranked
    assert any(mark in found for found in rows["beta"].marks), rows["beta"].marks
    assert rows["alpha"].ranked
    assert rows["gamma"].ranked
    assert all(column.higher_is_better for table in tables for column in table.scores)
    words = write_board(out).markdown.read_text(encoding="utf-8")
    assert "beta †" in words


def test_a_direction_that_is_wrong_in_every_record_is_the_installed_one_all_the_same(out: Path) -> None:
    for name in METHODS:
        change(out / PLACE / f"{name}.json", _other_way, sealed=True)
    (table,) = load_results(out)
    assert not any(row.ranked for row in table.rows)
    assert next(column for column in table.columns if column.key == "EN").higher_is_better


def test_a_record_of_another_method_or_a_second_one_is_marked_at_its_wrong_place(out: Path) -> None:
    shutil.copy(out / PLACE / "beta.json", out / PLACE / "zz.json")
    change(out / PLACE / "zz.json", _score, sealed=True)
    (table,) = load_results(out)
    both = [row for row in table.rows if row.method == "beta"]
    assert [row.ranked for row in both] == [True, False]
    assert both[1].marks[0] == f"of {PLACE}/beta.json, and stands in {PLACE}/zz.json"
    assert sum(table.placed("EN")) == 3
    change(out / PLACE / "alpha.json", lambda content: content["method"].update(name="delta"), sealed=True)
    assert not row_of(out, "delta").ranked


def test_a_record_of_before_there_were_digests_is_ranked_and_the_table_says_so(out: Path) -> None:
    change(out / PLACE / "beta.json", lambda content: content.pop("sha256"), sealed=False)
    (table,) = load_results(out)
    assert all(row.ranked for row in table.rows)
    assert "without a digest of their content, as records had none before: 1 of 3" in table.notes


def test_a_changed_record_counts_in_no_other_rows_wins(out: Path) -> None:
    change(out / PLACE / "beta.json", _score, sealed=False)
    (table,) = load_results(out)
    left = {row.method: row.value("win_rate") for row in table.rows}
    (out / PLACE / "beta.json").unlink()
    (alone,) = load_results(out)
    assert left == {**{row.method: row.value("win_rate") for row in alone.rows}, "beta": None}


def _values(page: Path) -> list[dict[str, Any]]:
    found = re.search(r'id="values-0">(.*?)</script>', page.read_text(encoding="utf-8"))
    assert found
    methods: list[dict[str, Any]] = json.loads(found[1])["methods"]
    return methods


def _pictures(out: Path) -> set[bytes]:
    return {file.read_bytes() for file in (out / "previews").rglob("*.jpg")}


@pytest.mark.parametrize("seen_before", [False, True])
def test_a_replaced_fused_image_is_marked_and_never_shown(out: Path, seen_before: bool) -> None:
    if seen_before:
        write_board(out)
    before = _pictures(out) if seen_before else set()
    file = sorted((out / "fused/ivif/MSRS-test/beta").iterdir())[0]
    cv2.imwrite(str(file), np.full((36, 48), 200, np.uint8))
    page = write_board(out).page
    row = row_of(out)
    assert not row.ranked
    assert row.marks == ("1 of 4 fused images are no longer those that were scored",)
    number = [row.method for row in load_results(out)[0].rows].index("beta")
    shown = _values(page)[number]["fused"]
    assert shown[0][1] == ""
    assert bool(shown[0][0]) == seen_before  # the picture that was scored, where there is one
    assert all(all(pair) for pair in shown[1:])
    if seen_before:
        assert _pictures(out) == before


def test_a_source_that_changed_is_not_shown(out: Path) -> None:
    for file in (out.parent / "the data").glob("* a.png"):
        cv2.imwrite(str(file), np.zeros((36, 48), np.uint8))
    write_board(out)
    text = (out / "index.html").read_text(encoding="utf-8")
    found = re.search(r'id="values-0">(.*?)</script>', text)
    assert found
    for image in json.loads(found[1])["images"]:
        assert image["sources"][0] == ["", ""]
        assert all(image["sources"][1])


def test_a_record_never_makes_the_board_show_a_file_outside(out: Path) -> None:
    private = out.parent / "private.png"
    cv2.imwrite(str(private), np.full((8, 8), 7, np.uint8))

    def point(content: dict[str, Any]) -> None:
        content["images"][0]["fused"] = "../private.png"
        content["images"][1]["truth"] = "../private.png"
        content["images"][1]["truth_sha256"] = "0" * 64

    change(out / PLACE / "beta.json", point, sealed=True)
    page = write_board(out).page.read_text(encoding="utf-8")
    assert not row_of(out).ranked
    assert "1 of 4 fused images are outside the bench's folder" in row_of(out).marks
    assert "private" not in page
    for file in (out / "previews").rglob("*.jpg"):
        assert np.median(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)) != 7


def test_devices_and_pipes_are_neither_read_nor_waited_for(out: Path) -> None:
    os.mkfifo(out / "pipe.png")

    def point(content: dict[str, Any]) -> None:
        content["images"][0]["fused"] = "pipe.png"
        for image in content["images"][1:]:
            image |= {"truth": os.path.relpath("/dev/zero", out), "truth_sha256": "0" * 64}

    change(out / PLACE / "beta.json", point, sealed=True)
    write_board(out)
    assert "1 of 4 fused images are no longer those that were scored" in row_of(out).marks


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("fused", "/etc/passwd"),
        ("fused", "a\0b"),
        ("fused", "x" * 5000),
        ("name", "../../x"),
        ("name", "/etc/x"),
        ("maps", ["../x"]),
        ("truth", "y.png"),  # without a digest
        ("height", 10**400),
        ("scores", {"EN": 1e308}),
        ("cost", {"device": "d", "seconds": 1e308}),
        ("cost", {"device": "d", "seconds": 1.0, "peak_bytes": 10**400}),
    ],
)
def test_what_no_bench_writes_is_refused_in_one_line(out: Path, field: str, value: object) -> None:
    change(out / PLACE / "beta.json", lambda content: content["images"][0].update({field: value}), sealed=True)
    with pytest.raises(DataError, match=r"beta\.json") as caught:
        load_results(out)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def _leaves(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [path, *(found for key, value in inner for found in _leaves(value, (*path, key)))]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_whatever_is_changed_in_a_record_is_refused_or_marked(whole: Path, data: st.DataObject) -> None:
    """Any value of a record replaced or taken out: refused by one line, or its row is marked and not ranked."""
    file = whole / "bench" / PLACE / "beta.json"
    text = file.read_text(encoding="utf-8")
    content = json.loads(text)
    path = data.draw(st.sampled_from(_leaves(content)[1:]))
    changed = copy.deepcopy(content)
    place = changed
    for key in path[:-1]:
        place = place[key]
    if data.draw(st.booleans()):
        del place[path[-1]]
    else:
        odd = st.sampled_from([None, True, 0, -1, 5, 1.5, 1e300, "", "x", "1" * 64, "../x", [], {}, [1], {"a": 1}])
        place[path[-1]] = data.draw(odd)
    file.write_text(json.dumps(changed), encoding="utf-8")
    try:
        ranked, refusal = _ranked_or_refused(whole / "bench")
    finally:
        file.write_text(text, encoding="utf-8")
    assert refusal is None or ("beta.json" in refusal and "\n" not in refusal)
    # Only a record of no digest at all, as of before there was one, is taken as it is.
    if changed != content and changed.get("sha256"):
        assert not ranked - {"alpha", "gamma"}


def _ranked_or_refused(out: Path) -> tuple[set[str], str | None]:
    try:
        return {row.method for table in load_results(out) for row in table.rows if row.ranked}, None
    except DataError as error:
        return set(), str(error)


@pytest.mark.parametrize(
    ("how", "sealed", "mark"),
    [
        (lambda content: content["scores"].update(mIoU=0.99), False, "seed 1: changed after it was written"),
        (
            lambda content: content["scores"].update(mIoU=0.99),
            True,
            "seed 1: its scores do not follow from its confusion matrices",
        ),
        (
            lambda content: content["per_class"]["road"].update(IoU=0.99),
            True,
            "seed 1: its scores do not follow from its confusion matrices",
        ),
        (
            lambda content: content["images"][0].update(confusion=[[9, 9], [9, 9]]),
            True,
            "seed 1: its scores do not follow from its confusion matrices",
        ),
        (lambda content: content["images"].pop(), True, "seed 1: 2 predictions of 3 images"),
        (lambda content: content.update(seed=7), True, "seed-1.json"),
        (lambda content: content["protocol"].update(steps=31), True, "another network or protocol"),
    ],
)
def test_a_changed_downstream_record_is_marked_and_not_ranked(
    tmp_path: Path, how: Callable[[dict[str, Any]], object], sealed: bool, mark: str
) -> None:
    for name in ("a", "b", "c"):
        for seed in (0, 1):
            write_record(tmp_path, masks(name, seed))
    assert [row.ranked for row in _downstream(tmp_path).rows] == [True] * 3
    file = next((tmp_path / "downstream/results").rglob("b/seed-1.json"))
    change(file, how, sealed=sealed)
    rows = {row.method: row for row in _downstream(tmp_path).rows}
    assert [rows[name].ranked for name in "abc"] == [True, False, True]
    assert any(mark in found for found in rows["b"].marks), rows["b"].marks


@pytest.mark.parametrize(
    "how",
    [
        lambda content: content["scores"].update({"mAP75": 0.99}),
        lambda content: content["per_class"]["person"].update({"AP50": 0.99}),
        lambda content: content["images"][0]["boxes"].pop(),
        lambda content: content["images"][0]["boxes"][0].update(score=0.5),
    ],
)
def test_scores_of_a_detector_that_its_boxes_do_not_give_are_marked(
    tmp_path: Path, how: Callable[[dict[str, Any]], object]
) -> None:
    for name in ("a", "b"):
        write_record(tmp_path, boxes(tmp_path, name, 0))
    assert [row.ranked for row in _downstream(tmp_path).rows] == [True] * 2
    change(next((tmp_path / "downstream/results").rglob("b/seed-0.json")), how, sealed=True)
    rows = {row.method: row for row in _downstream(tmp_path).rows}
    assert [rows[name].ranked for name in "ab"] == [True, False]
    assert rows["b"].marks == ("seed 0: its scores do not follow from its boxes and the labels",)


@pytest.mark.parametrize(
    ("field", "value"), [("size", 5), ("size", ["a", "b"]), ("size", [0, 5]), ("steps", "x"), ("lr", None), ("flip", 1)]
)
def test_a_downstream_record_of_an_impossible_protocol_is_refused(tmp_path: Path, field: str, value: object) -> None:
    written = write_record(tmp_path, masks("a", 0))
    change(tmp_path / written.place, lambda content: content["protocol"].update({field: value}), sealed=True)
    with pytest.raises(DataError, match=r"seed-0\.json"):
        load_downstream(tmp_path)


def _downstream(out: Path) -> Table:
    (table,) = load_downstream(out)
    return table
