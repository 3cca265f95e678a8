"""The published tables are the papers': counts, checksums of columns, and values read off the pages."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from fusionkit.bench.published_tables import (
    PublishedPaper,
    PublishedTable,
    papers,
    protocol_profile,
    published_beside,
    published_tables,
)
from fusionkit.errors import UsageError
from fusionkit.metrics.profiles import PROFILES
from fusionkit.plugins import catalogue
from fusionkit.tasks import IVIF, MEIF, MFIF, MIF

ALL = [table for paper in papers() for table in published_tables(paper)]


def _value(paper: str, table: int, dataset: str, method: str, printed: str) -> float | None:
    for found in published_tables(paper):
        for row in found.rows:
            if (found.table, found.dataset, row.method) == (table, dataset, method) and printed in found.printed:
                return row.values[found.printed.index(printed)]
    raise AssertionError("no such cell")


def test_every_table_is_there_with_its_number_of_rows() -> None:
    counted = {
        paper: {
            number: sum(len(t.rows) for t in published_tables(paper) if t.table == number) for number in range(1, 8)
        }
        for paper in papers()
    }
    assert counted["refusion"] == {1: 20, 2: 10, 3: 16, 4: 16, 5: 9, 6: 14, 7: 20}
    assert counted["tdfusion"] == {1: 32, 2: 40, 3: 6, 4: 0, 5: 0, 6: 0, 7: 0}


@pytest.mark.parametrize(
    ("paper", "table", "dataset", "sums"),
    [
        # Sums of the columns in hundredths, added up from the papers' text and not from these files.
        ("refusion", 1, "MSRS", (5942, 30613, 9175, 2951, 1215, 357)),
        ("refusion", 1, "RoadScene", (7076, 39293, 11662, 4367, 1485, 683)),
        ("refusion", 2, "Harvard", (4494, 62330, 24023, 6269, 1217, 567)),
        ("refusion", 3, "RealMFF", (5452, 39145, 11213, 740, 546, 661)),
        ("refusion", 3, "Lytro", (5959, 43705, 12570, 674, 512, 663)),
        ("refusion", 4, "SICE", (5424, 29448, 15258, 593, 290, 651)),
        ("refusion", 4, "MEFB", (5702, 37745, 12661, 578, 347, 659)),
        ("tdfusion", 1, "MSRS", (4901, 7947, 1103, 296, 403, 477)),
        ("tdfusion", 1, "FMB", (5322, 9979, 1122, 285, 444, 569)),
        ("tdfusion", 1, "M3FD", (5441, 9963, 1188, 267, 405, 547)),
        ("tdfusion", 1, "LLVIP", (5423, 10761, 1050, 277, 393, 497)),
    ],
)
def test_columns_add_up(paper: str, table: int, dataset: str, sums: tuple[int, ...]) -> None:
    (found,) = (t for t in published_tables(paper) if (t.table, t.dataset) == (table, dataset))
    columns = zip(*(row.values for row in found.rows), strict=True)
    assert tuple(round(math.fsum(v for v in column if v is not None) * 100) for column in columns) == sums


@pytest.mark.parametrize(
    ("paper", "table", "dataset", "method", "printed", "value"),
    [
        ("refusion", 1, "MSRS", "ReFusion", "SSIM", 0.51),
        ("refusion", 1, "MSRS", "CDDFuse", "SD", 43.38),
        ("refusion", 1, "RoadScene", "SDNet", "EN", 7.10),
        ("refusion", 2, "Harvard", "DeFusion", "SSIM", 0.76),
        ("refusion", 3, "Lytro", "EPT", "QNCIE", 0.85),
        ("refusion", 3, "RealMFF", "ReFusion", "VIF", 1.09),
        ("refusion", 4, "SICE", "SDNet", "SF", 29.41),
        ("refusion", 4, "MEFB", "ReFusion", "QCB", 0.47),
        ("refusion", 5, "MSRS", "IV max → sum in Eq. (5) and Eq. (6)", "SCD", 1.27),
        ("refusion", 6, "MSRS", "α1 = 2, α2 = 1", "SD", 43.16),
        ("refusion", 6, "MSRS", "α1 = 1, α2 = 10", "AG", 3.79),
        ("refusion", 7, "", "ReFusion", "Para (M)", 0.060),
        ("refusion", 7, "", "HoLoCo", "Para (M)", 17.691),
        ("refusion", 7, "", "DDFM", "Para (M)", None),
        ("tdfusion", 1, "MSRS", "MRFS", "EN", 7.00),
        ("tdfusion", 1, "LLVIP", "TDFusion", "SF", 16.38),
        ("tdfusion", 1, "M3FD", "MURF", "Qabf", 0.32),
        ("tdfusion", 2, "LLVIP", "Infrared", "AP50", 96.03),
        ("tdfusion", 2, "FMB", "TDFusion", "mIoU", 60.50),
        ("tdfusion", 3, "FMB", "II w/o the gradient term of the fusion loss", "SF", 11.65),
    ],
)
def test_values_are_as_printed(
    paper: str, table: int, dataset: str, method: str, printed: str, value: float | None
) -> None:
    assert _value(paper, table, dataset, method, printed) == value


def test_the_same_cell_in_two_tables_of_a_paper_has_one_value() -> None:
    full = next(t for t in published_tables("refusion") if t.table == 1).rows[-1].values
    others = [
        row.values
        for t in published_tables("refusion")
        for row in t.rows
        if row.method in ("Ours", "α1 = 1, α2 = 1") and t.table in (5, 6)
    ]
    assert others == [full] * 3
    ours = next(t for t in published_tables("tdfusion") if t.table == 1 and t.dataset == "FMB").rows[-1].values
    assert published_tables("tdfusion")[-1].rows[-1].values == ours


@pytest.mark.parametrize("table", ALL, ids=lambda t: f"{t.label}-{t.kind}")
def test_columns_are_in_the_profile_and_no_method_is_twice(table: PublishedTable) -> None:
    assert max(Counter(row.method for row in table.rows).values()) == 1
    if table.profile:
        settings = PROFILES[table.profile].settings
        assert settings is not None
        assert set(table.metrics) <= set(settings)


def test_published_rows_are_found_by_data_set_and_only_comparisons() -> None:
    assert [t.label for t in published_beside("ivif", "msrs")] == [
        "refusion, Table 1 (MSRS)",
        "tdfusion, Table 1 (MSRS)",
    ]
    assert [t.table for t in published_beside("mif", "Harvard_MRI_PET")] == [2]
    assert published_beside("mfif", "MSRS") == ()


def test_an_unknown_paper_is_named_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'refusion'"):
        published_tables("refusoin")


OWN = """
[paper]
key = "own"
title = "A method"
citation = "Somebody, 2026"
profile = "cddfuse"
protocol_of = ["ivif", "thermal"]
[[panel]]
table = 1
kind = "comparison"
task = "ivif"
dataset = "MSRS"
profile = "cddfuse"
metrics = ["EN", "Own"]
printed = ["EN", "OWN"]
rows = [["A", "1", 1, 2.5], ["B", "", "/", 3]]
"""


def test_a_plugins_tables_stand_beside_those_of_the_built_in_papers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue.published_tables, "_registered", {})
    file = tmp_path / "tables.toml"
    file.write_text(OWN)
    catalogue.published_tables.register("own", PublishedPaper.read(file))
    assert [t.label for t in published_beside("ivif", "msrs")] == [
        "own, Table 1 (MSRS)",
        "refusion, Table 1 (MSRS)",
        "tdfusion, Table 1 (MSRS)",
    ]
    assert [row.values for row in published_tables("own")[0].rows] == [(1.0, 2.5), (None, 3.0)]


def test_a_task_has_the_profile_of_the_paper_whose_protocol_it_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {protocol_profile(task) for task in (IVIF, MIF, MFIF, MEIF)} == {"refusion"}
    thermal = replace(IVIF, name="thermal")
    assert protocol_profile(thermal) == "standard"
    assert protocol_profile(replace(thermal, profile="tang")) == "tang"
    monkeypatch.setattr(catalogue.published_tables, "_registered", {})
    file = tmp_path / "tables.toml"
    file.write_text(OWN)
    catalogue.published_tables.register("own", PublishedPaper.read(file))
    assert protocol_profile(thermal) == "cddfuse"
    assert protocol_profile(IVIF) == "refusion", "a plugin does not take over the protocol of a built-in paper"


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ('key = "own"', "", r"tables.toml: \[paper\] with key, title and citation: 'key' is missing"),
        ("table = 1", "", "tables.toml, panel 1: table is missing"),
        ('"1", 1, 2.5', '"1", 1', r"tables.toml, panel 1: \[1\] has 1 value for the 2 metrics"),
        ('["EN", "OWN"]', '["EN"]', r"panel 1: \['EN'\] has 1 value for the 2 metrics"),
    ],
)
def test_a_damaged_file_of_tables_is_refused_with_its_place(tmp_path: Path, before: str, after: str, told: str) -> None:
    assert before in OWN
    file = tmp_path / "tables.toml"
    file.write_text(OWN.replace(before, after))
    with pytest.raises(ValueError, match=told):
        PublishedPaper.read(file)
