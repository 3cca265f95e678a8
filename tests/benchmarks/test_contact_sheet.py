"""The contact sheet: which pairs are on it, and that its tiles are the sources and the fused images."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.contact_sheet import chosen, main
from fusionkit.data.pair_finding import find_pairs
from fusionkit.data.pair_set import Pair
from fusionkit.errors import UsageError
from fusionkit.tasks import MIF


def _pair(dataset: str, number: int) -> Pair:
    return Pair(str(number), (Path("a"), Path("b")), dataset=dataset, split="test")


def test_pairs_come_in_equal_parts_from_every_set_or_by_name() -> None:
    pairs = [_pair("one", k) for k in range(9)] + [_pair("two", k) for k in range(3)]
    assert [p.key for p in chosen(pairs, (), 5)] == ["one/0", "one/4", "one/8", "two/0", "two/2"]
    assert [p.key for p in chosen(pairs, ("two/1", "one/7"), 5)] == ["two/1", "one/7"]
    with pytest.raises(UsageError, match="--pair two/9"):
        chosen(pairs, ("two/9",), 5)


def test_a_sheet_shows_sources_and_fused_images_of_the_named_pairs(tmp_path: Path) -> None:
    pair = find_pairs("sample", MIF, split="test")[0]
    out = tmp_path / "sheet.jpg"
    words = ["--data", "sample", "--task", "mif", "--pair", pair.key, "--width", "96", "--quality", "100"]
    done = CliRunner().invoke(main, [*words, "--fuser", "same=copy-b", "--fuser", "maximum", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert done.stdout.split() == [pair.key]
    sheet = cv2.imread(str(out), cv2.IMREAD_GRAYSCALE)
    assert sheet.shape[1] == 4 * (96 + 4)
    a, b, same, maximum = (sheet[18:-4, 100 * k : 100 * k + 96].astype(float) for k in range(4))
    # JPEG and the stretch change grey levels by little.
    assert np.abs(same - b).mean() < 8
    assert np.abs(maximum - np.maximum(a, b)).mean() < 12
