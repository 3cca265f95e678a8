"""The built-in labelled sample: labels that fit the picture, and sources that each lack what the other shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from fusionkit.contracts.label_types import LabelKind
from fusionkit.data import verify
from fusionkit.data.labels import count_labels, find_labelled, read_boxes, read_mask, verify_labels
from fusionkit.data.pair_set import PairSet
from fusionkit.data.sample import labelled_sample
from fusionkit.data.sample.sample_folder import CACHE_VARIABLE
from fusionkit.errors import DataError, UsageError
from fusionkit.io.images import read_image
from fusionkit.tasks import IVIF, MIF

_KINDS: tuple[LabelKind, ...] = ("segmentation", "detection")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[LabelKind, PairSet]:
    root = tmp_path_factory.mktemp("labelled")
    return {kind: labelled_sample(IVIF, kind, root / "streets") for kind in _KINDS}


def _grey(file: Path) -> np.ndarray:
    return read_image(file).pixels.astype(np.float64).mean(axis=2)


def _mask(pairs: PairSet, index: int) -> np.ndarray:
    label = pairs[index].label
    assert label is not None
    return read_mask(label).numpy()


@pytest.mark.parametrize("kind", _KINDS)
def test_it_is_sound_and_has_pairs_to_train_and_to_test(made: dict[LabelKind, PairSet], kind: LabelKind) -> None:
    pairs = made[kind]
    verify(pairs, decode=True)
    verify_labels(pairs)
    assert pairs.splits == {"train": 24, "test": 8}
    assert all(pair.label_sha256 for pair in pairs)
    assert read_image(pairs[0].files[0]).pixels.shape == (128, 160, 1)
    assert read_image(pairs[0].files[1]).pixels.shape == (128, 160, 3)


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_class_is_in_every_split(made: dict[LabelKind, PairSet], split: str) -> None:
    boxes = count_labels(made["detection"].split(split))
    assert list(boxes) == ["person", "car"]
    assert min(boxes.values()) >= 8
    pixels = count_labels(made["segmentation"].split(split))
    assert list(pixels) == ["background", "person", "car"]
    share = {name: count / sum(pixels.values()) for name, count in pixels.items()}
    assert 0.02 < share["person"] < share["car"] < share["background"]


def test_boxes_are_tight_around_the_masks_of_their_class(made: dict[LabelKind, PairSet]) -> None:
    for index, pair in enumerate(made["detection"]):
        mask = _mask(made["segmentation"], index)
        assert pair.label is not None
        boxes = read_boxes(pair.label, (128, 160), ("person", "car"))
        covered = np.zeros_like(mask, bool)
        for (x0, y0, x1, y1), number in zip(boxes.corners.round().long().tolist(), boxes.classes.tolist(), strict=True):
            inside = mask[y0:y1, x0:x1] == number + 1
            for side in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
                assert side.any(), pair.name
            covered[y0:y1, x0:x1] |= inside
            assert min(y1 - y0, x1 - x0) >= 4
        assert (covered == (mask > 0)).all(), pair.name


def test_people_stand_out_in_the_infrared_and_cars_in_the_visible(made: dict[LabelKind, PairSet]) -> None:
    people, cars = [], []
    for index, pair in enumerate(made["segmentation"]):
        mask, warm, seen = _mask(made["segmentation"], index), _grey(pair.files[0]), _grey(pair.files[1])
        for number, contrasts in ((1, people), (2, cars)):
            inside = mask == number
            around = ndimage.binary_dilation(inside, iterations=6) & (mask == 0)
            contrasts.append([image[inside].mean() - image[around].mean() for image in (warm, seen)])
    warm_people, seen_people = np.transpose(people)
    warm_cars, seen_cars = np.transpose(cars)
    assert (warm_people > 40).all()
    assert (np.abs(seen_people) < warm_people).mean() > 0.7
    assert (np.abs(warm_cars) < 15).all()
    assert (seen_cars > np.abs(warm_cars)).mean() > 0.7
    # By day one source is bright where the other is dark: their average shows less than the infrared.
    day = [index for index, pair in enumerate(made["segmentation"]) if "day" in pair.name]
    assert (np.abs(warm_people + seen_people)[day] / 2 < 0.6 * warm_people[day]).all()


def test_another_seed_gives_other_streets(made: dict[LabelKind, PairSet], tmp_path: Path) -> None:
    other = labelled_sample(IVIF, "detection", tmp_path / "other", seed=1)
    known = {digest for pair in made["detection"] for digest in pair.sha256}
    assert not known & {digest for pair in other for digest in pair.sha256}


def test_the_word_sample_means_it_and_gives_the_same_files_every_time(
    made: dict[LabelKind, PairSet], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    for kind in _KINDS:
        found = find_labelled("sample", IVIF, kind, split="train")
        assert found.labels == made[kind].labels
        assert found.fingerprint() == made[kind].split("train").fingerprint()
    # A damaged label is noticed, and everything is made again.
    label = found[0].label
    assert label is not None
    before = label.read_text()
    label.write_text("0 0.5 0.5 0.1 0.1\n")
    assert find_labelled("sample", IVIF, "segmentation").fingerprint() == made["segmentation"].fingerprint()
    assert label.read_text() == before
    folder = made["detection"][0].files[0].parents[1]
    assert find_labelled(folder, IVIF, "detection").fingerprint() == made["detection"].fingerprint()


def test_another_task_a_negative_seed_and_a_used_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no built-in labelled sample for task 'mif'"):
        labelled_sample(MIF, "detection")
    with pytest.raises(UsageError, match="seed"):
        labelled_sample(IVIF, "detection", tmp_path, seed=-1)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="is there already and is not this sample"):
        labelled_sample(IVIF, "detection", tmp_path)
