"""The dual-tree transform's defining properties, and wavelet fusion against PyWavelets used directly."""

from __future__ import annotations

import math

import numpy as np
import pytest
import pywt
import torch

from fusionkit.errors import UsageError
from fusionkit_classical.complexfilters import FIRST_FILTERS, QSHIFT_FILTERS, QshiftPair, modulated
from fusionkit_classical.complexwavelet import ComplexPyramid, forward, inverse
from fusionkit_classical.dtcwt import Dtcwt, DtcwtConfig
from fusionkit_classical.dwt import Dwt, DwtConfig

SIZES = [(1, 1), (1, 5), (2, 3), (4, 4), (6, 10), (7, 9), (31, 18), (64, 40)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("first", sorted(FIRST_FILTERS))
@pytest.mark.parametrize("qshift", sorted(QSHIFT_FILTERS))
def test_the_complex_transform_rebuilds_images_of_any_size(size: tuple[int, int], first: str, qshift: str) -> None:
    image = torch.rand(2, 1, *size, dtype=torch.float64)
    for levels in (1, 2, 5):
        pyramid = forward(image, levels, first=first, qshift=qshift)
        assert len(pyramid.details) == levels
        rebuilt = inverse(pyramid, first=first, qshift=qshift)
        assert (rebuilt - image).abs().max() < 1e-12


@pytest.mark.parametrize("name", sorted(QSHIFT_FILTERS))
def test_qshift_filters_are_orthonormal_half_a_sample_apart(name: str) -> None:
    pair = QshiftPair.of(name)
    for low, high in zip(pair.low, pair.high, strict=True):
        h, g = np.array(low), np.array(high)
        assert math.isclose(h.sum(), math.sqrt(2), abs_tol=1e-8)
        assert math.isclose(g.sum(), 0, abs_tol=1e-5)
        for lag in range(0, len(h), 2):
            assert math.isclose(np.dot(h[lag:], h[: len(h) - lag]), 1.0 if lag == 0 else 0.0, abs_tol=1e-10)
            assert math.isclose(np.dot(h[lag:], g[: len(g) - lag]), 0.0, abs_tol=1e-10)
    # Delays by centroid of energy: about a quarter sample to either side of the middle.
    middle = (len(pair.low[0]) - 1) / 2
    delays = [np.dot(np.square(h), np.arange(len(h))) - middle for h in pair.low]
    assert delays[0] == pytest.approx(0.25, abs=0.07)
    assert delays[1] == pytest.approx(-0.25, abs=0.07)


@pytest.mark.parametrize("name", sorted(FIRST_FILTERS))
def test_first_filters_are_biorthogonal(name: str) -> None:
    analysis, synthesis = FIRST_FILTERS[name]
    product = np.convolve(analysis, synthesis) + np.convolve(modulated(synthesis), modulated(analysis))
    expected = np.zeros_like(product)
    expected[len(product) // 2] = 1
    np.testing.assert_allclose(product, expected, atol=1e-15)


def _energies(details: list[np.ndarray]) -> list[np.ndarray]:
    return [np.sum(np.abs(band) ** 2, axis=tuple(range(1, band.ndim))) for band in details]


def test_band_energies_hardly_move_when_an_edge_shifts_unlike_those_of_the_decimated_transform() -> None:
    rows, columns = np.mgrid[:128, :128]
    shifted = np.stack([(0.8 * columns + 0.6 * rows - 80 - shift).clip(0, 1) for shift in range(16)])
    complex_details = [d.flatten(1).numpy() for d in forward(torch.from_numpy(shifted)[:, None], 4).details]
    decimated = pywt.wavedec2(shifted, "bior2.2", level=4, axes=(-2, -1))[:0:-1]
    real_details = [np.concatenate([band.reshape(16, -1) for band in bands], axis=1) for bands in decimated]
    for moving, fixed in zip(_energies(real_details), _energies(complex_details), strict=True):
        assert fixed.std() / fixed.mean() < 0.01
        assert fixed.std() / fixed.mean() < 0.2 * moving.std() / moving.mean()


@pytest.mark.parametrize(("qshift", "share"), [("6", 0.98), ("14", 0.995)])
def test_each_band_looks_in_one_direction(qshift: str, share: float) -> None:
    """The response of a complex coefficient lies in one quadrant of the spectrum: the trees are a Hilbert pair."""
    empty = forward(torch.zeros(128, 128, dtype=torch.float64), 3, qshift=qshift)
    angles = []
    for band in range(6):
        parts = []
        for unit in (1, 1j):
            details = [torch.zeros_like(d) for d in empty.details]
            details[2][band, 8, 8] = unit
            parts.append(inverse(ComplexPyramid(empty.base, tuple(details), empty.sizes), qshift=qshift))
        assert parts[0].norm().item() == pytest.approx(parts[1].norm().item(), rel=0.2)
        power = torch.fft.fftshift(torch.fft.fft2(parts[0] + 1j * parts[1])).abs().square().numpy()
        v, u = np.mgrid[-64:64, -64:64]
        quadrants = {(sv, su): power[(sv * v >= 0) & (su * u >= 0)].sum() for sv in (1, -1) for su in (1, -1)}
        (sv, su), most = max(quadrants.items(), key=lambda item: item[1])
        if band in (2, 3):
            assert most / power.sum() > share
        inside = (sv * v >= 0) & (su * u >= 0)
        angle = math.degrees(math.atan2((power * v)[inside].sum(), (power * u)[inside].sum())) % 180
        angles.append(round(angle))
    assert sorted(angles) == pytest.approx([20, 45, 70, 110, 135, 160], abs=4)


def test_complex_coefficients_keep_the_energy_of_the_image() -> None:
    """With orthonormal q-shift filters, level 2 splits the energy of the level 1 low-pass image without loss."""
    image = torch.rand(1, 64, 64, dtype=torch.float64) - 0.5
    one, two = forward(image, 1, qshift="14"), forward(image, 2, qshift="14")
    split = two.base.square().sum() + two.details[1].abs().square().sum()
    assert split.item() == pytest.approx(one.base.square().sum().item(), rel=0.02)


@pytest.mark.parametrize("wavelet", ["bior2.2", "db1", "sym4"])
@pytest.mark.parametrize("size", [(32, 32), (37, 50), (3, 5), (1, 1)])
def test_wavelet_fusion_is_the_larger_coefficient_in_pywavelets(wavelet: str, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random(size), rng.random(size)
    level = min(3, pywt.dwtn_max_level(size, wavelet))
    first, second = (pywt.wavedec2(image, wavelet, level=level) for image in (a, b))
    merged = [(first[0] + second[0]) / 2]
    for x, y in zip(first[1:], second[1:], strict=True):
        merged.append(tuple(np.where(np.abs(p) > np.abs(q), p, q) for p, q in zip(x, y, strict=True)))
    expected = pywt.waverec2(merged, wavelet)[: size[0], : size[1]].clip(0, 1)
    fuser = Dwt(DwtConfig(wavelet=wavelet, levels=3, window=1, consistent=False))
    fused = fuser(torch.from_numpy(a)[None, None], torch.from_numpy(b)[None, None])
    np.testing.assert_allclose(fused[0, 0].numpy(), expected, atol=1e-12)


def test_an_unknown_wavelet_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"wavelet='bior2.21' is not valid: did you mean 'bior2.2'"):
        Dwt(DwtConfig(wavelet="bior2.21"))


def test_a_continuous_wavelet_is_refused() -> None:
    with pytest.raises(UsageError, match="wavelet='morl' is not valid"):
        Dwt(DwtConfig(wavelet="morl"))


def test_complex_fusion_takes_detail_of_either_source_whole() -> None:
    """Detail that only one source has comes through at full strength; averaging would halve it."""
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    wave = 0.2 * torch.sin(2 * math.pi * (columns + rows) / 5).double()
    left, right = torch.full((2, 64, 64), 0.5, dtype=torch.float64)
    left[:, :32] += wave[:, :32]
    right[:, 32:] += wave[:, 32:]
    for fuser in (Dtcwt(), Dtcwt(DtcwtConfig(first="near-sym-a", qshift="14"))):
        fused = fuser(left[None, None], right[None, None])[0, 0]
        assert (fused - 0.5 - wave)[8:-8, 8:-8].abs().mean() < 0.02
