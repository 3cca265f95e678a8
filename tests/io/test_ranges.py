"""Ranges of stored values: rules, automatic ranges, and invalid values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from fusionkit.errors import DataError, UsageError
from fusionkit.io.images import read_image
from fusionkit.io.ranges import AUTO, Sampled, fill_invalid, parse_range, stretched
from tests.support.picture_files import refused

RNG = np.random.default_rng(5)
GREY = RNG.integers(0, 256, (40, 50), dtype=np.uint8)

CLOTHES = {
    "hundredths of a kelvin": (27315 + 20 * GREY.astype(np.int64)).astype(np.uint16),
    "degrees Celsius": GREY.astype(np.float32) / 10 + 5,
    "12 bits in 16": (GREY.astype(np.uint16) << 4),
    "32 bits": GREY.astype(np.int32) * 1000,
    "32 bits unsigned": GREY.astype(np.uint32) * 9_000_000,
    "Hounsfield units": GREY.astype(np.int16) * 8 - 1024,
    "negative floats": -GREY.astype(np.float32),
    "doubles": GREY.astype(np.float64) * 1e6,
}


@pytest.mark.parametrize("kind", CLOTHES)
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_auto_scales_what_would_be_flat_or_refused_to_the_grey_picture_within(
    kind: str, byteorder: str, tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / "x.tif", CLOTHES[kind], byteorder=byteorder)
    if (kind, byteorder) == ("32 bits unsigned", ">"):
        refused(tmp_path / "x.tif", "holds 32-bit unsigned samples")
        return
    image = read_image(tmp_path / "x.tif", values=AUTO)
    shown = GREY if kind != "negative floats" else 255 - GREY
    assert image.limits is not None
    found = image.tensor()[0, 0].numpy()
    # The picture has all grey levels, and hardly any value is clipped.
    np.testing.assert_allclose(found * 255, shown, atol=2.5)
    low, high = image.limits
    assert float(CLOTHES[kind].min()) <= low < high <= float(CLOTHES[kind].max())


@pytest.mark.parametrize(
    "pixels",
    [
        GREY,
        (GREY // 64).astype(np.uint8),
        GREY.astype(np.uint16) * 257,
        GREY.astype(np.uint16) * 40,
        np.full((4, 4), 999, np.uint16),
        GREY.astype(np.float32) / 255,
        np.zeros((4, 4), np.float32),
    ],
)
def test_auto_leaves_images_that_use_their_range_as_they_are(pixels: np.ndarray, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", pixels)
    image = read_image(tmp_path / "x.tif", values=AUTO)
    assert image.limits is None
    np.testing.assert_array_equal(image.pixels[..., 0], pixels)


def test_dead_pixels_do_not_hide_a_small_range() -> None:
    pixels = np.tile(CLOTHES["hundredths of a kelvin"], (2, 2))
    pixels[3, 4] = pixels[7, 8] = 0
    limits = AUTO.limits(Sampled().add(pixels))
    assert limits is not None
    assert limits[1] - limits[0] < 2 * 20 * 255


@given(
    st.floats(-1e6, 1e6, allow_nan=False),
    st.floats(1e-2, 1e6),
    st.sampled_from([np.int16, np.int32, np.uint16, np.float32]),
)
def test_scaling_is_linear_between_the_ends_and_clips_beyond(low: float, width: float, kind: type) -> None:
    values = (RNG.uniform(-2, 2, (5, 6, 1)) * 20000).clip(0 if kind == np.uint16 else -30000, 30000).astype(kind)
    expected = ((values.astype(np.float64) - low) / width).clip(0, 1)
    found = stretched(values, low, low + width)
    assert found.dtype == (np.float32 if kind == np.float32 else np.uint16)
    step = 1e-6 if kind == np.float32 else 0.5 / 65535 + 1e-9
    greatest = 1 if kind == np.float32 else 65535
    assert np.abs(found / greatest - expected).max() <= step + 1e-9 * abs(low) / width + 1e-6


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("minmax", (0, 65535)),
        ("full", None),
        ("percentile:25,75", (65535 / 4, 65535 * 3 / 4)),
        ("100,2000", (100, 2000)),
        ("-20,0.5", (-20, 0.5)),
        ("window:brain", (0, 80)),
        ("window:lung", (-1350, 150)),
    ],
)
def test_rules_take_the_values_that_they_name(text: str, limits: tuple[float, float] | None) -> None:
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    found = parse_range(text).limits(Sampled().add(ramp))
    assert found == (None if limits is None else pytest.approx(limits))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2,1", "the lower value has to come first"),
        ("1,1", "the lower value has to come first"),
        ("percentile:50,101", "two percentiles from 0 to 100"),
        ("percentile:9,5", "two percentiles from 0 to 100"),
        ("window:brian", "did you mean 'brain'"),
        ("minmaxx", "did you mean 'minmax'"),
        ("nan,1", "known: LO,HI"),
        ("1", "known: LO,HI"),
        ("1,2,3", "known: LO,HI"),
        ("windows:1,2", "known: LO,HI"),
    ],
)
def test_an_impossible_range_is_one_line_that_names_the_option(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        parse_range(text, option="--range-b")
    assert str(caught.value).startswith(f"--range-b {text}: ")


def test_nan_is_refused_unless_filled(tmp_path: Path) -> None:
    pixels = GREY.astype(np.float32) / 255
    pixels[4, 5] = np.nan
    tifffile.imwrite(tmp_path / "x.tif", pixels)
    refused(tmp_path / "x.tif", "not finite (NaN or infinite): 1 value;", "--fill-invalid")
    image = read_image(tmp_path / "x.tif", fill=True)
    assert image.filled == 1
    around = np.delete(pixels[3:6, 4:7].ravel(), 4)
    assert image.pixels[4, 5, 0] == pytest.approx(np.median(around))
    pixels[4, 5] = image.pixels[4, 5, 0]
    np.testing.assert_array_equal(image.pixels[..., 0], pixels)


def test_holes_wider_than_a_neighbourhood_are_filled_from_their_border() -> None:
    pixels = np.full((60, 60, 1), 7.0, np.float32)
    pixels[5:50, 5:50] = np.inf
    filled, count = fill_invalid(pixels)
    assert count == 45 * 45
    assert (filled == 7).all()


def test_stuck_pixels_are_filled_and_real_extremes_stay() -> None:
    pixels = CLOTHES["hundredths of a kelvin"][..., None].copy()
    pixels[10, 11], pixels[20, 21] = 0, 65535
    filled, count = fill_invalid(pixels)
    assert count == 2
    assert 27315 <= filled[10, 11, 0] <= 32415
    assert 27315 <= filled[20, 21, 0] <= 32415
    whole = GREY[..., None].astype(np.uint16) * 257
    assert fill_invalid(whole)[1] == 0


def test_an_image_without_a_valid_value_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", np.full((4, 4), np.nan, np.float32))
    with pytest.raises(DataError, match=r"x\.tif: no value of a channel is finite"):
        read_image(tmp_path / "x.tif", fill=True)


def test_a_range_of_one_value_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", np.full((4, 4), 300, np.float32))
    with pytest.raises(DataError, match=r"x\.tif: values from 300 to 300 are no range to scale to 0\.\.1; give one"):
        read_image(tmp_path / "x.tif", values=AUTO)
