"""Taking four-channel images apart: every pixel arrives, in the published splits, with its mask."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fusionkit.data import find_pairs, verify
from fusionkit.data.labels import find_labelled, verify_labels
from fusionkit.data.published.ivif import MFNET, MSRS
from fusionkit.data.unpack import unpack
from fusionkit.errors import DataError, UsageError
from fusionkit.tasks import IVIF

_LISTS = {"train": ("00001D", "00002N", "00001D_flip"), "val": ("00003D",), "test": ("00004N",)}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    root = tmp_path / "ir_seg_dataset"
    for place in ("images", "labels"):
        (root / place).mkdir(parents=True)
    for split, names in _LISTS.items():
        (root / f"{split}.txt").write_text("\n".join(names) + "\n")
        for name in names:
            Image.fromarray(rng.integers(0, 256, (12, 16, 4), np.uint8)).save(root / "images" / f"{name}.png")
            Image.fromarray(rng.integers(0, 9, (12, 16), np.uint8)).save(root / "labels" / f"{name}.png")
    return root


def test_every_pixel_of_both_sources_arrives(archive: Path, tmp_path: Path) -> None:
    pairs = unpack(MFNET, archive, IVIF, tmp_path / "out")
    verify(pairs, decode=True)
    assert pairs.splits == {"train": 2, "val": 1, "test": 1}
    for pair in pairs:
        packed = np.asarray(Image.open(archive / "images" / f"{pair.name}.png"))
        infrared, visible = (np.asarray(Image.open(file)) for file in pair.files)
        assert np.array_equal(infrared, packed[:, :, 3])
        assert np.array_equal(visible, packed[:, :, :3])


def test_what_was_unpacked_is_a_labelled_data_set(archive: Path, tmp_path: Path) -> None:
    unpack(MFNET, archive, IVIF, tmp_path / "out")
    found = find_labelled(tmp_path / "out", IVIF, "segmentation")
    verify_labels(found)
    assert found.labels is not None
    assert found.labels.classes == MFNET.labels[0].classes
    assert len(find_pairs(tmp_path / "out", IVIF, split="train")) == 2
    for pair in found:
        assert pair.label is not None
        assert pair.label.read_bytes() == (archive / "labels" / f"{pair.name}.png").read_bytes()


def test_the_packed_archive_itself_says_how_to_unpack_it(archive: Path) -> None:
    with pytest.raises(DataError, match=r"fourth channel; separate the sources first: fusionkit data unpack MFNet:"):
        MFNET.locate(archive, IVIF)


def test_images_of_three_channels_are_refused_and_nothing_is_left(archive: Path, tmp_path: Path) -> None:
    Image.new("RGB", (16, 12)).save(archive / "images" / "00003D.png")
    with pytest.raises(DataError, match=r"00003D\.png: has not four channels \(RGB\)"):
        unpack(MFNET, archive, IVIF, tmp_path / "out")
    assert [child.name for child in tmp_path.iterdir()] == ["ir_seg_dataset"]


def test_a_folder_that_is_there_is_left_alone(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match="is there already"):
        unpack(MFNET, archive, IVIF, tmp_path / "out")


def test_other_data_sets_and_other_folders_are_errors(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="data set MSRS: its sources are files of their own"):
        unpack(MSRS, archive, IVIF, tmp_path / "out")
    with pytest.raises(DataError, match=r"no images/\{name\} that the lists test\.txt, train\.txt, val\.txt name"):
        unpack(MFNET, archive / "labels", IVIF, tmp_path / "out")
