"""GeoTIFF: where a scene lies is kept, and pairs on other grids are brought together by it; rasterio is the witness."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

import fusionkit
from fusionkit.cli import main
from fusionkit.errors import DataError, FusionNote
from fusionkit.io.images import read_image

rasterio = pytest.importorskip("rasterio")
from rasterio.crs import CRS  # noqa: E402
from rasterio.transform import Affine, from_origin  # noqa: E402
from rasterio.warp import Resampling, calculate_default_transform, reproject  # noqa: E402

# A scene of 240x320 metres, 1 metre per pixel, in UTM zone 32 north.
LEFT, TOP = 500_000.0, 5_400_000.0
Y, X = np.mgrid[:240, :320].astype(np.float32)
SCENE = (127 + 60 * np.sin(X / 9 + Y / 40) + 60 * np.cos(Y / 13)).astype(np.uint8)


def write(path: Path, pixels: Any, transform: Any, crs: str | None = "EPSG:32632", **more: Any) -> Path:
    planes = pixels if pixels.ndim == 3 else pixels[None]
    profile = {"height": planes.shape[1], "width": planes.shape[2], "count": planes.shape[0], "dtype": planes.dtype}
    with rasterio.open(path, "w", driver="GTiff", crs=crs, transform=transform, **profile, **more) as file:
        file.write(planes)
    return path


def place_of(path: Path) -> tuple[Any, Any]:
    with rasterio.open(path) as file:
        return file.crs, file.transform


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["fuse", "-m", "average", *map(str, arguments)])


@pytest.mark.parametrize(
    "transform",
    [from_origin(LEFT, TOP, 1, 1), from_origin(LEFT, TOP, 0.5, 2), Affine(0.8, 0.6, LEFT, 0.6, -0.8, TOP)],
)
def test_the_place_of_the_sources_is_that_of_the_result(tmp_path: Path, transform: Any) -> None:
    a = write(tmp_path / "a.tif", SCENE, transform)
    b = write(tmp_path / "b.tif", np.stack([SCENE, SCENE[::-1], SCENE]), transform)
    result = _run("-a", a, "-b", b, "-o", tmp_path / "f.tif")
    assert result.exit_code == 0, result.output
    crs, found = place_of(tmp_path / "f.tif")
    assert crs == CRS.from_epsg(32632)
    assert np.allclose(found, transform)
    with rasterio.open(tmp_path / "f.tif") as file:
        assert np.array_equal(file.read(1), read_image(tmp_path / "f.tif").pixels[..., 0])


def test_16_bits_and_pixel_is_point_keep_their_place(tmp_path: Path) -> None:
    transform = from_origin(LEFT, TOP, 1, 1)
    for name in ("a.tif", "b.tif"):
        write(tmp_path / name, SCENE.astype(np.uint16) * 200, transform)
        with rasterio.open(tmp_path / name, "r+") as file:
            file.update_tags(AREA_OR_POINT="Point")
    assert _run("-a", tmp_path / "a.tif", "-b", tmp_path / "b.tif", "-o", tmp_path / "f.tif").exit_code == 0
    with rasterio.open(tmp_path / "f.tif") as file, rasterio.open(tmp_path / "a.tif") as source:
        assert file.transform == source.transform
        assert file.tags()["AREA_OR_POINT"] == "Point"
        assert file.dtypes == ("uint16",)


def test_pairs_on_other_grids_come_together_by_their_tags(tmp_path: Path) -> None:
    # The visible part begins 40 pixels to the right and 30 down; the other has pixels of two metres.
    b = write(tmp_path / "b.tif", SCENE[30:190, 40:260], from_origin(LEFT + 40, TOP - 30, 1, 1))
    coarse = cv2.resize(SCENE, (160, 120), interpolation=cv2.INTER_AREA)
    a = write(tmp_path / "a.tif", coarse, from_origin(LEFT, TOP, 2, 2))
    result = _run("-a", a, "-b", b, "-o", tmp_path / "f.tif", "--align", "place")
    assert result.exit_code == 0, result.output
    fused = read_image(tmp_path / "f.tif").pixels[..., 0].astype(float)
    assert fused.shape == (160, 220)
    assert np.abs(fused - SCENE[30:190, 40:260]).mean() < 1.5
    assert place_of(tmp_path / "f.tif") == place_of(b)


def test_another_reference_system_is_converted(tmp_path: Path) -> None:
    fixed = from_origin(LEFT, TOP, 1, 1)
    b = write(tmp_path / "b.tif", SCENE, fixed)
    crs = {"src_crs": "EPSG:32632", "dst_crs": "EPSG:4326"}
    bounds = (LEFT, TOP - 240, LEFT + 320, TOP)
    there, width, height = calculate_default_transform(*crs.values(), 320, 240, *bounds)
    degrees = np.zeros((height, width), np.uint8)
    reproject(SCENE, degrees, src_transform=fixed, dst_transform=there, resampling=Resampling.cubic, **crs)
    a = write(tmp_path / "a.tif", degrees, there, "EPSG:4326")
    result = _run("-a", a, "-b", b, "-o", tmp_path / "f.tif", "--align", "place")
    assert result.exit_code == 0, result.output
    fused = read_image(tmp_path / "f.tif").pixels[8:-8, 8:-8, 0].astype(float)
    assert np.abs(fused - SCENE[8:-8, 8:-8]).mean() < 1.5
    assert place_of(tmp_path / "f.tif") == place_of(b)


def test_what_lies_elsewhere_is_said(tmp_path: Path) -> None:
    a = write(tmp_path / "a.tif", SCENE, from_origin(LEFT, TOP, 1, 1))
    near = write(tmp_path / "near.tif", SCENE, from_origin(LEFT + 100, TOP, 1, 1))
    far = write(tmp_path / "far.tif", SCENE, from_origin(LEFT + 10_000, TOP, 1, 1))
    with pytest.warns(FusionNote, match="lie at different places by their files: --align place"):
        fused = fusionkit.load("average", device="cpu").fuse(a, near)
    assert fused.geo is None
    with pytest.warns(FusionNote, match=r"near.tif: covers 69% of .*a.tif"):
        fusionkit.load("average", device="cpu").fuse(near, a, align="place")
    with pytest.raises(DataError, match=r"far.tif: lies beside"):
        fusionkit.load("average", device="cpu").fuse(far, a, align="place")


def test_a_result_that_cannot_hold_the_place_says_so(tmp_path: Path) -> None:
    a = write(tmp_path / "a.tif", SCENE, from_origin(LEFT, TOP, 1, 1))
    result = _run("-a", a, "-b", a, "-o", tmp_path / "f.png")
    assert result.exit_code == 0
    assert ".png does not hold where the scene lies; .tif does" in result.stderr


def test_bad_places_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a = write(tmp_path / "a.tif", SCENE, from_origin(LEFT, TOP, 1, 1))
    cv2.imwrite(str(tmp_path / "plain.png"), SCENE)
    degrees = write(tmp_path / "degrees.tif", SCENE, from_origin(9, 48.75, 1e-5, 1e-5), "EPSG:4326")
    result = _run("-a", tmp_path / "plain.png", "-b", a, "-o", tmp_path / "f.tif", "--align", "place")
    assert result.exit_code == 4
    assert "does not state where it lies" in result.stderr
    monkeypatch.setitem(sys.modules, "rasterio.warp", None)
    result = _run("-a", degrees, "-b", a, "-o", tmp_path / "f.tif", "--align", "place")
    assert result.exit_code == 4
    assert "pip install 'image-fusionkit[geo]'" in result.stderr
    assert not (tmp_path / "f.tif").exists()


def test_damaged_tags_state_no_place(tmp_path: Path) -> None:
    a = write(tmp_path / "a.tif", SCENE, from_origin(LEFT, TOP, 1, 1))
    assert read_image(a).geo is not None
    # The scale of a pixel becomes zero.
    with rasterio.open(a) as file:
        scale = np.array([1.0, 1.0, 0.0]).tobytes()
        assert file.transform.a == 1
    data = a.read_bytes()
    assert data.count(scale) == 1
    (tmp_path / "zero.tif").write_bytes(data.replace(scale, np.zeros(3).tobytes()))
    assert read_image(tmp_path / "zero.tif").geo is None
