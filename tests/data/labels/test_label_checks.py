"""Labels that do not fit are all reported, by name, in one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fusionkit.contracts.label_types import LabelKind, LabelSpec
from fusionkit.data.labels.label_checks import count_labels, verify_labels
from fusionkit.data.pair_checks import MOST_SHOWN
from fusionkit.data.pair_set import Pair, PairSet
from fusionkit.errors import DataError
from fusionkit.tasks import IVIF


def _pairs(root: Path, kind: LabelKind, count: int = 12) -> PairSet:
    pairs = []
    for n in range(count):
        files = (root / f"ir{n}.png", root / f"vi{n}.png")
        for file in files:
            Image.new("L", (16, 12), n).save(file)
        label = root / f"label{n}.{'png' if kind == 'segmentation' else 'txt'}"
        if kind == "segmentation":
            Image.fromarray(np.full((12, 16), n % 3, np.uint8)).save(label)
        else:
            label.write_text("0 0.5 0.5 0.5 0.5\n" * (n % 3))
        pairs.append(Pair(str(n), files, dataset="D", label=label))
    return PairSet(IVIF, tuple(pairs), "here", labels=LabelSpec(kind, ("a", "b", "c")))


def _fault(pairs: PairSet) -> str:
    with pytest.raises(DataError) as caught:
        verify_labels(pairs)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("kind", ["segmentation", "detection"])
def test_sound_labels_pass_and_are_counted(tmp_path: Path, kind: LabelKind) -> None:
    pairs = _pairs(tmp_path, kind)
    verify_labels(pairs)
    expected = {"a": 4 * 192, "b": 4 * 192, "c": 4 * 192} if kind == "segmentation" else {"a": 12, "b": 0, "c": 0}
    assert count_labels(pairs) == expected


def test_pixels_that_do_not_count_are_known(tmp_path: Path) -> None:
    pairs = _pairs(tmp_path, "segmentation", 1)
    Image.fromarray(np.full((12, 16), 255, np.uint8)).save(tmp_path / "label0.png")
    verify_labels(pairs)
    assert count_labels(pairs) == {"a": 0, "b": 0, "c": 0}


def test_a_mask_of_another_size_or_with_unknown_ids_is_named(tmp_path: Path) -> None:
    pairs = _pairs(tmp_path, "segmentation")
    Image.new("L", (12, 16)).save(tmp_path / "label3.png")
    Image.fromarray(np.array([[0, 3] * 8, [2, 254] * 8] * 6, np.uint8)).save(tmp_path / "label7.png")
    message = _fault(pairs)
    assert "here: 2 problems in 12 pairs: " in message
    assert f"D/3: {tmp_path / 'label3.png'}: the mask is 12x16, the image 16x12" in message
    assert f"D/7: {tmp_path / 'label7.png'}: unknown class id 3, 254 (known: 0 to 2, and 255" in message


def test_every_kind_of_fault_of_boxes_is_reported_at_once(tmp_path: Path) -> None:
    pairs = _pairs(tmp_path, "detection")
    for n, text in enumerate(("3 0.5 0.5 0.1 0.1", "0 0.9 0.5 0.5 0.1", "0 0.5 0.5 0 0", "none")):
        (tmp_path / f"label{n}.txt").write_text(text)
    (tmp_path / "label4.txt").unlink()
    pairs = replace(pairs, pairs=(*pairs.pairs[:5], replace(pairs[5], label=None), *pairs.pairs[6:]))
    message = _fault(pairs)
    assert "6 problems in 12 pairs" in message
    for n, what in enumerate(("unknown class id 3", "outside", "no area", "1 value", "no such file")):
        assert f"D/{n}: {tmp_path / f'label{n}.txt'}" in message
        assert what in message
    assert f"D/5: no label for {tmp_path / 'ir5.png'}" in message


def test_of_many_faults_the_first_are_shown_and_all_are_counted(tmp_path: Path) -> None:
    pairs = _pairs(tmp_path, "detection")
    for n in range(12):
        (tmp_path / f"label{n}.txt").write_text("x")
    message = _fault(pairs)
    assert "12 problems in 12 pairs" in message
    assert message.endswith(f"and {12 - MOST_SHOWN} more")


def test_an_image_that_cannot_be_read_is_reported_with_its_pair(tmp_path: Path) -> None:
    pairs = _pairs(tmp_path, "detection")
    (tmp_path / "ir0.png").write_bytes(b"broken")
    assert f"D/0: {tmp_path / 'ir0.png'}: not an image" in _fault(pairs)


def test_pairs_without_labels_are_not_checked_for_them(tmp_path: Path) -> None:
    pairs = replace(_pairs(tmp_path, "detection", 1), labels=None)
    assert "found without labels" in _fault(pairs)
    with pytest.raises(DataError, match="found without labels"):
        count_labels(pairs)
