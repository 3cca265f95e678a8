"""Checks before training: everything wrong is found and named, in one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fusionkit.data.folders import folder_pairs
from fusionkit.data.pair_checks import MOST_SHOWN, verify
from fusionkit.data.pair_set import Pair, PairSet
from fusionkit.errors import DataError, FusionNote
from fusionkit.io.digest import file_digest
from fusionkit.tasks import IVIF


def _image(file: Path, *, size: tuple[int, int] = (24, 16), seed: int = 0) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0]), np.uint8)
    Image.fromarray(pixels).save(file)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for n in range(12):
        for k, side in enumerate(("ir", "vi")):
            _image(tmp_path / side / f"{n:02}.png", seed=2 * n + k)
    return tmp_path


def _fault(pairs: PairSet, **options: bool) -> str:
    with pytest.raises(DataError) as caught:
        verify(pairs, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_sound_pairs_pass(folder: Path) -> None:
    verify(folder_pairs(folder, IVIF), decode=True)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "webp", "pgm"])
def test_every_format_passes_and_is_refused_when_it_is_cut_short(tmp_path: Path, suffix: str) -> None:
    for side in ("ir", "vi"):
        _image(tmp_path / side / f"x.{suffix}", size=(320, 200))
    pairs = folder_pairs(tmp_path, IVIF)
    verify(pairs)
    cut = tmp_path / "vi" / f"x.{suffix}"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    assert f"vi/x.{suffix}" in _fault(pairs)


def test_a_file_without_partner_is_named(folder: Path) -> None:
    (folder / "vi" / "03.png").unlink()
    assert f"1 problem in 11 pairs: {folder.name}/03: no partner in vi" in _fault(folder_pairs(folder, IVIF))


def test_sizes_that_differ_are_given(folder: Path) -> None:
    _image(folder / "vi" / "05.png", size=(20, 10))
    assert "05: size differs (ir/05.png 24x16, vi/05.png 20x10)" in _fault(folder_pairs(folder, IVIF))


def test_a_turned_tiff_has_its_stored_size(folder: Path) -> None:
    for side in ("ir", "vi"):
        (folder / side / "00.png").unlink()
        Image.new("L", (24, 16)).save(folder / side / "00.tif", tiffinfo={274: 6} if side == "ir" else {})
    verify(folder_pairs(folder, IVIF))


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + bytes(20)])
def test_a_file_that_is_no_image_is_named(folder: Path, content: bytes) -> None:
    (folder / "ir" / "07.png").write_bytes(content)
    assert "ir/07.png" in _fault(folder_pairs(folder, IVIF))


def test_a_file_that_went_away_is_named(folder: Path) -> None:
    pairs = folder_pairs(folder, IVIF)
    (folder / "ir" / "02.png").unlink()
    assert "ir/02.png: no such file" in _fault(pairs)


def test_a_name_with_two_files_in_one_folder_is_named(folder: Path) -> None:
    _image(folder / "vi" / "04.jpg")
    assert "04: two files of that name (also 04.png)" in _fault(folder_pairs(folder, IVIF))


def test_a_name_that_comes_twice_is_named(folder: Path) -> None:
    pairs = folder_pairs(folder, IVIF)
    assert "00: more than one pair of that name" in _fault(replace(pairs, pairs=(*pairs.pairs, pairs[0])))


def test_one_name_in_two_splits_or_data_sets_is_fine(folder: Path) -> None:
    pairs = folder_pairs(folder, IVIF)
    other = replace(pairs[0], dataset="other")
    verify(replace(pairs, pairs=(*pairs.pairs, other, replace(other, split="test"))))


def test_a_file_that_is_both_sources_is_named(folder: Path) -> None:
    file = folder / "ir" / "00.png"
    assert "one file is given for two sources" in _fault(PairSet(IVIF, (Pair("x", (file, file)),), "here"))


def test_a_truth_of_another_size_is_named(folder: Path) -> None:
    pairs = folder_pairs(folder, IVIF)
    _image(folder / "truth" / "00.png", size=(24, 17))
    wrong = replace(pairs, pairs=(replace(pairs[0], truth=folder / "truth" / "00.png"),))
    assert "truth/00.png 24x17" in _fault(wrong)


def test_a_digest_that_differs_is_named_and_can_be_left_unchecked(folder: Path) -> None:
    pairs = folder_pairs(folder, IVIF)
    known = [replace(pair, sha256=tuple(file_digest(file) for file in pair.files)) for pair in pairs]
    sound = replace(pairs, pairs=tuple(known))
    verify(sound)
    _image(folder / "ir" / "09.png", seed=99)
    assert "ir/09.png is not the file that the manifest lists" in _fault(sound)
    verify(sound, digests=False)


def test_pixels_damaged_in_the_middle_are_found_by_decoding(folder: Path) -> None:
    pairs = folder_pairs(folder, IVIF)
    file = folder / "ir" / "01.png"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(data)
    verify(pairs)
    assert "ir/01.png" in _fault(pairs, decode=True)


def test_the_same_pair_in_two_splits_is_found_by_decoding(folder: Path) -> None:
    pairs = folder_pairs(folder, IVIF)
    for side in ("ir", "vi"):
        (folder / side / "copy.png").write_bytes((folder / side / "06.png").read_bytes())
    copy = Pair("copy", (folder / "ir" / "copy.png", folder / "vi" / "copy.png"), split="test")
    split = replace(pairs, pairs=(*(replace(pair, split="train") for pair in pairs), copy))
    verify(split)
    assert "the same files are in train as 06 and test as copy" in _fault(split, decode=True)


def test_no_pairs_at_all_are_an_error(folder: Path) -> None:
    assert _fault(PairSet(IVIF, (), "here")) == "here: no pairs"


def test_ten_faults_are_shown_and_the_rest_counted(folder: Path) -> None:
    for n in range(12):
        (folder / "vi" / f"{n:02}.png").write_bytes(b"broken")
    message = _fault(folder_pairs(folder, IVIF))
    assert "12 problems in 12 pairs" in message
    assert message.count("not an image") == MOST_SHOWN
    assert message.endswith("; and 2 more")


def test_values_that_fill_little_of_their_range_are_said(folder: Path) -> None:
    thermal = 29_000 + np.arange(16 * 24, dtype=np.uint16).reshape(16, 24)
    Image.fromarray(thermal).save(folder / "ir" / "00.png")
    with pytest.warns(FusionNote, match=r"00\.png: its values, 29000 to 29383, fill a small part .*data prepare"):
        verify(folder_pairs(folder, IVIF))
