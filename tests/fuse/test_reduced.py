"""Speeds below exact: the regression beside float64 normal equations, affine truth, sizes, refusals."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from fusionkit.cli import main
from fusionkit.contracts import Capabilities, Fuser
from fusionkit.errors import DataError, FusionNote, PluginError, UsageError
from fusionkit.fuse.model import Model, load
from fusionkit.fuse.reduced import SHRINKING, Speed, enlarged, local_regression
from fusionkit.io.images import Image, read_image, write_image
from fusionkit.plugins import catalogue
from tests.support.toyfusers import TOYS, ToyCropped, ToyHungry, ToyLean, ToyMean, ToyMeanRgb

REDUCED: tuple[Speed, ...] = ("half", "quarter", "eighth")


class Larger(Fuser):
    """The larger of two sources, of 3 pixels or more."""

    capabilities = Capabilities(min_size=3)

    def forward(self, *sources: torch.Tensor) -> torch.Tensor:
        assert min(sources[0].shape[2:]) >= 3
        return torch.maximum(*sources)


class Seventh(ToyMean):
    """Takes seven sources or more."""

    capabilities = Capabilities(min_sources=7, max_sources=None)


def noise(*size: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(size, generator=torch.Generator().manual_seed(seed))


def reference(a: np.ndarray, b: np.ndarray, fused: np.ndarray) -> np.ndarray:
    """Coefficients (3, H, W) by solving the normal equations of every window in float64."""
    height, width = a.shape
    found = np.empty((height, width, 3))

    def window(y: int, x: int) -> tuple[slice, slice]:
        return slice(max(y - 2, 0), y + 3), slice(max(x - 2, 0), x + 3)

    for y, x in np.ndindex(height, width):
        part = window(y, x)
        columns = np.stack([a[part].ravel(), b[part].ravel(), np.ones(a[part].size)], 1)
        ridge = np.diag([1e-5, 1e-5, 0])
        normal = columns.T @ columns / len(columns) + ridge
        found[y, x] = np.linalg.solve(normal, columns.T @ fused[part].ravel() / len(columns) + ridge @ [0.5, 0.5, 0])
    means = [found[window(y, x)].mean((0, 1)) for y, x in np.ndindex(height, width)]
    return np.reshape(means, (height, width, 3)).transpose(2, 0, 1)


@pytest.mark.parametrize("size", [(1, 1), (3, 14), (12, 13)])
@pytest.mark.parametrize("contrast", [1.0, 0.01])
def test_regression_agrees_with_float64_normal_equations(size: tuple[int, int], contrast: float) -> None:
    a, b = (0.4 + contrast * (noise(1, 1, *size, seed=seed) - 0.4) for seed in (1, 2))
    fused = torch.maximum(a, b) ** 1.5
    expected = reference(*(image[0, 0].double().numpy() for image in (a, b, fused)))
    np.testing.assert_allclose(local_regression(a, b, fused)[0].numpy(), expected, atol=2e-4)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(REDUCED))
def test_the_mean_is_exact_at_every_size(height: int, width: int, speed: Speed) -> None:
    a, b = noise(height, width, seed=3).numpy(), noise(height, width, seed=4).numpy()
    fused = Model(ToyMean(), speed=speed).fuse(a, b, bits=32).array()
    np.testing.assert_allclose(fused, (a + b) / 2, atol=2e-6)


@pytest.mark.parametrize("speed", REDUCED)
def test_another_weighting_is_exact_to_the_ridge(speed: Speed) -> None:
    # Smooth enough to have contrast after shrinking, with detail at full size that only the coefficients carry over.
    a, b = (
        0.8 * F.interpolate(noise(2, 1, 8, 12, seed=seed), (64, 96), mode="bilinear") + 0.2 * noise(2, 1, 64, 96)
        for seed in (5, 6)
    )
    for k in range(2):
        sources = a[k, 0].numpy(), b[k, 0].numpy()
        fused = Model(ToyLean(), stretch="none", speed=speed).fuse(*sources, bits=32).array()
        np.testing.assert_allclose(fused, 0.25 * sources[0] + 0.75 * sources[1], atol=0.005)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_enlarging_by_strips_is_enlarging_at_once(factor: int) -> None:
    images = noise(2, 3, 11, 5, seed=7)
    whole = F.interpolate(images, scale_factor=factor, mode="bilinear", align_corners=False)
    for rows in (1, factor * 3, 10_000):
        strips = torch.empty_like(whole)
        for place, parts in enlarged(images, factor, rows):
            strips[:, :, place] = torch.cat(parts, 1)
        torch.testing.assert_close(strips, whole, atol=1e-6, rtol=0)


def test_a_choice_is_made_per_region_and_detail_is_kept() -> None:
    bright, dark = np.full((64, 64), 0.75, np.float32), np.full((64, 64), 0.25, np.float32)
    ripple = 0.1 * (np.indices((64, 64)).sum(0) % 2).astype(np.float32)
    one, two = np.concatenate([bright + ripple, dark], 1), np.concatenate([dark, bright + ripple], 1)
    fused = Model(Larger(), speed="quarter").fuse(one, two, bits=32).array()
    assert abs(fused.mean() - 0.8) < 0.03
    assert fused.min() > 0.5


def test_the_least_size_is_that_of_the_shrunk_sources() -> None:
    model = Model(Larger(), speed="quarter", name="larger")
    assert model.fuse(noise(9, 10), noise(9, 10)).array().shape == (9, 10)
    with pytest.raises(DataError, match="larger takes 9x9 or more"):
        model.fuse(noise(8, 10), noise(8, 10))


def test_colour_and_16_bits_are_fused_and_described() -> None:
    rgb = (noise(20, 30, 3).numpy() * 65535).astype(np.uint16)
    model = Model(ToyMean(), speed="half")
    result = model.fuse(rgb, rgb)
    assert np.abs(result.array().astype(int) - rgb).max() <= 2
    assert model.describe()["speed"] == "half"
    assert model.describe()["fuser"].endswith(":ToyMean")
    assert Model(ToyMean()).describe()["speed"] == "exact"


@pytest.mark.parametrize(
    ("fuser", "speed", "words"),
    [
        (ToyMeanRgb, "half", "luminance.*toy fuses RGB: use exact"),
        (Seventh, "quarter", "two sources.*toy takes more: use exact"),
        (ToyMean, "hafl", "hafl.*half"),
    ],
)
def test_what_has_no_such_speed_is_refused(fuser: type[Fuser], speed: Speed, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        Model(fuser(), name="toy", speed=speed)
    assert "\n" not in str(caught.value)


def test_more_than_two_sources_are_refused() -> None:
    images = [noise(6, 6)] * 3
    with pytest.raises(UsageError, match="two sources at this speed, and 3 are given: use exact"):
        Model(ToyMean(), speed="half").fuse(*images)
    assert Model(ToyMean()).fuse(*images).bits == 8


def test_faults_of_the_fuser_are_told_as_at_exact_speed() -> None:
    for fuser, kind in ((ToyCropped, PluginError), (ToyHungry, DataError)):
        told = []
        for speed in ("exact", "half"):
            with pytest.raises(kind) as caught:
                Model(fuser(), name="toy", speed=speed).fuse(noise(8, 8), noise(8, 8))
            told.append(str(caught.value).split(" ")[:3])
        assert told[0] == told[1]


def test_the_command_writes_the_speed_into_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue.fusers, "_registered", {})
    for name, kind in TOYS.items():
        catalogue.fusers.register(name, kind)
    for folder in "ab":
        write_image(tmp_path / folder / "1.png", Image(noise(17, 19, 1, seed=ord(folder)).mul(255).byte().numpy()))
    call = ["fuse", "-m", "toy-lean", "-a", str(tmp_path / "a"), "-b", str(tmp_path / "b"), "--device", "cpu"]
    runner = CliRunner()
    done = runner.invoke(main, [*call, "-o", str(tmp_path / "out"), "--speed", "quarter"])
    assert done.exit_code == 0, done.output
    record = json.loads((tmp_path / "out" / "fusion.json").read_text())
    assert record["speed"] == "quarter"
    sources = [tmp_path / folder / "1.png" for folder in "ab"]
    expected = load("toy-lean", device="cpu", speed="quarter").fuse(*sources).array()
    np.testing.assert_array_equal(read_image(tmp_path / "out" / "1.png").pixels.squeeze(), expected.squeeze())
    refused = runner.invoke(
        main, ["fuse", "-m", "toy-mean-rgb", *call[3:], "-o", str(tmp_path / "c"), "--speed", "half"]
    )
    assert refused.exit_code != 0
    assert not (tmp_path / "c").exists()
    assert "fuses RGB: use exact" in str(refused.exception) + refused.output


def test_every_speed_has_its_factor() -> None:
    assert {speed: SHRINKING[speed] for speed in ("exact", *REDUCED)} == {
        "exact": 1,
        "half": 2,
        "quarter": 4,
        "eighth": 8,
    }


@pytest.mark.parametrize(
    ("task", "speed", "noted"), [("mfif", "quarter", True), ("mfif", "half", False), ("ivif", "quarter", False)]
)
def test_a_speed_that_loses_a_choice_per_pixel_is_told(task: str, speed: Speed, noted: bool) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load("average", task, device="cpu", speed=speed)
    told = [str(warning.message) for warning in caught if warning.category is FusionNote]
    assert told == [f"speed {speed}: {task} needs a choice per pixel, which is lost here: use half or exact"] * noted
