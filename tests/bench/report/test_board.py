"""Writing a board: every file whole and beside the records, previews small, written once and swept."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import unquote

import cv2
import numpy as np
import pytest

from fusionkit.bench.record_files import write_record
from fusionkit.bench.report.board import load_results, write_board, write_copy
from fusionkit.bench.report.previews import Previews
from fusionkit.errors import DataError, UsageError
from tests.support.boardrecords import EVIL, bench_folder, record


def _blocks(page: str) -> dict[str, dict]:
    found = re.findall(r'<script type="application/json" id="([^"]+)">(.*?)</script>', page, flags=re.DOTALL)
    return {name: json.loads(text) for name, text in found}


def test_a_board_is_written_beside_its_records_and_all_its_links_lead_to_files(tmp_path: Path) -> None:
    out = bench_folder(tmp_path / "bench")
    files = write_board(out)
    assert {path.name for path in out.iterdir()} == {
        *("index.html", "board.md", "board.csv", "board.json", "previews", "results", "fused", "maps")
    }
    blocks = _blocks(files.page.read_text(encoding="utf-8"))
    values = blocks["values-0"]
    assert values["roles"] == ["infrared", "visible"]
    pictures = [pair for image in values["images"] for pair in image["sources"]]
    pictures += [pair for method in values["methods"] for pair in method["fused"]]
    pictures += [entry[1:] for method in values["methods"] for shown in method["maps"].values() for entry in shown]
    assert len(pictures) == 4 * 2 + 3 * 4 + 1
    for address in (address for pair in pictures for address in pair):
        assert not address.startswith(("/", "http", "file"))
        assert (out / unquote(address)).is_file(), address


def test_the_page_holds_every_value_and_asks_for_nothing_from_a_network(tmp_path: Path) -> None:
    out = bench_folder(tmp_path / "bench")
    page = write_board(out).page.read_text(encoding="utf-8")
    values = _blocks(page)["values-0"]
    names = [row["method"] for row in _blocks(page)["board"]["tables"][0]["rows"]]
    evil = values["methods"][names.index(EVIL)]
    assert evil["values"]["EN"] == [3.0, 3.1, 3.2, 3.3]
    alpha = values["methods"][names.index("alpha")]
    assert alpha["values"]["SCD"][1] is None
    assert alpha["reasons"] == {"1": {"SCD": EVIL}}
    outside = [found for found in re.findall(r"https?://[^\s\"'<)]+", page) if found != "http://www.w3.org/2000/svg"]
    assert outside == []
    assert page.count("<script") == 4  # tables, downstream tables, values, and the page's own
    assert "onerror=alert" not in re.sub(r'<script type="application/json".*?</script>', "", page, flags=re.DOTALL)


def test_previews_are_written_once_and_those_of_forgotten_images_go(tmp_path: Path) -> None:
    out = bench_folder(tmp_path / "bench")
    write_board(out)
    before = {path: path.stat().st_mtime_ns for path in (out / "previews").rglob("*.jpg")}
    stale = out / "previews" / "ab" / f"{'ab' * 12}.jpg"
    stale.parent.mkdir(exist_ok=True)
    stale.write_bytes(b"old")
    kept = out / "previews" / "ab" / "mine.jpg"
    kept.write_bytes(b"the user's")
    told: list[tuple[int, int]] = []
    write_board(out, progress=lambda done, total: told.append((done, total)))
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert not stale.exists()
    assert kept.exists()
    assert told == [(4, 12), (8, 12), (12, 12)]


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (np.full((2000, 1500), 77, np.uint8), (1024, 768)),
        (np.full((20, 3000, 3), 1000, np.uint16), (7, 1024)),
        (np.full((5, 4), 0.5, np.float32), (5, 4)),
    ],
)
def test_a_preview_is_at_most_1024_pixels_long_and_keeps_the_grey_level(
    tmp_path: Path, pixels: np.ndarray, expected: tuple[int, int]
) -> None:
    suffix = ".tiff" if pixels.dtype == np.float32 else ".png"
    cv2.imwrite(str(tmp_path / f"image{suffix}"), pixels)
    path = tmp_path / Previews(tmp_path).of(f"image{suffix}")
    shown = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert shown is not None
    assert shown.shape == expected
    level = float(pixels.flat[0]) * {"uint8": 1.0, "uint16": 255 / 65535, "float32": 255.0}[pixels.dtype.name]
    assert abs(float(shown.mean()) - level) < 1.5


def test_images_that_are_gone_leave_a_page_without_them(tmp_path: Path) -> None:
    write_record(tmp_path, record("alone", {"EN": [1.0, 2.0]}))
    (tmp_path / "fused").mkdir()
    (tmp_path / "fused" / "000.png").write_bytes(b"not an image")
    values = _blocks(write_board(tmp_path).page.read_text(encoding="utf-8"))["values-0"]
    assert values["methods"][0]["fused"] == [["", ""], ["", ""]]
    assert values["images"][0]["sources"] == [["", ""], ["", ""]]


def test_a_copy_is_complete_in_itself_and_holds_every_value(tmp_path: Path) -> None:
    out, folder = bench_folder(tmp_path / "bench"), tmp_path / "site" / "board"
    page = write_copy(out, folder, pairs=1, longest=16).read_text(encoding="utf-8")
    own = _blocks(write_board(out).page.read_text(encoding="utf-8"))
    blocks = _blocks(page)
    assert blocks["board"] == own["board"]
    values, full = blocks["values-0"], own["values-0"]
    assert [m["values"] for m in values["methods"]] == [m["values"] for m in full["methods"]]
    assert (values["pictured"], full["pictured"]) == (1, 4)
    pictures = [pair for image in values["images"] for pair in image["sources"]]
    pictures += [pair for method in values["methods"] for pair in method["fused"]]
    pictures += [entry[1:] for method in values["methods"] for shown in method["maps"].values() for entry in shown]
    assert {original for _, original in pictures} == {""}
    shown = {unquote(preview) for preview, _ in pictures} - {""}
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == {"index.html", "board.md", "board.csv", *shown}
    assert len(shown) == 2 + 3 + 1
    assert {max(cv2.imread(str(folder / name)).shape[:2]) for name in shown} == {16}
    assert "board.json" not in page
    assert str(tmp_path) not in page
    # Another size is another picture, and those of the former one go.
    write_copy(out, folder, pairs=1, longest=12)
    assert {max(cv2.imread(str(path)).shape[:2]) for path in folder.rglob("*.jpg")} == {12}


def test_a_copy_takes_no_folder_of_a_bench(tmp_path: Path) -> None:
    out = bench_folder(tmp_path / "bench")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="holds a bench of its own"):
        write_copy(out, out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_folder_without_results_and_an_unknown_task_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no results"):
        load_results(tmp_path)
    (tmp_path / "results").mkdir()
    with pytest.raises(DataError, match="holds no results of a bench yet"):
        write_board(tmp_path)
    write_record(tmp_path, record("alone", {"EN": [1.0]}))
    with pytest.raises(UsageError, match="did you mean 'ivif'"):
        load_results(tmp_path, task="ivi")


def test_the_same_records_give_the_same_files(tmp_path: Path) -> None:
    out = bench_folder(tmp_path / "bench")
    first = {path.name: path.read_bytes() for path in vars(write_board(out)).values()}
    again = {path.name: path.read_bytes() for path in vars(write_board(out)).values()}
    assert first == again
