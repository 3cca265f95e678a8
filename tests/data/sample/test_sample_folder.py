"""The built-in sample: deterministic, sound, and each task's truth and sources what they claim to be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from fusionkit.data import PairSet, verify
from fusionkit.data.sample import SAMPLE_TASKS, sample_pairs
from fusionkit.data.sample.fields import clouds, pedestrian, ramp
from fusionkit.data.sample.infrared_visible import PLACES as THERMAL_PLACES
from fusionkit.data.sample.medical_slices import TISSUES, colour_map, draw_head
from fusionkit.data.sample.multi_exposure import PLACES as EXPOSURE_PLACES
from fusionkit.data.sample.multi_exposure import response
from fusionkit.data.sample.multi_focus import defocus, disc
from fusionkit.data.sample.photographs import disparity, encode, linear, photograph
from fusionkit.data.sample.sample_folder import make_scenes
from fusionkit.errors import DataError, UsageError
from fusionkit.io.images import read_image
from fusionkit.tasks import IVIF, MEIF, MFIF, MIF, Task

_TASKS = {task.name: task for task in (IVIF, MIF, MFIF, MEIF)}
Array = NDArray[np.float64]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PairSet]:
    root = tmp_path_factory.mktemp("samples")
    return {name: sample_pairs(_TASKS[name], root / name) for name in SAMPLE_TASKS}


def _pixels(file: Path | None) -> Array:
    assert file is not None
    return read_image(file).pixels.astype(np.float64)


def _grey(file: Path | None) -> Array:
    return _pixels(file).mean(axis=2)


def _sharpness(image: Array, within: NDArray[np.bool_] | None = None) -> float:
    """Mean squared gradient by central differences."""
    down, right = np.gradient(image)
    energy = down**2 + right**2
    return float(energy.mean() if within is None else energy[within].mean())


@pytest.mark.parametrize("task", SAMPLE_TASKS)
def test_a_sample_is_sound_and_has_pairs_to_train_and_to_test(made: dict[str, PairSet], task: str) -> None:
    pairs = made[task]
    verify(pairs, decode=True)
    assert pairs.splits["train"] >= 8
    assert 2 <= pairs.splits["test"] <= 4
    for pair in pairs:
        height, width = _pixels(pair.files[0]).shape[:2]
        assert 160 <= height <= 320
        assert 192 <= width <= 320
        assert all(any(pair.sha256) for pair in pairs)


@pytest.mark.parametrize("task", SAMPLE_TASKS)
def test_the_same_seed_gives_the_same_files(made: dict[str, PairSet], task: str, tmp_path: Path) -> None:
    again = sample_pairs(_TASKS[task], tmp_path / "again")
    assert again.fingerprint() == made[task].fingerprint()
    texts = [(p[0].files[0].parents[1] / "MANIFEST.csv").read_text() for p in (again, made[task])]
    assert texts[0] == texts[1]


def test_another_seed_gives_other_pictures(made: dict[str, PairSet], tmp_path: Path) -> None:
    other = sample_pairs(MEIF, tmp_path / "other", seed=1)
    assert [pair.name for pair in other] == [pair.name for pair in made["meif"]]
    assert not {d for pair in other for d in pair.sha256} & {d for pair in made["meif"] for d in pair.sha256}


@pytest.mark.parametrize("places", [EXPOSURE_PLACES, THERMAL_PLACES], ids=["meif", "ivif"])
def test_no_part_of_a_photograph_is_in_both_splits(places: tuple[tuple[object, ...], ...]) -> None:
    for name, split, top, left, *_ in places:
        for other, other_split, other_top, other_left, *_ in places:
            if name == other and split != other_split:
                assert abs(top - other_top) >= 256 or abs(left - other_left) >= 256  # type: ignore[operator]


def test_multi_focus_truth_is_at_least_as_sharp_as_both_sources(made: dict[str, PairSet]) -> None:
    for pair in made["mfif"]:
        near, far, truth = (_grey(file) for file in (*pair.files, pair.truth))
        assert _sharpness(truth) > _sharpness(near), pair.name
        assert _sharpness(truth) > _sharpness(far), pair.name


def test_each_multi_focus_source_is_the_truth_where_the_other_is_blurred(made: dict[str, PairSet]) -> None:
    for pair in made["mfif"]:
        near, far, truth = (_grey(file) for file in (*pair.files, pair.truth))
        off_near, off_far = (ndimage.uniform_filter(np.abs(image - truth), 9) for image in (near, far))
        only_near, only_far = (off_near < 0.5) & (off_far > 4), (off_far < 0.5) & (off_near > 4)
        assert only_near.mean() > 0.01, pair.name
        assert only_far.mean() > 0.01, pair.name
        assert _sharpness(near, only_near) > 1.5 * _sharpness(far, only_near), pair.name
        assert _sharpness(far, only_far) > 1.5 * _sharpness(near, only_far), pair.name
        # What neither shows sharply is a small rest at blurred edges.
        assert (np.minimum(off_near, off_far) < 3).mean() > 0.9, pair.name


def test_the_nearer_source_is_sharp_where_disparity_is_large(made: dict[str, PairSet]) -> None:
    pair = made["mfif"].named(["motorcycle-5"])[0]
    near, far, truth = (_grey(file) for file in (*pair.files, pair.truth))
    depth = disparity()[:256, 485:]
    close, distant = depth > np.percentile(depth, 95), depth < np.percentile(depth, 40)
    assert np.abs(near - truth)[close].mean() < 0.3 * np.abs(far - truth)[close].mean()
    assert np.abs(far - truth)[distant].mean() < 0.3 * np.abs(near - truth)[distant].mean()


def test_multi_exposure_sources_bracket_the_truth(made: dict[str, PairSet]) -> None:
    for pair in made["meif"]:
        under, over, truth = (_pixels(file) for file in (*pair.files, pair.truth))
        # Noise is a few levels at most.
        assert (under <= truth + 6).mean() > 0.999, pair.name
        assert (over >= truth - 6).mean() > 0.999, pair.name
        assert under.mean() < 0.8 * truth.mean() < truth.mean() < 0.9 * over.mean(), pair.name


def test_multi_exposure_sources_lose_what_the_truth_has(made: dict[str, PairSet]) -> None:
    clipped = [(_pixels(pair.files[1]) == 255).mean() for pair in made["meif"]]
    kept = [(_pixels(pair.truth) == 255).mean() for pair in made["meif"]]
    assert np.mean(clipped) > 0.1
    assert max(kept) < 0.02


def test_warm_bodies_stand_out_in_the_infrared_and_not_in_the_visible(made: dict[str, PairSet]) -> None:
    for pair in made["ivif"]:
        warm, seen = _grey(pair.files[0]), _grey(pair.files[1])
        body = ndimage.binary_opening(warm > 140, iterations=2)
        around = ndimage.binary_dilation(body, iterations=14) & ~ndimage.binary_dilation(body, iterations=5)
        assert 0.01 < body.mean() < 0.25, pair.name
        infrared = warm[body].mean() - warm[around].mean()
        visible = abs(seen[body].mean() - seen[around].mean())
        assert infrared > 80, pair.name
        assert visible < infrared / 2.5, pair.name


def test_visible_images_have_texture_and_colour_that_the_infrared_lacks(made: dict[str, PairSet]) -> None:
    richer = 0
    for pair in made["ivif"]:
        warm, seen = _grey(pair.files[0]), _grey(pair.files[1])
        cold = ~ndimage.binary_dilation(warm > 140, iterations=8)
        # Detail relative to contrast: haze and night scale both.
        detail = [_sharpness(image, cold) / image[cold].var() for image in (warm, seen)]
        richer += detail[1] > detail[0]
        assert read_image(pair.files[0]).pixels.shape[2] == 1
    assert richer >= 10
    colourful = [not read_image(pair.files[1]).is_grey for pair in made["ivif"]]
    assert sum(colourful) >= 8


def test_medical_sources_hold_what_the_other_lacks(made: dict[str, PairSet]) -> None:
    for pair in made["mif"]:
        other, mri = read_image(pair.files[0]), _grey(pair.files[1])
        if pair.name.startswith("ct"):
            bone = _grey(pair.files[0]) > 200
            assert other.is_grey
            assert bone.mean() > 0.03, pair.name
            assert mri[ndimage.binary_erosion(bone, iterations=2)].mean() < 60, pair.name
        else:
            assert not other.is_grey
            spread = np.ptp(other.pixels.astype(int), axis=2)
            assert (spread > 60).mean() > 0.08, pair.name
            assert _sharpness(mri) > 0
        assert mri.std() > 30, pair.name


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="is there already and is not this sample"):
        sample_pairs(MEIF, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_a_sample_of_another_seed_is_not_taken_for_this_one(tmp_path: Path) -> None:
    sample_pairs(MEIF, tmp_path / "s", seed=1)
    with pytest.raises(DataError, match="is not this sample"):
        sample_pairs(MEIF, tmp_path / "s", seed=2)


def test_an_empty_folder_is_filled_and_used_again(tmp_path: Path) -> None:
    first = sample_pairs(MEIF, tmp_path)
    times = [file.stat().st_mtime_ns for pair in first for file in pair.files]
    second = sample_pairs(MEIF, tmp_path)
    assert [file.stat().st_mtime_ns for pair in second for file in pair.files] == times


def test_nothing_is_left_when_making_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fusionkit.data.sample.sample_folder.write_manifest", full)
    with pytest.raises(DataError, match="the sample cannot be written"):
        sample_pairs(MEIF, tmp_path / "s")
    assert list(tmp_path.iterdir()) == []


def test_a_task_without_sample_and_a_negative_seed_are_errors(tmp_path: Path) -> None:
    other = Task(name="mfiff", title="x", sources=("a", "b"), folders=(("a",), ("b",)), metrics=("EN",))
    with pytest.raises(UsageError, match=r"no built-in sample for task 'mfiff': did you mean 'mfif'\?"):
        make_scenes(other)
    with pytest.raises(UsageError, match="seed"):
        sample_pairs(MEIF, tmp_path / "s", seed=-1)


def test_gamma_encoding_is_inverted() -> None:
    values = np.linspace(0, 1, 256, dtype=np.float32)
    np.testing.assert_allclose(encode(linear(values)), values, atol=2e-6)
    assert linear(np.array([0.5], np.float32)) == pytest.approx(0.21404114)  # by the standard's formula


def test_a_grey_photograph_has_equal_channels_and_unknown_disparity_is_filled() -> None:
    camera = photograph("camera")
    assert camera.shape == (512, 512, 3)
    assert (camera[:, :, 0] == camera[:, :, 2]).all()
    assert np.isfinite(disparity()).all()
    assert disparity().min() > 5


@pytest.mark.parametrize("radius", [1.0, 2.5, 3.7])
def test_a_disc_is_round_and_sums_to_one(radius: float) -> None:
    kernel = disc(radius)
    assert kernel.sum() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(kernel, kernel.T)
    # The second moment of a disc about an axis is r^2 / 4; a pixel and a soft edge add 1/12 each.
    reach = kernel.shape[0] // 2
    moment = (kernel * (np.arange(-reach, reach + 1)[:, None] ** 2)).sum()
    assert moment == pytest.approx(radius**2 / 4 + 1 / 6, rel=0.08)


def test_a_point_out_of_focus_becomes_a_disc_of_its_light() -> None:
    light = np.zeros((65, 65, 3), np.float32)
    light[32, 32] = 1
    flat = np.full((65, 65), 0.2, np.float32)
    seen = defocus(light, flat, 0.9, aperture=8, field=0.0)
    assert seen.sum() == pytest.approx(3, rel=1e-3)
    spread = seen[:, :, 0] > 1e-4
    assert 2 * np.sqrt(spread.sum() / np.pi) == pytest.approx(2 * 8 * 0.7, rel=0.25)
    np.testing.assert_array_equal(defocus(light, flat, 0.2, aperture=8, field=0.1), light)


def test_a_sharp_foreground_does_not_bleed_into_a_blurred_background() -> None:
    light = np.full((64, 64, 3), 0.1, np.float32)
    light[:, 32:] = 0.9
    depth = np.zeros((64, 64), np.float32)
    depth[:, 32:] = 1.0
    seen = defocus(light, depth, 1.0, aperture=8, field=0.1)
    np.testing.assert_allclose(seen, light, atol=1e-5)
    # The other way round, the blurred foreground spreads over the sharp background.
    assert defocus(light, depth, 0.0, aperture=8, field=0.1)[32, 29, 0] > 0.15


def test_the_camera_response_is_monotone_from_0_to_1() -> None:
    curve = response(np.linspace(-0.5, 2, 400, dtype=np.float32), strength=0.6, power=0.9)
    assert (np.diff(curve) >= 0).all()
    assert curve[0] == 0
    assert curve[-1] == pytest.approx(1)


def test_random_fields_fill_their_range() -> None:
    rng = np.random.default_rng(0)
    for field in (clouds((40, 50), rng, scale=8), ramp((40, 50), 0.7)):
        assert field.shape == (40, 50)
        assert (field.min(), field.max()) == (0, 1)


def test_a_pedestrian_stands_on_its_feet() -> None:
    figure = pedestrian((200, 160), np.random.default_rng(3), height=120, foot=(180, 80))
    rows = np.flatnonzero(figure.max(axis=1) > 0.5)
    assert 56 <= rows[0] <= 66
    assert 174 <= rows[-1] <= 182
    assert 0.08 < figure.sum() / 120**2 < 0.25


def test_a_head_has_its_tissues_from_outside_in() -> None:
    tissue = draw_head(np.random.default_rng(0), ventricles=True, lesion=True).tissue
    present = {TISSUES[k] for k in np.unique(tissue)}
    assert present == set(TISSUES)
    inward = [TISSUES[k] for k in dict.fromkeys(tissue[128, :128])]
    assert inward[:4] == ["air", "scalp", "bone", "fluid"]


def test_false_colour_passes_through_its_knots() -> None:
    knots = ((0, 0, 0), (255, 0, 0), (255, 255, 0))
    shown = colour_map(np.array([[0.0, 0.5, 0.75, 1.0]], np.float32), knots)
    np.testing.assert_allclose(shown[0], [[0, 0, 0], [1, 0, 0], [1, 0.5, 0], [1, 1, 0]], atol=1e-6)
