"""Colour against OpenCV, kornia and the chroma rule written out pixel by pixel."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from kornia.color import rgb_to_ycbcr

from fusionkit.errors import UsageError
from fusionkit.io.color import fit_gamut, fuse_chroma, luminance, rgb_to_ycrcb, ycrcb_to_rgb

SIDES = st.integers(1, 6)
UNIT = st.floats(0, 1, width=32)


def pictures(channels: int = 3) -> st.SearchStrategy[np.ndarray]:
    return st.tuples(SIDES, SIDES).flatmap(lambda s: hnp.arrays(np.float32, (*s, channels), elements=UNIT))


def planes(count: int) -> st.SearchStrategy[np.ndarray]:
    return st.tuples(SIDES, SIDES).flatmap(lambda s: hnp.arrays(np.float64, (count, *s), elements=st.floats(0, 1)))


def batch(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None]


def unbatch(tensor: torch.Tensor) -> np.ndarray:
    return tensor[0].permute(1, 2, 0).numpy()


@given(pictures())
def test_ycrcb_is_opencvs_on_floats(picture: np.ndarray) -> None:
    np.testing.assert_allclose(
        unbatch(rgb_to_ycrcb(batch(picture))), cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb), atol=2e-6
    )


def test_ycrcb_is_opencvs_on_8_bits_to_one_level() -> None:
    levels = np.arange(0, 256, 5, dtype=np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(len(levels), -1, 3)
    ours = unbatch(rgb_to_ycrcb(batch(cube.astype(np.float32) / 255))) * 255
    theirs = cv2.cvtColor(cube, cv2.COLOR_RGB2YCrCb).astype(np.float64)
    assert np.abs(np.rint(ours[..., 0]) - theirs[..., 0]).max() <= 1
    # OpenCV's neutral is 128 of 255, ours 127.5.
    assert np.abs(ours[..., 1:] + 0.5 - theirs[..., 1:]).max() <= 1
    assert np.abs(np.rint(ours[..., 0]) - theirs[..., 0]).mean() < 0.01


@given(pictures())
def test_ycrcb_is_kornias_with_cr_before_cb(picture: np.ndarray) -> None:
    torch.testing.assert_close(
        rgb_to_ycrcb(batch(picture)), rgb_to_ycbcr(batch(picture))[:, [0, 2, 1]], atol=1e-6, rtol=0
    )


@given(pictures())
def test_rgb_comes_back_from_ycrcb(picture: np.ndarray) -> None:
    rgb = batch(picture)
    torch.testing.assert_close(ycrcb_to_rgb(rgb_to_ycrcb(rgb)), rgb, atol=1e-6, rtol=0)
    precise = rgb.double()
    torch.testing.assert_close(ycrcb_to_rgb(rgb_to_ycrcb(precise)), precise, atol=1e-14, rtol=0)


@given(pictures())
def test_the_inverse_is_opencvs_to_its_rounded_constants(picture: np.ndarray) -> None:
    theirs = cv2.cvtColor(picture, cv2.COLOR_YCrCb2RGB)
    np.testing.assert_allclose(unbatch(ycrcb_to_rgb(batch(picture))), theirs, atol=5e-4)


def test_all_8_bit_colours_survive_the_round_trip() -> None:
    levels = torch.arange(0, 256, 3)
    cube = torch.stack(torch.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(1, -1, len(levels), 3)
    rgb = cube.permute(0, 3, 1, 2).float() / 255
    assert torch.equal((ycrcb_to_rgb(rgb_to_ycrcb(rgb)) * 255).round().long(), cube.permute(0, 3, 1, 2))


@given(pictures(1))
def test_one_channel_is_its_own_luminance(picture: np.ndarray) -> None:
    grey = batch(picture)
    assert torch.equal(luminance(grey), grey)
    torch.testing.assert_close(luminance(grey.expand(-1, 3, -1, -1)), grey, atol=2e-7, rtol=0)


def chroma_rule(sources: np.ndarray, tau: float) -> np.ndarray:
    """Equation (15), a pixel at a time."""
    fused = np.empty(sources.shape[1:])
    for where in np.ndindex(fused.shape):
        values = [float(source[where]) for source in sources]
        weights = [abs(value - tau) for value in values]
        total = sum(weights)
        fused[where] = sum(v * w for v, w in zip(values, weights, strict=True)) / total if total > 0 else tau
    return fused


@given(st.integers(1, 4).flatmap(planes))
def test_chroma_follows_the_papers_formula(sources: np.ndarray) -> None:
    ours = fuse_chroma(*(torch.from_numpy(source)[None, None] for source in sources))
    np.testing.assert_allclose(ours[0, 0].numpy(), chroma_rule(sources, 0.5), atol=1e-12)


@given(hnp.arrays(np.uint8, (2, 5, 7)))
def test_chroma_of_8_bit_values_follows_the_formula_with_tau_128(sources: np.ndarray) -> None:
    ours = fuse_chroma(*(torch.from_numpy(source).double()[None, None] for source in sources), tau=128)
    np.testing.assert_allclose(ours[0, 0].numpy(), chroma_rule(sources.astype(float), 128), atol=1e-9)


@given(planes(3))
def test_chroma_does_not_depend_on_the_order_and_stays_within_its_sources(sources: np.ndarray) -> None:
    a, b, c = (torch.from_numpy(source)[None, None] for source in sources)
    fused = fuse_chroma(a, b, c)
    torch.testing.assert_close(fused, fuse_chroma(c, a, b), atol=1e-14, rtol=0)
    stacked = torch.stack([a, b, c])
    assert (fused >= stacked.amin(0) - 1e-12).all()
    assert (fused <= stacked.amax(0) + 1e-12).all()


@given(planes(1))
def test_a_grey_source_gives_the_others_chroma(sources: np.ndarray) -> None:
    colour = torch.from_numpy(sources[0])[None, None]
    grey = torch.full_like(colour, 0.5)
    torch.testing.assert_close(fuse_chroma(colour, grey), colour, atol=1e-15, rtol=0)
    torch.testing.assert_close(fuse_chroma(grey, colour, grey), colour, atol=1e-15, rtol=0)


def test_chroma_is_neutral_where_all_are_neutral() -> None:
    grey = torch.full((2, 2, 3, 4), 0.5)
    assert torch.equal(fuse_chroma(grey, grey), grey)


@given(pictures())
def test_the_gamut_rule_keeps_luminance_and_hue_and_leaves_what_fits(picture: np.ndarray) -> None:
    ycrcb = batch(picture).double()
    fitted = fit_gamut(ycrcb)
    assert fitted.min() >= 0
    assert fitted.max() <= 1
    torch.testing.assert_close(luminance(fitted), ycrcb[:, :1], atol=1e-12, rtol=0)
    clipped, free = ycrcb_to_rgb(ycrcb).clamp(0, 1), ycrcb_to_rgb(ycrcb)
    fits = ((free >= 0) & (free <= 1)).all(1, keepdim=True).expand_as(free)
    torch.testing.assert_close(fitted[fits], clipped[fits], atol=1e-12, rtol=0)
    # One factor per pixel: the chroma of the result is parallel to the chroma asked for.
    asked, given = ycrcb[:, 1:] - 0.5, rgb_to_ycrcb(fitted)[:, 1:] - 0.5
    cross = asked[:, 0] * given[:, 1] - asked[:, 1] * given[:, 0]
    torch.testing.assert_close(cross, torch.zeros_like(cross), atol=1e-12, rtol=0)


@pytest.mark.parametrize("function", [rgb_to_ycrcb, ycrcb_to_rgb, fit_gamut, luminance])
@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 2, 4, 5), (1, 4, 4, 5)])
def test_other_shapes_are_refused_by_their_shape(function, shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=str(shape).replace("(", r"\(").replace(")", r"\)")):
        function(torch.zeros(shape))


def test_chroma_of_different_shapes_is_refused() -> None:
    with pytest.raises(UsageError, match="one shape"):
        fuse_chroma(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 3))
    with pytest.raises(UsageError, match="at least one"):
        fuse_chroma()
