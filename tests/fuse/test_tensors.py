"""Fusing tensors, against the same steps redone in float64 with NumPy and OpenCV."""

from __future__ import annotations

from functools import partial

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fusionkit.contracts import Fuser
from fusionkit.errors import PluginError, UsageError
from fusionkit.fuse.tensors import Gamut, Stretch, fuse_tensors, stretch_range
from fusionkit.io.row_strips import row_strips
from tests.support.toyfusers import ToyCropped, ToyLean, ToyMean, ToyMeanRgb, ToyThree

FORWARD = np.array(
    [
        [0.299, 0.587, 0.114],
        [0.713 * (1 - 0.299), -0.713 * 0.587, -0.713 * 0.114],
        [-0.564 * 0.299, -0.564 * 0.587, 0.564 * (1 - 0.114)],
    ]
)
BACK = np.linalg.inv(FORWARD)


def largest_share(y: float, departures: np.ndarray) -> float:
    """By bisection: the largest part of a pixel's chroma that RGB holds."""
    least, most = 0.0, 1.0
    for _ in range(60):
        middle = (least + most) / 2
        rgb = y + middle * departures
        inside = rgb.min() >= -1e-15 and rgb.max() <= 1 + 1e-15
        least, most = (middle, most) if inside else (least, middle)
    rgb = y + departures
    return 1.0 if rgb.min() >= 0 and rgb.max() <= 1 else least


def into_gamut(ycc: np.ndarray, gamut: str) -> np.ndarray:
    rgb = ycc @ BACK.T
    if gamut == "clip":
        return rgb.clip(0, 1)
    out = np.empty_like(rgb)
    for place in np.ndindex(rgb.shape[:2]):
        y = ycc[place][0]
        out[place] = y + largest_share(y, rgb[place] - y) * (rgb[place] - y)
    return out


def reference(sources: list[np.ndarray], blend, *, stretch: bool, gamut: str = "keep-luminance") -> np.ndarray:
    """(H, W, C) sources in [0, 1] to (H, W, C), by the definition of each step."""
    ys, chromas = [], []
    for source in sources:
        rgb = np.repeat(source, 3, 2) if source.shape[2] == 1 else source
        ycc = rgb.astype(np.float64) @ FORWARD.T
        ys.append(source[..., 0].astype(np.float64) if source.shape[2] == 1 else ycc[..., 0])
        chromas.append(np.zeros_like(ycc[..., 1:]) if source.shape[2] == 1 else ycc[..., 1:])
    y = blend(*ys)
    if stretch and y.max() > y.min():
        y = (y - y.min()) / (y.max() - y.min())
    if all(source.shape[2] == 1 for source in sources):
        return y[..., None]
    weights = np.abs(chromas)
    total = weights.sum(0)
    chroma = np.divide((np.array(chromas) * weights).sum(0), total, out=np.zeros_like(total), where=total > 0)
    return into_gamut(np.concatenate([y[..., None], chroma], -1), gamut)


def to_tensor(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None]


def to_picture(tensor: torch.Tensor) -> np.ndarray:
    return tensor[0].permute(1, 2, 0).numpy()


@st.composite
def scenes(draw: st.DrawFn, count: int = 2, channels: tuple[int, ...] = (1, 3)) -> list[np.ndarray]:
    height, width = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    return [
        draw(hnp.arrays(np.uint8, (height, width, draw(st.sampled_from(channels))))).astype(np.float64) / 255
        for _ in range(count)
    ]


@given(scenes(), st.booleans(), st.sampled_from(["keep-luminance", "clip"]))
def test_two_sources_of_any_colour_follow_the_reference(sources: list[np.ndarray], stretch: bool, gamut: str) -> None:
    fused = fuse_tensors(ToyLean(), *map(to_tensor, sources), stretch="full" if stretch else "none", gamut=gamut)
    expected = reference(sources, lambda a, b: 0.25 * a + 0.75 * b, stretch=stretch, gamut=gamut)
    np.testing.assert_allclose(to_picture(fused), expected, atol=1e-9)


@given(scenes(3), st.booleans())
def test_three_sources_are_folded_and_stretched_once_with_the_chroma_of_all(
    sources: list[np.ndarray], stretch: bool
) -> None:
    fused = fuse_tensors(ToyLean(), *map(to_tensor, sources), stretch="full" if stretch else "none")
    expected = reference(sources, lambda a, b, c: 0.25 * (0.25 * a + 0.75 * b) + 0.75 * c, stretch=stretch)
    np.testing.assert_allclose(to_picture(fused), expected, atol=1e-9)


@given(scenes(4, (3,)))
def test_a_fuser_of_any_number_of_sources_is_called_once(sources: list[np.ndarray]) -> None:
    fused = fuse_tensors(ToyMean(), *map(to_tensor, sources))
    expected = reference(sources, lambda *ys: np.mean(ys, 0), stretch=False)
    np.testing.assert_allclose(to_picture(fused), expected, atol=1e-9)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (2, lambda v: (v[0] + 2 * v[1]) / 3),
        (3, lambda v: (v[0] + 2 * v[1] + 3 * v[2]) / 6),
        (4, lambda v: ((v[0] + 2 * v[1] + 3 * v[2]) / 6 + 2 * v[3]) / 3),
        (5, lambda v: ((v[0] + 2 * v[1] + 3 * v[2]) / 6 + 2 * v[3] + 3 * v[4]) / 6),
        (6, lambda v: (((v[0] + 2 * v[1] + 3 * v[2]) / 6 + 2 * v[3] + 3 * v[4]) / 6 + 2 * v[5]) / 3),
    ],
)
def test_folding_takes_as_many_as_the_fuser_takes_in_order(count: int, expected) -> None:
    values = [0.05, 0.9, 0.3, 0.65, 0.2, 0.8][:count]
    sources = [torch.full((1, 1, 2, 3), value, dtype=torch.float64) for value in values]
    fused = fuse_tensors(ToyThree(), *sources)
    torch.testing.assert_close(fused, torch.full_like(fused, expected(values)), atol=1e-12, rtol=0)


@pytest.mark.parametrize("fuser", [ToyLean(), ToyMeanRgb()])
@pytest.mark.parametrize("stretch", ["full", "none"])
@pytest.mark.parametrize("channels", [(1, 1), (3, 3), (1, 3)])
def test_a_batch_is_its_images_one_by_one(fuser: Fuser, stretch: str, channels: tuple[int, int]) -> None:
    sources = [torch.rand(4, c, 5, 6) for c in channels]
    together = fuse_tensors(fuser, *sources, stretch=stretch)
    singly = torch.cat([fuse_tensors(fuser, *(s[k : k + 1] for s in sources), stretch=stretch) for k in range(4)])
    torch.testing.assert_close(together, singly, atol=1e-6, rtol=0)


@given(scenes())
def test_an_rgb_fuser_gets_three_channels_and_keeps_its_own_colours(sources: list[np.ndarray]) -> None:
    fused = to_picture(fuse_tensors(ToyMeanRgb(), *map(to_tensor, sources)))
    expected = np.mean([np.broadcast_to(s, (*s.shape[:2], 3)) for s in sources], 0)
    if all(s.shape[2] == 1 for s in sources):
        expected = expected[..., :1]
    np.testing.assert_allclose(fused, expected, atol=1e-12)


@given(scenes(2, (3,)))
def test_the_stretch_of_an_rgb_fuser_is_of_luminance_alone(sources: list[np.ndarray]) -> None:
    fused = to_picture(fuse_tensors(ToyMeanRgb(), *map(to_tensor, sources), stretch="full"))
    ycc = np.mean(sources, 0) @ FORWARD.T
    y = ycc[..., 0]
    ycc[..., 0] = (y - y.min()) / (y.max() - y.min()) if y.max() > y.min() else y
    np.testing.assert_allclose(fused, into_gamut(ycc, "keep-luminance"), atol=1e-9)


@given(hnp.arrays(np.float32, (3, 1, 4, 5), elements=st.floats(0, 1, width=32)))
def test_the_stretch_reaches_0_and_1_or_leaves_constant_images_alone(values: np.ndarray) -> None:
    stretched = stretch_range(torch.from_numpy(values)).numpy()
    for before, after in zip(values, stretched, strict=True):
        if before.max() > before.min():
            assert (after.min(), after.max()) == (0, 1)
        else:
            np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("stretch", ["full", "none"])
@pytest.mark.parametrize("channels", [(1, 1), (1, 3), (3, 3), (3, 1, 3)])
@pytest.mark.parametrize("fuser", [ToyLean(), ToyMeanRgb()])
def test_one_pixel_and_constant_images_give_no_nan(stretch: str, channels: tuple[int, ...], fuser: Fuser) -> None:
    for size in ((1, 1), (1, 5), (4, 3)):
        for value in (0.0, 0.4, 1.0):
            sources = [torch.full((1, c, *size), value) for c in channels]
            fused = fuse_tensors(fuser, *sources, stretch=stretch)
            assert fused.shape == (1, max(channels), *size)
            torch.testing.assert_close(fused, torch.full_like(fused, value), atol=1e-6, rtol=0)


def test_sources_are_not_changed() -> None:
    sources = [torch.rand(1, c, 4, 4) for c in (1, 3)]
    copies = [source.clone() for source in sources]
    fuse_tensors(ToyLean(), *sources, stretch="full")
    assert all(torch.equal(a, b) for a, b in zip(sources, copies, strict=True))


def test_luminance_of_the_result_is_the_fused_luminance_as_opencv_sees_it() -> None:
    # False colours as of a PET slice: clipping each channel would change the luminance of most pixels.
    a, b = torch.rand(1, 1, 8, 9), torch.rand(1, 3, 8, 9).round()
    fused = to_picture(fuse_tensors(ToyMean(), a, b))
    y = cv2.cvtColor(np.ascontiguousarray(fused), cv2.COLOR_RGB2YCrCb)[..., 0]
    y_b = cv2.cvtColor(np.ascontiguousarray(to_picture(b)), cv2.COLOR_RGB2YCrCb)[..., 0]
    np.testing.assert_allclose(y, (to_picture(a)[..., 0] + y_b) / 2, atol=2e-6)


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ([(1, 1, 4, 4)], "two or more"),
        ([(1, 1, 4, 4), (1, 1, 4, 5)], "one B, H, W"),
        ([(1, 1, 4, 4), (2, 1, 4, 4)], "one B, H, W"),
        ([(1, 2, 4, 4), (1, 2, 4, 4)], "C 1 or 3"),
        ([(4, 4), (4, 4)], "C 1 or 3"),
        ([(1, 1, 0, 4), (1, 1, 0, 4)], "C 1 or 3"),
    ],
)
def test_sources_that_do_not_fit_are_refused(shapes: list[tuple[int, ...]], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        fuse_tensors(ToyMean(), *(torch.zeros(shape) for shape in shapes))


def test_an_unknown_gamut_rule_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="'keep-luminance'"):
        fuse_tensors(ToyMean(), torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2), gamut="keep-luminanc")  # type: ignore


def test_an_unknown_stretch_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="'full'"):
        fuse_tensors(ToyMean(), torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2), stretch="ful")  # type: ignore


def test_a_fuser_that_changes_the_shape_is_named() -> None:
    with pytest.raises(PluginError, match="ToyCropped"):
        fuse_tensors(ToyCropped(), torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))


@pytest.mark.parametrize("stretch", ["full", "none"])
@pytest.mark.parametrize("gamut", ["keep-luminance", "clip"])
@pytest.mark.parametrize("fuser", [ToyMean, ToyMeanRgb])
def test_colour_in_strips_is_colour_at_once(
    monkeypatch: pytest.MonkeyPatch, fuser: type[Fuser], stretch: Stretch, gamut: Gamut
) -> None:
    a, b = torch.rand(2, 1, 23, 17), torch.rand(2, 3, 23, 17)
    whole = fuse_tensors(fuser(), a, b, stretch=stretch, gamut=gamut)
    strips = partial(row_strips, pixels=50)
    monkeypatch.setattr("fusionkit.fuse.tensors.row_strips", strips)
    assert torch.equal(fuse_tensors(fuser(), a, b, stretch=stretch, gamut=gamut), whole)
