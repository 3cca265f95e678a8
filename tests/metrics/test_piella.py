"""QS, QW and QE against their definition window by window, against Zheng Liu's toolbox and MEFB, and as losses."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from fusionkit.errors import UsageError
from fusionkit.metrics.piella import flat_windows, piella, piella_edge
from tests.support.metric_scenes import arrays, scene
from tests.support.published_values import disagreements, published

Image = NDArray[np.float64]


def plain_quality(f: Image, a: Image, b: Image, *, weighted: bool, flat: float = 0.5) -> float:
    y, x = np.mgrid[-5:6, -5:6]
    window = np.exp(-(x**2 + y**2) / (2 * 1.5**2))
    window /= window.sum()
    total = weights = 0.0
    for top in range(f.shape[0] - 10):
        for left in range(f.shape[1] - 10):
            pf, pa, pb = (p[top : top + 11, left : left + 11] for p in (f, a, b))
            mean = {k: (window * p).sum() for k, p in (("f", pf), ("a", pa), ("b", pb))}
            df, da, db = pf - mean["f"], pa - mean["a"], pb - mean["b"]
            var = {k: (window * d * d).sum() for k, d in (("f", df), ("a", da), ("b", db))}
            similar = []
            for k, d in (("a", da), ("b", db)):
                luminance = (2 * mean["f"] * mean[k] + 2.55**2) / (mean["f"] ** 2 + mean[k] ** 2 + 2.55**2)
                structure = (2 * (window * df * d).sum() + 7.65**2) / (var["f"] + var[k] + 7.65**2)
                similar.append(luminance * structure)
            va, vb = var["a"], var["b"]
            if np.ptp(pa) == 0 and np.ptp(pb) == 0:
                va = vb = flat
            share = va / (va + vb) if va + vb > 0 else 0.5
            weight = max(va, vb) if weighted else 1.0
            total += weight * (share * similar[0] + (1 - share) * similar[1])
            weights += weight
    return float(total / weights)


def plain_edges(x: Image) -> Image:
    p = np.pad(x, 1)
    result = np.zeros_like(x)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            w = p[i : i + 3, j : j + 3]
            result[i, j] = np.hypot((w[:, 2] - w[:, 0]).sum(), (w[2] - w[0]).sum())
    return result


def flat_corner(*images: Tensor) -> tuple[Tensor, ...]:
    """The images with a corner in which every one is a constant of its own."""
    images = tuple(x.clone() for x in images)
    for level, x in zip((90.0, 60.0, 0.0), images, strict=True):
        x[..., :14, :15] = level
    return images


@pytest.mark.parametrize("weighted", [False, True])
def test_qs_and_qw_are_their_definitions(weighted: bool) -> None:
    for images in (scene(17, 20, seed=1, smooth=False), flat_corner(*scene(20, 22, seed=2))):
        plain = plain_quality(*arrays(*images), weighted=weighted)
        assert float(piella(*images, weighted=weighted)) == pytest.approx(plain, rel=1e-9)


def test_qe_is_qw_times_qw_of_the_prewitt_magnitudes() -> None:
    images = scene(19, 18, seed=3)
    grey = plain_quality(*arrays(*images), weighted=True)
    edges = plain_quality(*(plain_edges(x) for x in arrays(*images)), weighted=True)
    assert float(piella(*images, weighted=True, images="edges")) == pytest.approx(edges, rel=1e-9)
    assert float(piella_edge(*images)) == pytest.approx(grey * edges, rel=1e-9)
    assert float(piella_edge(*images, edge_power=0.5)) == pytest.approx(grey * edges**0.5, rel=1e-9)


def test_windows_without_variance_count_as_much_as_is_said() -> None:
    images = flat_corner(*scene(22, 24, seed=4))
    for flat in (0.5, 100.0):
        plain = plain_quality(*arrays(*images), weighted=True, flat=flat)
        assert float(piella(*images, weighted=True, flat_variance=flat)) == pytest.approx(plain, rel=1e-9)
    # Without weight, what the fused image has there does not matter.
    other = images[0].clone()
    other[..., :4, :4] = 200
    values = [piella(f, *images[1:], weighted=True, flat_variance=0.0) for f in (images[0], other)]
    assert torch.allclose(values[0], values[1], rtol=1e-12)


def test_a_copy_scores_one_and_constant_images_give_the_documented_values() -> None:
    _, a, _ = scene(24, 26, seed=5)
    grey = torch.full_like(a, 128)
    for metric in (
        piella,
        partial(piella, weighted=True),
        partial(piella, weighted=True, flat_variance=0.0),
        piella_edge,
    ):
        assert float(metric(a, a, a)) == pytest.approx(1, abs=1e-12)
        assert float(metric(grey, grey, grey)) == pytest.approx(1, abs=1e-12)
        assert 0 <= float(metric(grey, a, a)) < 0.5


@pytest.mark.parametrize(
    "metric", [piella, partial(piella, weighted=True), partial(piella, weighted=True, images="edges"), piella_edge]
)
def test_the_gradient_in_the_fused_image_is_exact(metric: partial[Tensor]) -> None:
    f, a, b = scene(13, 12, seed=6, smooth=False)
    # Off the integers: where a Prewitt response is 0 its magnitude has a corner.
    fused = (f + torch.rand_like(f)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: metric(x, a, b), (fused,))


@given(st.integers(0, 2**31), st.integers(0, 6), st.booleans())
def test_a_batch_is_its_images_the_sources_swap_and_the_range_holds(seed: int, wider: int, smooth: bool) -> None:
    f, a, b = scene(14, 14 + wider, seed=seed, batch=2, smooth=smooth)
    for metric in (piella, partial(piella, weighted=True), piella_edge):
        together = metric(f, a, b)
        singles = torch.cat([metric(f[i : i + 1], a[i : i + 1], b[i : i + 1]) for i in range(2)])
        assert torch.allclose(together, singles, rtol=1e-9, atol=1e-12)
        assert torch.allclose(metric(f, b, a), together, rtol=1e-9, atol=1e-12)
        assert bool((together.abs() <= 1 + 1e-12).all())


@given(st.integers(0, 2**31), st.integers(2, 5))
def test_flat_windows_are_those_whose_pixels_are_equal(seed: int, size: int) -> None:
    x = torch.from_numpy(np.random.default_rng(seed).integers(0, 2, (2, 1, 7, 8))).float()
    x[0, 0, :5, 2:7] = 1
    patches = x.unfold(2, size, 1).unfold(3, size, 1).flatten(4)
    assert torch.equal(flat_windows(x, size=size), patches.amin(-1) == patches.amax(-1))


def test_float32_keeps_four_digits() -> None:
    images = flat_corner(*scene(40, 44, seed=8))
    for metric in (piella, partial(piella, weighted=True), piella_edge):
        single = metric(*(x.float() for x in images))
        assert single.dtype == torch.float32
        assert float(single) == pytest.approx(float(metric(*images)), rel=1e-4)


def test_an_unknown_kind_of_image_is_told() -> None:
    with pytest.raises(UsageError, match="images 'edge' is unknown: did you mean 'edges'"):
        piella(*scene(12, 12), images="edge")  # type: ignore[arg-type]


def test_published_code_gives_the_same_on_every_triple() -> None:
    assert disagreements(piella, published("QS", "metricPeilla"), 1e-9) == {}
    assert disagreements(partial(piella, weighted=True), published("QW", "metricPeilla"), 1e-6) == {}
    edges = partial(piella, weighted=True, images="edges")
    assert disagreements(edges, published("QW_edge", "MEFB"), 1e-9) == {}
