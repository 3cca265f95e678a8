"""Fused volumes: slices as images are fused, grids joined by their affines, one range, nothing of the patient."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import fusionkit
from fusionkit.cli import main
from fusionkit.errors import DataError, FusionNote
from fusionkit.fuse.model import Model
from fusionkit.fuse.volume import VolumePlan, fuse_volumes, on_grid
from fusionkit.io.volumes import Plane, read_volume, slices
from tests.support.series import write_nifti, write_series

nibabel = pytest.importorskip("nibabel")
pytest.importorskip("pydicom")

SHAPE = (40, 36, 5)


def _values(seed: int, shape: tuple[int, ...] = SHAPE) -> Any:
    noise = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    return np.stack([cv2.GaussianBlur(noise[:, :, k], (0, 0), 1.5) for k in range(shape[2])], 2)


def _model(name: str = "average", stretch: Any = "none") -> Model:
    return fusionkit.load(name, device="cpu", stretch=stretch)


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_a_result_is_the_mean_on_the_same_grid(tmp_path: Path) -> None:
    affine = np.array([[0, 0, 2.5, 3], [-1, 0, 0, 7], [0, 1.5, 0, -9], [0, 0, 0, 1]])
    a, b = (write_nifti(tmp_path / f"{k}.nii.gz", _values(k), affine) for k in range(2))
    for plane in ("axial", "coronal", "sagittal"):
        out = tmp_path / f"{plane}.nii.gz"
        assert fuse_volumes(_model(), VolumePlan((a, b), out, plane=plane)) in SHAPE  # type: ignore[arg-type]
        made = nibabel.load(out)
        assert np.array_equal(made.affine, affine)
        wanted = (_values(0).astype(float) + _values(1)) / 2 / 255
        assert abs(made.get_fdata() - wanted).max() < 1e-4
        assert made.get_data_dtype() == np.uint16


@pytest.mark.parametrize("turn", [(1, 1, 1), (-1, 1, 1), (-1, -1, -1)])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_slices_show_front_head_and_right_where_they_belong(turn: tuple[int, ...], order: tuple[int, ...]) -> None:
    """Each voxel holds its own place in millimetres: x must grow to the right of the picture, y or z upwards."""
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for world, voxel in enumerate(order):
        affine[world, voxel] = turn[world] * (world + 1.0)
    indices = np.stack([*np.meshgrid(*[np.arange(n) for n in (4, 5, 6)], indexing="ij"), np.ones((4, 5, 6))])
    places = np.einsum("ij,j...->i...", affine, indices)[:3]
    shown: dict[Plane, tuple[int, int, int]] = {"axial": (2, 0, 1), "coronal": (1, 0, 2), "sagittal": (0, 1, 2)}
    for plane, (along, right, up) in shown.items():
        x, y, z = (slices(places[world], affine, plane) for world in (along, right, up))
        assert (np.diff(x, axis=0) > 0).all()
        assert (np.diff(y, axis=2) > 0).all()
        assert (np.diff(z, axis=1) < 0).all()


def test_another_grid_is_resampled_by_the_affines(tmp_path: Path) -> None:
    """A volume that is linear in space is the same on any grid, but for what lies outside."""

    def linear(affine: Any, shape: tuple[int, ...]) -> Any:
        indices = np.stack([*np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), np.ones(shape)])
        x, y, z, _ = np.einsum("ij,j...->i...", affine, indices)
        return (2 * x - y + 3 * z).astype(np.float32)

    fine = np.diag([1.0, 1.0, 2.0, 1.0])
    coarse = np.array([[-2, 0, 0, 50], [0, 0, 3, -5], [0, 1.5, 0, -6], [0, 0, 0, 1.0]])
    reference = read_volume(write_nifti(tmp_path / "r.nii", linear(fine, (40, 30, 8)), fine))
    moving = read_volume(write_nifti(tmp_path / "m.nii.gz", linear(coarse, (40, 20, 20)), coarse))
    with pytest.warns(FusionNote, match="40x20x20 is resampled onto the grid of .* 40x30x8"):
        moved = on_grid(moving, reference)
    assert moved.shape == (40, 30, 8)
    np.testing.assert_allclose(moved, reference.values, atol=1e-3)
    far = fine.copy()
    far[0, 3] = 500
    with pytest.raises(DataError, match="does not overlap with"):
        on_grid(read_volume(write_nifti(tmp_path / "f.nii", linear(fine, (40, 30, 8)), far)), reference)


def test_files_that_state_no_affine(tmp_path: Path) -> None:
    a = write_nifti(tmp_path / "a.nii.gz", _values(0), code=0)
    b = write_nifti(tmp_path / "b.nii.gz", _values(1))
    with pytest.warns(FusionNote, match="no affine is stated in .*a.nii.gz: voxels with equal indices"):
        fuse_volumes(_model(), VolumePlan((a, b), tmp_path / "f.nii.gz"))
    c = write_nifti(tmp_path / "c.nii.gz", _values(2, (40, 30, 5)))
    with pytest.raises(DataError, match=r"40x36x5 and .*c\.nii\.gz 40x30x5, and no affine is stated in .*a\.nii\.gz"):
        fuse_volumes(_model(), VolumePlan((a, c), tmp_path / "g.nii.gz"))
    assert not (tmp_path / "g.nii.gz").exists()


def test_a_volume_has_one_range_and_one_stretch(tmp_path: Path) -> None:
    """Equal densities stay equal from slice to slice, although one slice holds more."""
    tissue = np.repeat(_values(0)[:, :, :1].astype(np.int16) * 4 - 500, 5, axis=2)
    tissue[:5, :5, 4] = 1500
    ct, mri = write_nifti(tmp_path / "ct.nii.gz", tissue), write_nifti(tmp_path / "mr.nii.gz", _values(1))
    with pytest.warns(FusionNote, match=r"ct\.nii\.gz: .* are scaled to 0\.\.1"):
        fuse_volumes(_model("copy-a", stretch="full"), VolumePlan((ct, mri), tmp_path / "f.nii.gz"))
    made = nibabel.load(tmp_path / "f.nii.gz").get_fdata()
    assert np.array_equal(made[5:, 5:, 0], made[5:, 5:, 4])
    assert (made.min(), made.max()) == (0, pytest.approx(1))
    done = _run("fuse", "-m", "copy-a", "-a", ct, "-b", mri, "-o", tmp_path / "w.nii.gz", "--range-a", "window:brain")
    assert done.exit_code == 0, done.output
    wanted = ((tissue - 0.0) / 80).clip(0, 1)
    assert abs(nibabel.load(tmp_path / "w.nii.gz").get_fdata() - wanted).max() < 1e-4


def test_a_dicom_series_is_the_same_as_nifti(tmp_path: Path) -> None:
    values = _values(0).astype(np.int32) * 4 - 500
    series = write_series(tmp_path / "ct", values, spacing=(0.5, 0.75, 3))
    read = read_volume(series)
    assert np.array_equal(read.values, values)
    # DICOM counts to the left and to the back, NIfTI to the right and to the front.
    assert np.array_equal(read.affine, [[-0.5, 0, 0, 10], [0, -0.75, 0, 20], [0, 0, 3, 5], [0, 0, 0, 1]])
    nifti = write_nifti(tmp_path / "mr.nii.gz", _values(1), read.affine)
    done = _run("fuse", "-m", "copy-a", "-a", series, "-b", nifti, "-o", tmp_path / "f.nii", "--range-a=-500,520")
    assert done.exit_code == 0, done.output
    assert abs(nibabel.load(tmp_path / "f.nii").get_fdata() - (values + 500) / 1020).max() < 1e-4
    assert b"Jane" not in (tmp_path / "f.nii").read_bytes()


def test_slices_as_pictures_with_a_colour_map(tmp_path: Path) -> None:
    pet, mri = (write_nifti(tmp_path / f"{k}.nii.gz", _values(k)) for k in range(2))
    done = _run("fuse", "-m", "average", "-a", pet, "-b", mri, "-o", tmp_path / "out", "--colormap", "hot")
    assert done.exit_code == 0, done.output
    assert "5 axial slices" in done.stderr
    files = sorted((tmp_path / "out").iterdir())
    assert [file.name for file in files] == [f"axial_{k}.png" for k in range(5)]
    with Image.open(files[0]) as picture:
        assert (picture.mode, picture.size) == ("RGB", (40, 36))
    done = _run("fuse", "-m", "average", "-a", pet, "-b", mri, "-o", tmp_path / "f.nii.gz", "--colormap", "hot")
    assert done.exit_code == 0, done.output
    made = nibabel.load(tmp_path / "f.nii.gz")
    assert made.get_data_dtype().names == ("R", "G", "B")
    again = read_volume(tmp_path / "f.nii.gz")
    with Image.open(files[3]) as picture:
        assert np.array_equal(slices(again.values, again.affine, "axial")[3], np.asarray(picture))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:500]), "cannot be read as NIfTI"),
        (lambda path: path.write_text("no volume"), "cannot be read as NIfTI"),
        (lambda path: write_nifti(path, np.zeros((4, 4, 4, 7), np.float32)), "is 4x4x4x7 float32, not one volume"),
        (lambda path: path.unlink(), "no such file"),
        (lambda path: write_nifti(path, np.full(SHAPE, np.nan, np.float32)), "0.nii.gz"),
        (lambda path: write_nifti(path, np.full(SHAPE, 7, np.int16)), "are no range to scale"),
    ],
)
def test_a_volume_that_cannot_be_fused_is_named(tmp_path: Path, change: Any, what: str) -> None:
    a, b = (write_nifti(tmp_path / f"{k}.nii.gz", _values(k)) for k in range(2))
    change(a)
    done = _run("fuse", "-m", "average", "-a", a, "-b", b, "-o", tmp_path / "f.nii.gz")
    assert done.exit_code == 4, done.output
    assert what in done.output.splitlines()[-1]
    assert {file.name for file in tmp_path.iterdir()} <= {"0.nii.gz", "1.nii.gz"}


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"PhotometricInterpretation": "MONOCHROME1"}, "is MONOCHROME1; only MONOCHROME2 is read"),
        ({"ImagePositionPatient": [0, 0, 1]}, "apart: one is missing, or is there twice"),
    ],
)
def test_a_series_that_is_not_whole_is_named(tmp_path: Path, changes: dict[str, Any], what: str) -> None:
    folder = write_series(tmp_path / "ct", np.zeros((8, 8, 3), np.int32))
    other = write_series(tmp_path / "other", np.zeros((8, 8, 3), np.int32), **changes)
    first = sorted(other.iterdir())[0]
    if "Photometric" in next(iter(changes)):
        (folder / "x.dcm").write_bytes(first.read_bytes())
        with pytest.raises(DataError, match=what):
            read_volume(folder)
        return
    missing = write_series(tmp_path / "gap", np.zeros((8, 8, 5), np.int32))
    next(missing.glob("*_2.dcm")).unlink()
    with pytest.raises(DataError, match=what):
        read_volume(missing)
    (folder / "x.dcm").write_bytes(first.read_bytes())
    with pytest.raises(DataError, match="holds 2 series"):
        read_volume(folder)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("-o", "f.png"), "volumes are fused into .nii, .nii.gz, or a folder"),
        (("-o", "0.nii.gz", "--force"), "would replace a source"),
        (("-o", "f.nii.gz", "--colormap", "hott"), "--colormap hott: did you mean 'hot'"),
        (("-o", "f.nii.gz", "--colormap", "hot", "--bits", "16"), "in colour holds 8 bits"),
        (("-o", "f.nii.gz", "--align", "rigid"), "are not for volumes"),
        (("-o", "f.nii.gz", "--reference", "3"), "source 3 of 2"),
    ],
)
def test_a_wrong_wish_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    a, b = (write_nifti(tmp_path / f"{k}.nii.gz", _values(k)) for k in range(2))
    done = _run("fuse", "-m", "average", "-a", a, "-b", b, *options)
    assert done.exit_code == 2, done.output
    assert what in done.output
    assert {file.name for file in tmp_path.iterdir()} == {"0.nii.gz", "1.nii.gz"}


def test_without_nibabel_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = (write_nifti(tmp_path / f"{k}.nii.gz", _values(k)) for k in range(2))
    monkeypatch.setitem(sys.modules, "nibabel", None)
    done = _run("fuse", "-m", "average", "-a", a, "-b", b, "-o", tmp_path / "f.nii.gz")
    assert done.exit_code == 2
    assert "pip install 'image-fusionkit[medical]'" in done.output
