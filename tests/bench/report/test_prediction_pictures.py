"""Pictures of predictions, and the page that shows them, in a real browser where there is one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np

from fusionkit.bench.downstream.downstream_records import PredictedBox, Prediction
from fusionkit.bench.record_files import write_record
from fusionkit.bench.report.board import load_results, write_board
from fusionkit.bench.report.prediction_pictures import PredictionPictures, matched
from tests.support.boardrecords import record as quality
from tests.support.chromium import BROWSER, NEEDS_BROWSER
from tests.support.downstreamrecords import digest, keep, record, street

FOUND, WRONG, MISSED = (47, 191, 113), (228, 87, 46), (244, 180, 0)


def near(picture: Path, colour: tuple[int, int, int]) -> np.ndarray:
    """The columns in which a picture has a colour, as near as a JPEG keeps it, in pixels of 64 x 96."""
    pixels = cv2.imread(str(picture))[..., ::-1].astype(int)
    hit = np.abs(pixels - np.array(colour)).sum(2) < 140
    return np.nonzero(hit)[1] * 96 / pixels.shape[1]


def test_boxes_are_held_against_each_known_object_once() -> None:
    def box(x: float, score: float, label: int = 0) -> PredictedBox:
        return PredictedBox(corners=(x, 0.0, x + 10, 10.0), label=label, score=score)

    known = [(0.0, 0.0, 10.0, 10.0), (50.0, 0.0, 60.0, 10.0), (80.0, 0.0, 90.0, 10.0)]
    found, missed = matched([box(1, 0.9), box(0, 0.8), box(50, 0.7, label=1), box(80, 0.2)], known, [0, 0, 0])
    assert [hit for _, hit in found] == [True, False, False]
    assert missed == [known[1], known[2]]


def test_a_picture_shows_what_is_found_wrong_and_missed(tmp_path: Path) -> None:
    one = record("a", 0, 0.5, images=(street(tmp_path, "n0"),))
    pictures = PredictionPictures(tmp_path)
    (place,) = pictures.predictions(one)
    shown = tmp_path / place
    for colour, left, right in ((FOUND, 9, 25), (WRONG, 40, 56), (MISSED, 72, 88)):
        columns = near(shown, colour)
        # The colours of other boxes may come near it where they are blurred, but not within 8 pixels.
        columns = columns[(columns > left - 8) & (columns < right + 8)]
        assert len(columns) > 20
        assert abs(columns.min() - left) < 3
        assert abs(columns.max() - right) < 3
    (truth,) = pictures.truths(one)
    assert not len(near(tmp_path / truth, WRONG))
    middle = cv2.imread(str(tmp_path / truth))[:, :, 0]
    assert abs(int(np.median(middle)) - 80) <= 2


def test_pictures_that_are_needed_no_longer_go_and_others_stay(tmp_path: Path) -> None:
    one = record("a", 0, 0.5, images=(street(tmp_path, "n0"), street(tmp_path, "n1")))
    first = PredictionPictures(tmp_path)
    before = first.predictions(one)
    stamp = (tmp_path / before[0]).stat().st_mtime_ns
    second = PredictionPictures(tmp_path)
    assert second.predictions(one.model_copy(update={"images": one.images[:1]})) == before[:1]
    second.sweep()
    assert (tmp_path / before[0]).stat().st_mtime_ns == stamp
    assert not (tmp_path / before[1]).exists()


def test_a_mask_tints_its_classes_and_leaves_the_ground(tmp_path: Path) -> None:
    image = street(tmp_path, "n0")
    mask = np.zeros((64, 96), np.uint8)
    mask[:, 48:] = 1
    cv2.imwrite(str(tmp_path / "seen.png"), mask)
    cv2.imwrite(str(tmp_path / "label.png"), np.ascontiguousarray(mask[:, ::-1]))
    seen = Prediction(
        **{**dict(image), "boxes": None, "mask": "seen.png", "confusion": ((1, 0), (0, 1))}
        | {"label": "label.png", "label_sha256": digest(tmp_path / "label.png")}
    )
    one = record("a", 0, 0.5, kind="segmentation", classes=("ground", "road"), images=(seen,))
    pictures = PredictionPictures(tmp_path)
    for place, side in ((pictures.predictions(one)[0], 1), (pictures.truths(one)[0], 0)):
        pixels = cv2.imread(str(tmp_path / place)).astype(int)
        halves = pixels[:, : pixels.shape[1] // 2 - 8], pixels[:, pixels.shape[1] // 2 + 8 :]
        green = [float((half[..., 1] - half[..., 2]).mean()) for half in halves]
        assert green[side] > 30
        assert abs(green[1 - side]) < 3


def test_images_that_are_gone_leave_the_page_whole(tmp_path: Path) -> None:
    one = record("a", 0, 0.5, images=(street(tmp_path, "n0"),))
    shutil.rmtree(tmp_path / "data")
    assert PredictionPictures(tmp_path).truths(one) == [""]
    keep(tmp_path, one)
    assert write_board(tmp_path).page.is_file()


def test_the_board_has_the_tables_without_a_bench_of_quality(tmp_path: Path) -> None:
    images = tuple(street(tmp_path, f"n{k}") for k in range(3))
    keep(
        tmp_path,
        *(record(name, seed, value, images=images) for name, value in (("a", 0.5), ("b", 0.25)) for seed in (0, 1)),
    )
    assert load_results(tmp_path) == ()
    page = write_board(tmp_path).page.read_text(encoding="utf-8")
    found = re.search(r'id="downstream">(.*?)</script>', page)
    assert found
    ((table),) = json.loads(found[1])["tables"]
    assert [row["method"] for row in table["rows"]] == ["a", "b"]
    assert len(table["images"]) == 3
    assert all((tmp_path / place).is_file() for image in table["images"] for place in (image["truth"], *image["shown"]))
    for suffix in (".md", ".csv", ".json"):
        assert (tmp_path / f"downstream{suffix}").is_file()


def document_of(page: Path, profile: Path) -> str:
    """What a browser makes of a page; it fails where the page's policy or script does."""
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    command += ["--disable-background-networking", "--disable-component-update", "--virtual-time-budget=4000"]
    command += [f"--user-data-dir={profile}", "--enable-logging=stderr", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "Content Security Policy" not in done.stderr
    assert "Uncaught" not in done.stderr
    return done.stdout


@NEEDS_BROWSER[0]
@NEEDS_BROWSER[1]
def test_the_scores_are_columns_of_the_leaderboard_that_do_not_count_for_the_rank(tmp_path: Path) -> None:
    out = tmp_path / "board"
    for place, name in enumerate(("a", "b", "c")):
        write_record(out, quality(name, {"EN": [1.0 + place, 2.0 + place], "SD": [3.0, 4.0]}, dataset="streets"))
    keep(out, *(record(name, s, v + s / 50) for name, v in (("a", 0.5), ("b", 0.25)) for s in (0, 1)))
    document = document_of(write_board(out).page, tmp_path / "profile")
    table = document.partition('id="leaderboard-title"')[2].partition("</table>")[0]
    heads = re.findall(r'data-key="([^"]+)"', table)
    assert heads[2:7] == ["EN", "SD", "use 0 mAP50-95", "use 0 mAP50", "use 0 mAP75"]
    rows = {
        re.search(r'class="name"[^>]*>(.*?)</span>', row)[1]: re.findall(r"<td[^>]*>(.*?)</td>", row)  # type: ignore[index]
        for row in table.partition("<tbody>")[2].split("<tr")[1:]
    }
    assert list(rows) == ["c", "b", "a"], "the rank is by fusion quality"
    text = {name: [re.sub(r"<[^>]+>", " ", cell).split() for cell in cells[3:6]] for name, cells in rows.items()}
    assert text["a"] == [["51.0", "±", "1.4"]] * 3
    assert text["b"] == [["26.0", "±", "1.4"]] * 3
    assert [cell[0] for cell in text["c"]] == ["–"] * 3


@NEEDS_BROWSER[0]
@NEEDS_BROWSER[1]
def test_a_browser_shows_scores_and_predictions_under_the_pages_policy(tmp_path: Path) -> None:
    out = tmp_path / "board"
    images = tuple(street(out, f"n{k:02}") for k in range(12))
    keep(out, *(record(name, s, v + s / 50, images=images) for name, v in (("a", 0.5), ("<b>", 0.25)) for s in (0, 1)))
    page = write_board(out).page
    document = document_of(page, tmp_path / "profile")
    assert "Downstream: detection by toy" in document
    assert ">51.0</span>" in document
    assert "± 1.4" in document
    assert "<b>" not in document.replace("<b>best</b>", "")
    looks = re.findall(r'<figure class="look"><img src="([^"]+)"', document)
    assert len(looks) == 8 * 3
    assert all((out / place).is_file() for place in looks)
    assert "Show 4 more of 12" in document
