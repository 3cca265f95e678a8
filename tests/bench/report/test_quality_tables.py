"""Leaderboards: what is ranked with what, what is marked, and that published rows stay apart."""

from __future__ import annotations

import statistics

import numpy as np
import pytest

from fusionkit.bench.records import Record
from fusionkit.bench.report.quality_tables import QualityTable, quality_tables
from fusionkit.bench.report.tables import Row
from tests.support.boardrecords import IVIF_METRICS, record


def _six(values: list[float | None]) -> dict[str, list[float | None]]:
    return dict.fromkeys(IVIF_METRICS, values)


def _one(*records: Record) -> QualityTable:
    (board,) = quality_tables(records, resamples=200)
    return board


def _row(board: QualityTable, name: str) -> Row:
    return next(row for row in board.rows if row.method == name)


def test_profiles_data_sets_and_splits_each_have_their_own_table() -> None:
    values = _six([1.0, 2.0])
    boards = quality_tables(
        [
            record("m", values),
            record("m", values, profile="standard"),
            record("m", values, dataset="TNO"),
            record("m", values, split="train"),
            record("n", values),
        ],
        resamples=50,
    )
    assert [(b.dataset, b.split, b.profile, len(b.rows)) for b in boards] == [
        ("MSRS", "test", "refusion", 2),
        ("MSRS", "test", "standard", 1),
        ("MSRS", "train", "refusion", 1),
        ("TNO", "test", "refusion", 1),
    ]
    assert [bool(b.notes) for b in boards] == [False, True, True, False]
    assert "the protocol of ivif is profile refusion" in boards[1].notes[0]
    assert "the protocol of ivif is the split test" in boards[2].notes[0]


def test_means_are_over_the_values_there_are_and_say_how_many_are_missing() -> None:
    values = [0.5, None, 2.5, 4.0]
    board = _one(record("m", {**_six([1.0, 2.0, 3.0, 4.0]), "SCD": values}), record("n", _six([0.0, 1.0, 2.0, 3.0])))
    cell = _row(board, "m").cells["SCD"]
    assert cell.mean == pytest.approx(statistics.fmean([0.5, 2.5, 4.0]))
    assert (cell.count, cell.missing) == (3, 1)
    assert cell.low is not None
    assert cell.high is not None
    assert 0.5 <= cell.low < cell.mean < cell.high <= 4.0
    assert "SCD (3)" in board.notes[0]


def test_rank_follows_each_metrics_direction() -> None:
    good, bad = [3.0, 4.0], [1.0, 2.0]
    board = _one(
        record("a", {"Up": good, "Down": bad}, lower=["Down"]),
        record("b", {"Up": bad, "Down": good}, lower=["Down"]),
    )
    assert [(row.method, row.value("mean_rank"), row.value("win_rate")) for row in board.rows] == [
        ("a", 1.0, 1.0),
        ("b", 2.0, 0.0),
    ]
    assert board.placed("Down") == (1, 2)


@pytest.mark.parametrize(
    ("odd", "mark"),
    [
        (record("odd", _six([9.0, 9.0]), fingerprint="others"), "other images (2 pairs, the table's are 3)"),
        (record("odd", _six([9.0, 9.0]), failures={"002": "no memory"}), "1 of 3 pairs failed"),
        (record("odd", {m: [9.0] * 3 for m in IVIF_METRICS[1:]}), "without EN"),
    ],
)
def test_a_row_of_other_images_or_metrics_is_shown_marked_and_not_ranked(odd: Record, mark: str) -> None:
    rest = [record(name, _six([k + 1.0, k + 2.0, k + 3.0])) for k, name in enumerate("ab")]
    board = _one(*rest, odd)
    assert board.rows[-1].method == "odd"
    assert board.rows[-1].value("mean_rank") is None
    assert mark in board.rows[-1].marks
    assert board.rows[-1].cells["SSIM"].mean == 9.0
    assert [(row.method, row.value("mean_rank"), row.marks) for row in board.rows[:2]] == [
        ("b", 1.0, ()),
        ("a", 2.0, ()),
    ]
    assert board.placed("SSIM") == (1, 2, 0)


def test_stretch_and_metric_versions_that_differ_are_marked_and_still_ranked() -> None:
    values = _six([1.0, 2.0])
    board = _one(
        record("a", values),
        record("b", values),
        record("full", values, stretch="full"),
        record("other", values, stretch=""),
        record("old", values, version="image-fusionkit 0.0.1"),
    )
    assert _row(board, "a").marks == ()
    assert _row(board, "full").marks == ("stretched to the full range, the other rows: not stretched",)
    assert _row(board, "other").marks == ("stretch not known, the other rows: not stretched",)
    assert any("EN by image-fusionkit 0.0.1" in mark for mark in _row(board, "old").marks)
    assert all(row.value("mean_rank") == 3.0 for row in board.rows)


def test_a_gamut_rule_that_differs_is_marked() -> None:
    values = _six([1.0, 2.0])
    records = [record(name, values) for name in "abc"]
    assert {r.method.gamut for r in records} == {"clip"}
    kept = records[2].method.model_copy(update={"gamut": "keep-luminance"})
    board = _one(*records[:2], records[2].model_copy(update={"method": kept}))
    assert _row(board, "a").marks == ()
    assert _row(board, "c").marks == ("colours outside RGB by keep-luminance, the other rows: clip",)


def test_a_table_says_how_its_results_are_stretched() -> None:
    values = _six([1.0, 2.0])

    def note(*pairs: tuple[str, str]) -> list[str]:
        records = [record(f"m{k}", values, stretch=stretch) for k, (stretch, _) in enumerate(pairs)]
        methods = [r.method.model_copy(update={"own_stretch": own}) for r, (_, own) in zip(records, pairs, strict=True)]
        board = _one(*(r.model_copy(update={"method": m}) for r, m in zip(records, methods, strict=True)))
        return [text for text in board.notes if "stretch" in text]

    assert note(("none", "none"), ("none", "none"), ("", "")) == []
    assert note(("full", "full"), ("full", "")) == []
    (mixed,) = note(("none", "none"), ("full", "full"), ("none", "none"))
    assert mixed.startswith("stretched to the full range: 1; not stretched: 2")
    (alike,) = note(("full", "none"), ("full", "full"), ("full", "none"))
    assert alike.endswith("by --stretch; the authors of 2 of these methods do not")
    (plain,) = note(("none", "none"), ("none", "full"))
    assert plain == "no result is stretched to its full range, by --stretch; the authors of 1 of these methods do"


def test_a_protocol_metric_that_nobody_measured_is_named() -> None:
    board = _one(record("a", {"EN": [1.0, 2.0], "Nabf": [1.0, 2.0]}))
    assert [(c.key, c.ranks) for c in board.scores] == [("EN", True), ("Nabf", False)]
    assert "not measured: SD, SF, AG, SCD, SSIM" in board.notes[0]


def test_images_of_the_same_name_but_other_sources_are_never_compared() -> None:
    board = _one(
        record("a", _six([1.0, 2.0])), record("b", _six([1.0, 2.0]), sources="elsewhere", fingerprint="elsewhere")
    )
    assert (board.wins.images == 0).all()
    assert np.isnan(board.wins.rate).all()
    assert {row.value("win_rate") for row in board.rows} == {None}


def test_win_rates_are_in_the_order_of_the_rows_over_images_that_both_have() -> None:
    a = record("a", _six([1.0, 5.0, 1.0]))
    b = record("b", _six([2.0, 4.0]), images=["000", "001"], failures={"002": "?"})
    board = _one(a, b)
    assert [row.method for row in board.rows] == ["a", "b"]
    assert (board.wins.images[0, 1] == 2).all()
    assert (board.wins.rate[0, 1] == 0.5).all()


def test_published_rows_stand_beside_and_change_no_rank() -> None:
    values = [record("a", _six([1.0, 2.0])), record("b", _six([3.0, 4.0]))]
    with_published = _one(*values)
    without = _one(*(r.model_copy(update={"dataset": "Mine"}) for r in values))
    assert [table.label for table in with_published.published] == ["refusion, Table 1 (MSRS)"]
    assert without.published == ()
    for name in "ab":
        first, second = _row(with_published, name), _row(without, name)
        assert (first.value("mean_rank"), first.value("win_rate"), first.cells) == (
            second.value("mean_rank"),
            second.value("win_rate"),
            second.cells,
        )


def test_published_rows_of_another_profile_are_not_shown() -> None:
    board = _one(record("a", _six([1.0, 2.0]), profile="standard"))
    assert board.published == ()


def test_times_of_several_machines_are_noted_and_an_unknown_task_is_no_error() -> None:
    board = _one(
        record("a", {"EN": [1.0, 2.0]}, task="nowhere"),
        record("b", {"EN": [1.0, 2.0]}, task="nowhere", device="cuda (y)"),
    )
    assert board.title == "nowhere"
    assert any("not installed" in note for note in board.notes)
    assert any("cpu (x), cuda (y)" in note for note in board.notes)


def test_a_method_without_results_is_a_row_without_numbers() -> None:
    empty = record("none", _six([]), failures={"000": "broken", "001": "broken"})
    board = _one(record("a", _six([1.0, 2.0])), empty)
    row = _row(board, "none")
    assert row.marks == ("2 of 2 pairs failed", "no results")
    assert row.cells["EN"].mean is None
    assert row.value("mean_rank") is None
    assert row.value("seconds") is None
