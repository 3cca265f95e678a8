"""Structural similarity with the sources (SSIM) or the truth (SSIM-truth)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from fusionkit.contracts import MetricInfo
from fusionkit.metrics.arithmetic import Reduction, over_sources
from fusionkit.metrics.inputs import Cache, CachingMetric, MetricInputs, no_cache
from fusionkit.metrics.tiles import row_blocks
from fusionkit.metrics.windows import Moments, Padding, Window, moments

__all__ = ["SSIM", "TruthSSIM", "float32_structural_similarity", "similarity_maps", "structural_similarity"]

GAUSSIAN = Window(11, 1.5)


def similarity_maps(m: Moments, data_range: float = 255.0) -> tuple[Tensor, Tensor]:
    """Compute SSIM's two factors: luminance, and contrast times structure.

    ``(2 mu_S mu_F + C1) / (mu_S^2 + mu_F^2 + C1)`` and ``(2 cov + C2) / (var_S + var_F + C2)``,
    ``C1 = (0.01 L)^2``, ``C2 = (0.03 L)^2``.

    Args:
        m: local moments.
        data_range: L.

    Returns:
        Two maps ``(B, S, h, w)`` in [-1, 1].

    Example:
        >>> import torch
        >>> from fusionkit.metrics.ssim import similarity_maps
        >>> from fusionkit.metrics.windows import Window, moments
        >>> a = torch.arange(256.0).double().view(1, 1, 16, 16)
        >>> b, fused = a.mT, (a + a.mT) / 2
        >>> round(similarity_maps(moments(fused, a, window=Window(11, 1.5)))[0].mean().item(), 4)
        0.9894
    """
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = (m.mean * m.mean_fused).mul_(2).add_(c1) / (m.mean.square() + (m.mean_fused.square() + c1))
    structure = (2 * m.cov).add_(c2) / (m.var + (m.var_fused + c2))
    return luminance, structure


def structural_similarity(
    fused: Tensor,
    *sources: Tensor,
    window: Window = GAUSSIAN,
    data_range: float = 255.0,
    sample: bool = False,
    padding: Padding = "valid",
    cache: Cache = no_cache,
) -> Tensor:
    """Mean structural similarity of the fused image with each source (SSIM).

    ``SSIM = mean (2 mu_S mu_F + C1) (2 cov + C2) / ((mu_S^2 + mu_F^2 + C1) (var_S + var_F + C2))``.

    Args:
        fused: ``(B, 1, H, W)``, 0..255.
        sources: one or more of the same shape.
        window: of the local moments.
        data_range: L in ``C1 = (0.01 L)^2``, ``C2 = (0.03 L)^2``.
        sample: variances with ``N / (N - 1)``.
        padding: beyond the border.
        cache: shares intermediates, see :class:`fusionkit.metrics.inputs.Cache`.

    Returns:
        ``(B, S)`` in [-1, 1].

    Source: Wang, Bovik, Sheikh and Simoncelli, IEEE Trans. Image Process. 13, 2004. The defaults agree with
    ``ssim_index.m``, scikit-image (Gaussian weights, biased covariance), piq without downsampling, pytorch_msssim.

    Example:
        >>> import torch
        >>> from fusionkit.metrics.ssim import structural_similarity
        >>> a = torch.arange(256.0).double().view(1, 1, 16, 16)
        >>> b, fused = a.mT, (a + a.mT) / 2
        >>> [round(x, 4) for x in structural_similarity(fused, a, b).flatten().tolist()]
        [0.7291, 0.7291]
    """
    m = cache(moments, fused, *sources, window=window, padding=padding, sample=sample)
    return _mean_similarity(m, data_range)


def float32_structural_similarity(fused: Tensor, *sources: Tensor, size: int = 7, data_range: float = 255.0) -> Tensor:
    """:func:`structural_similarity` with a uniform window and sample variances, every step rounded to float32.

    A small ``data_range`` leaves little but the variances to divide by, and in flat windows those are the rounding of
    ``E[x^2] - E[x]^2``: tables made in float32 with a range of 2 differ from exact arithmetic in the fifth digit.

    Args:
        fused: ``(B, 1, H, W)``, 0..255.
        sources: one or more of the same shape.
        size: side of the window.
        data_range: L.

    Returns:
        ``(B, S)`` in [-1, 1].

    Source: the order of operations of scikit-image's ``structural_similarity`` on float32 images.

    Example:
        >>> import torch
        >>> from fusionkit.metrics.ssim import float32_structural_similarity
        >>> a = torch.arange(256.0).double().view(1, 1, 16, 16)
        >>> b, fused = a.mT, (a + a.mT) / 2
        >>> [round(x, 4) for x in float32_structural_similarity(fused, a, b, data_range=2.0).flatten().tolist()]
        [0.6957, 0.6957]
    """
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    sample = size**2 / (size**2 - 1)

    def mean(planes: Tensor) -> Tensor:
        for axis in (2, 3):
            steps = [planes.narrow(axis, k, planes.shape[axis] - size + 1).double() for k in range(size)]
            planes = (torch.stack(steps).sum(0) / size).float()
        return planes

    f, s = fused.float(), torch.cat(sources, 1).float()
    uf, us = mean(f), mean(s)
    vf, vs, cov = (sample * (mean(x) - y) for x, y in ((f * f, uf * uf), (s * s, us * us), (f * s, uf * us)))
    numerator = (2 * us * uf + c1) * (2 * cov + c2)
    value = numerator / ((us * us + uf * uf + c1) * (vs + vf + c2))
    return value.double().mean((2, 3)).to(fused.dtype)


def _mean_similarity(m: Moments, data_range: float) -> Tensor:
    """Mean of the product of :func:`similarity_maps`: ``(B, S)``."""
    total = []
    for rows in row_blocks(m.mean):
        luminance, structure = similarity_maps(Moments(*(part[:, :, rows] for part in m)), data_range)
        total.append((luminance * structure).sum((2, 3)))
    return torch.stack(total).sum(0) / m.mean[0, 0].numel()


@dataclass(frozen=True, kw_only=True)
class SSIM(CachingMetric):
    """:func:`structural_similarity`, summed or averaged over the sources.

    ``rounding="float32"`` is :func:`float32_structural_similarity`: a uniform window and sample variances.
    """

    info: ClassVar[MetricInfo] = MetricInfo(
        name="SSIM",
        title="structural similarity",
        measures="how well the local means, contrasts and patterns of the sources survive",
        higher_is_better=True,
        range=(-1.0, 1.0),
        unit="1",
        paper="Wang, Bovik, Sheikh, Simoncelli, Image quality assessment, IEEE Trans. Image Process. 13, 2004",
        equation="mean over S of mean (2 mu_S mu_F + C1)(2 cov + C2) / ((mu_S^2 + mu_F^2 + C1)(var_S + var_F + C2))",
        needs="sources",
        min_size=11,
        differentiable=True,
        notes=(
            "tables that sum over two sources reach 2",
            "a data range of 2 on 0..255 images, as in some tables, all but removes C1 and C2",
        ),
    )
    window: Window = GAUSSIAN
    data_range: float = 255.0
    sample: bool = False
    padding: Padding = "valid"
    reduction: Reduction = "mean"
    rounding: Literal["exact", "float32"] = "exact"

    @property
    def min_size(self) -> int:
        return self.window.size if self.padding == "valid" else 1

    def measure(self, inputs: MetricInputs) -> Tensor:
        if self.rounding == "float32":
            values = float32_structural_similarity(
                inputs.fused, *inputs.sources, size=self.window.size, data_range=self.data_range
            )
            return over_sources(values, self.reduction)
        values = structural_similarity(
            inputs.fused,
            *inputs.sources,
            window=self.window,
            data_range=self.data_range,
            sample=self.sample,
            padding=self.padding,
            cache=inputs.cache,
        )
        return over_sources(values, self.reduction)


@dataclass(frozen=True, kw_only=True)
class TruthSSIM(CachingMetric):
    """:func:`structural_similarity` with the truth."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="SSIM-truth",
        title="structural similarity with the truth",
        measures="how well the local means, contrasts and patterns of the known result are met",
        higher_is_better=True,
        range=(-1.0, 1.0),
        unit="1",
        paper="Wang, Bovik, Sheikh, Simoncelli, Image quality assessment, IEEE Trans. Image Process. 13, 2004",
        equation="mean (2 mu_T mu_F + C1)(2 cov + C2) / ((mu_T^2 + mu_F^2 + C1)(var_T + var_F + C2))",
        needs="truth",
        min_size=11,
        differentiable=True,
    )

    def measure(self, inputs: MetricInputs) -> Tensor:
        assert inputs.truth is not None  # check() saw to it
        return structural_similarity(inputs.fused, inputs.truth)[:, 0]
