"""Every formula against a slow one in plain numpy, on small images of several shapes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from fusionkit.metrics.average_gradient import average_gradient
from fusionkit.metrics.correlation import correlation_coefficients, sum_of_correlations_of_differences
from fusionkit.metrics.edge_intensity import edge_intensity
from fusionkit.metrics.entropy import cross_entropy, entropy
from fusionkit.metrics.mse import RMSE, mean_squared_errors
from fusionkit.metrics.mutual_information import mutual_information, normalized_mutual_information
from fusionkit.metrics.nabf import fusion_artefacts, fusion_loss
from fusionkit.metrics.psnr import peak_signal_to_noise_ratio
from fusionkit.metrics.qabf import edge_preservation
from fusionkit.metrics.qncie import nonlinear_correlation_information_entropy
from fusionkit.metrics.qte import tsallis_information
from fusionkit.metrics.spatial_frequency import spatial_frequency
from fusionkit.metrics.ssim import structural_similarity
from fusionkit.metrics.standard_deviation import standard_deviation
from fusionkit.metrics.vif import visual_information_fidelity, visual_information_fidelity_for_fusion
from tests.support import plain_metrics as plain
from tests.support.metric_scenes import arrays, scene

SHAPES = [(23, 31), (31, 23), (16, 12)]


@pytest.fixture(params=SHAPES, ids=lambda shape: f"{shape[0]}x{shape[1]}")
def images(request: pytest.FixtureRequest) -> tuple[Tensor, ...]:
    return scene(*request.param, seed=sum(request.param))


def close(ours: Tensor, expected: float, tolerance: float = 1e-10) -> None:
    assert ours.shape == (1,)
    assert float(ours) == pytest.approx(expected, rel=tolerance, abs=1e-12)


def test_entropy_is_shannons_in_the_base_asked_for(images: tuple[Tensor, ...]) -> None:
    f = images[0]
    bits = plain.entropy(plain.histogram(*arrays(f)))
    close(entropy(f), bits)
    close(entropy(f, base=math.e), bits * math.log(2))
    close(entropy(f, base=10.0), bits * math.log10(2))


def test_cross_entropy_counts_levels_that_both_have(images: tuple[Tensor, ...]) -> None:
    close(cross_entropy(*images), plain.cross_entropy(*arrays(*images)))


def test_mutual_information_is_summed_over_any_number_of_sources(images: tuple[Tensor, ...]) -> None:
    f, a, b = arrays(*images)
    close(mutual_information(*images), plain.mutual_information(a, f) + plain.mutual_information(b, f))
    close(mutual_information(*images, base=math.e), math.log(2) * sum(plain.mutual_information(s, f) for s in (a, b)))
    close(mutual_information(images[0], *images), sum(plain.mutual_information(s, f) for s in (f, a, b)))


def test_saturated_mutual_information_differs_where_254_and_255_do() -> None:
    a = torch.tensor([[254.0, 255.0], [254.0, 10.0]]).double()[None, None]
    # Joint entropy of the merged pairs 3/4, 1/4; marginals of the unmerged 1/2, 1/4, 1/4.
    merged = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    close(mutual_information(a, a, saturated=True), 2 * 1.5 - merged)
    close(mutual_information(a, a), 1.5)


def test_normalized_mutual_information_divides_by_the_entropies(images: tuple[Tensor, ...]) -> None:
    f, a, b = arrays(*images)
    h = [plain.entropy(plain.histogram(x)) for x in (f, a, b)]
    shared = [plain.mutual_information(s, f) for s in (a, b)]
    close(normalized_mutual_information(*images), 2 * (shared[0] / (h[1] + h[0]) + shared[1] / (h[2] + h[0])))
    close(normalized_mutual_information(*images, by="sources"), 2 * sum(shared) / (h[1] + h[2]))


def test_tsallis_information_has_navas_and_cvejics_form(images: tuple[Tensor, ...]) -> None:
    f, a, b = arrays(*images)
    q = 0.43137
    ha, hb = (plain.entropy(plain.histogram(x)) for x in (a, b))
    expected = (plain.tsallis(a, f, q) + plain.tsallis(b, f, q)) / (ha**q + hb**q + plain.tsallis(a, b, q))
    close(tsallis_information(*images), expected, 1e-9)
    close(
        tsallis_information(*images, form="cvejic", q=1.85),
        plain.tsallis(a, f, 1.85) + plain.tsallis(b, f, 1.85),
        1e-9,
    )


def test_qncie_is_the_entropy_of_the_eigenvalues(images: tuple[Tensor, ...]) -> None:
    close(nonlinear_correlation_information_entropy(*images), plain.qncie(*arrays(*images)))


def test_contrast_and_correlations_are_numpys(images: tuple[Tensor, ...]) -> None:
    f, a, b = arrays(*images)
    close(standard_deviation(images[0]), float(f.std()))
    assert correlation_coefficients(*images)[0].tolist() == pytest.approx([plain.pearson(f, a), plain.pearson(f, b)])
    close(sum_of_correlations_of_differences(*images), plain.scd(f, a, b))


def test_errors_and_decibels(images: tuple[Tensor, ...]) -> None:
    f, a, b = arrays(*images)
    first, second = float(np.mean((f - a) ** 2)), float(np.mean((f - b) ** 2))
    assert mean_squared_errors(*images)[0].tolist() == pytest.approx([first, second])
    mean = (first + second) / 2
    close(peak_signal_to_noise_ratio(*images), 10 * math.log10(255**2 / mean))
    close(peak_signal_to_noise_ratio(*images, peak="fused"), 10 * math.log10(f.max() ** 2 / mean))
    close(peak_signal_to_noise_ratio(*images, error="unit_mse"), 20 * math.log10(255 / math.sqrt(mean / 255**2)))
    close(
        peak_signal_to_noise_ratio(*images, pooled=False),
        (10 * math.log10(255**2 / first) + 10 * math.log10(255**2 / second)) / 2,
    )
    close(RMSE()(*images), (math.sqrt(first) + math.sqrt(second)) / 2)


def test_sharpness(images: tuple[Tensor, ...]) -> None:
    (f,) = arrays(images[0])
    height, width = f.shape
    close(spatial_frequency(images[0]), plain.spatial_frequency(f))
    close(average_gradient(images[0]), plain.average_gradient(f))
    close(average_gradient(images[0], per="inner"), plain.average_gradient(f) * f.size / ((height - 1) * (width - 1)))
    close(edge_intensity(images[0]), plain.edge_intensity(f))


def test_edges_kept_made_up_and_lost(images: tuple[Tensor, ...]) -> None:
    f, a, b = arrays(*images)
    close(edge_preservation(*images), plain.qabf(f, a, b))
    made_up, lost = plain.petrovic(f, a, b)
    close(fusion_artefacts(*images), made_up)
    close(fusion_loss(*images), lost)


def test_structural_similarity_is_the_mean_of_the_map(images: tuple[Tensor, ...]) -> None:
    f, a, b = arrays(*images)
    for data_range in (255.0, 2.0):
        ours = structural_similarity(*images, data_range=data_range)[0].tolist()
        assert ours == pytest.approx([plain.ssim(f, a, data_range), plain.ssim(f, b, data_range)], rel=1e-8)


@pytest.mark.parametrize("shape", [(41, 44), (48, 41)])
def test_visual_information_fidelity(shape: tuple[int, int]) -> None:
    images = scene(*shape, seed=3)
    f, a, b = arrays(*images)
    ours = visual_information_fidelity(*images)[0].tolist()
    assert ours == pytest.approx([plain.vifp(f, a), plain.vifp(f, b)], rel=1e-7)
    close(visual_information_fidelity_for_fusion(*images), plain.viff(f, a, b), 1e-7)
