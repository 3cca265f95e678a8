"""Prepared data sets: ranges as stated, shifts undone, labels moved with their source, one refusal for all faults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from fusionkit.cli import main
from fusionkit.data import find_pairs, verify
from fusionkit.data.labels import find_labelled, read_boxes, read_mask, verify_labels
from fusionkit.fuse.prepared_dataset import PREPARED_RECORD
from fusionkit.tasks import IVIF

SIZE = (120, 160)
SHIFT = (6, -9)
"""Rows and columns that the infrared images are rolled by."""


def _scene(seed: int) -> Any:
    noise = np.random.default_rng(seed).integers(0, 256, SIZE, dtype=np.uint8)
    smooth = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX)
    return np.where(smooth > 128, smooth // 2 + 110, smooth // 3).astype(np.uint8)


def _pixels(file: Path) -> Any:
    return cv2.imread(str(file), cv2.IMREAD_UNCHANGED)


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Two training pairs and a test pair: thermal of 16 bits, shifted, and visible; with a box and a mask."""
    root = tmp_path / "raw"
    for k, (split, name) in enumerate((("train", "1"), ("train", "2"), ("test", "3"))):
        for folder in ("ir", "vi", "label_det", "label_seg"):
            (root / split / folder).mkdir(parents=True, exist_ok=True)
        visible = _scene(k)
        thermal = 29_000 + 3 * (255 - np.roll(visible, SHIFT, (0, 1))).astype(np.uint16)
        Image.fromarray(thermal).save(root / split / "ir" / f"{name}.png")
        Image.fromarray(visible).save(root / split / "vi" / f"{name}.png")
        mask = np.zeros(SIZE, np.uint8)
        mask[46:66, 51:91] = 1
        Image.fromarray(mask).save(root / split / "label_seg" / f"{name}.png")
        # The same rectangle, as YOLO writes it.
        (root / split / "label_det" / f"{name}.txt").write_text(
            f"0 {71 / 160:.8f} {56 / 120:.8f} {40 / 160:.8f} {20 / 120:.8f}\n"
        )
    (root / "classes_det.txt").write_text("car\n")
    (root / "classes_seg.txt").write_text("ground\ncar\n")
    return root


def test_one_range_makes_plain_pairs(raw: Path, tmp_path: Path) -> None:
    done = _run("data", "prepare", raw, "--task", "ivif", "-o", tmp_path / "out", "--range-a", "29000,29765")
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(tmp_path / "out")
    pairs = find_pairs(tmp_path / "out", IVIF)
    verify(pairs, decode=True)
    assert pairs.splits == {"train": 2, "test": 1}
    for k, pair in enumerate(pairs):
        thermal, visible = (_pixels(file) for file in pair.files)
        assert (thermal.dtype, visible.dtype) == (np.uint16, np.uint8)
        raw_thermal = _pixels(raw / pair.split / "ir" / f"{pair.name}.png")
        assert abs(thermal / 65535 - (raw_thermal - 29_000.0) / 765).max() < 1e-4
        assert np.array_equal(visible, _scene(k))
    assert "3 pairs ok (2 train, 1 test)" in _run("data", "verify", tmp_path / "out", "--task", "ivif").output


def test_the_automatic_range_is_one_for_the_set(raw: Path, tmp_path: Path) -> None:
    assert _run("data", "prepare", raw, "--task", "ivif", "-o", tmp_path / "out").exit_code == 0
    limits = json.loads((tmp_path / "out" / PREPARED_RECORD).read_text())["limits"]
    assert len({tuple(one[0]) for one in limits.values()}) == 1
    assert all(one[1] is None for one in limits.values())


@pytest.mark.parametrize("scope", ["pair", "folder"])
def test_shifted_sources_are_aligned(raw: Path, tmp_path: Path, scope: str) -> None:
    options = ("--align", "translation", "--align-scope", scope, "--range-a", "29000,29765")
    done = _run("data", "prepare", raw, "--task", "ivif", "-o", tmp_path / "out", *options)
    assert done.exit_code == 0, done.output
    for k, pair in enumerate(find_pairs(tmp_path / "out", IVIF)):
        inside = (slice(20, -20), slice(20, -20))
        thermal = _pixels(pair.files[0])[inside] / 257
        assert abs(thermal - (255.0 - _scene(k)[inside])).mean() < 3


@pytest.mark.parametrize("kind", ["detection", "segmentation"])
def test_labels_move_with_the_source_that_they_were_drawn_on(raw: Path, tmp_path: Path, kind: Any) -> None:
    options = ("--labels", kind, "--range-a", "29000,29765", "--split", "train")
    more = {"a": ("--labels-of", "a", "--align", "translation"), "b": ()}
    for source, (down, right) in {"b": (0, 0), "a": SHIFT}.items():
        out = tmp_path / source
        done = _run("data", "prepare", raw, "--task", "ivif", "-o", out, *options, *more[source])
        assert done.exit_code == 0, done.output
        pairs = find_labelled(out, IVIF, kind)
        verify_labels(pairs)
        assert pairs.labels is not None
        for pair in pairs:
            assert pair.label is not None
            if kind == "detection":
                box = read_boxes(pair.label, SIZE, pairs.labels.classes).corners[0]
                assert abs(box - box.new_tensor([51 - right, 46 - down, 91 - right, 66 - down])).max() < 0.6
            else:
                mask = read_mask(pair.label).numpy()
                wanted = np.zeros(SIZE, bool)
                wanted[46 - down : 66 - down, 51 - right : 91 - right] = True
                assert ((mask == 1) & wanted).sum() / ((mask == 1) | wanted).sum() > 0.95
                assert ((mask == 255).sum() > 0) == (source == "a")


def test_all_pairs_that_cannot_be_prepared_are_named_before_anything_is_written(raw: Path, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((60, 80), np.uint8)).save(raw / "train" / "vi" / "1.png")
    (raw / "test" / "ir" / "3.png").write_bytes(b"no image")
    done = _run("data", "prepare", raw, "--task", "ivif", "-o", tmp_path / "out")
    assert done.exit_code == 4
    assert len(done.output.strip().splitlines()) == 1
    assert "1: sources differ in size" in done.output
    assert "3.png" in done.output
    assert not (tmp_path / "out").exists()
    done = _run("data", "prepare", raw, "--task", "ivif", "-o", tmp_path / "out", "--skip-bad")
    assert done.exit_code == 0, done.output
    assert "skipped: raw/3:" in done.stderr
    assert len(find_pairs(tmp_path / "out", IVIF)) == 1


@pytest.mark.parametrize(
    ("options", "code", "what"),
    [
        (("--labels-of", "a"), 2, "say which labels go along"),
        (("--reference", "c"), 2, "--reference: source 3 of 2"),
        (("--range-a", "5,1"), 2, "--range-a 5,1"),
        (("--labels", "detection", "--labels-of", "q"), 2, "--labels-of: source 17 of 2"),
    ],
)
def test_a_wrong_option_is_one_line(raw: Path, tmp_path: Path, options: tuple[str, ...], code: int, what: str) -> None:
    done = _run("data", "prepare", raw, "--task", "ivif", "-o", tmp_path / "out", *options)
    assert (done.exit_code, what in done.output) == (code, True), done.output
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_is_left_alone(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("")
    assert "is there already" in _run("data", "prepare", raw, "--task", "ivif", "-o", tmp_path / "out").output
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["mine"]
