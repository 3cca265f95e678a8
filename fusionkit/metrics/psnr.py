"""Peak signal-to-noise ratio, against the sources (PSNR) or against the truth (PSNR-truth)."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import ClassVar, Literal

import torch
from torch import Tensor

from fusionkit.contracts import MetricInfo
from fusionkit.errors import UsageError, did_you_mean
from fusionkit.metrics.arithmetic import root
from fusionkit.metrics.inputs import Cache, CachingMetric, MetricInputs, no_cache
from fusionkit.metrics.mse import PEAK, mean_squared_errors

__all__ = ["PSNR", "TruthPSNR", "peak_signal_to_noise_ratio"]

PsnrError = Literal["mse", "unit_mse", "root_sse"]
"""Definition of the squared error in PSNR: the MSE; the MSE of images scaled to [0, 1] against a peak of 255, which is
48.13 dB too high; or ``sqrt(SSE) / (H W)``, which depends on the image size."""


def peak_signal_to_noise_ratio(
    fused: Tensor,
    *sources: Tensor,
    peak: Literal["range", "fused"] = "range",
    error: PsnrError = "mse",
    pooled: bool = True,
    cache: Cache = no_cache,
) -> Tensor:
    """Peak signal-to-noise ratio in decibels (PSNR).

    ``PSNR = 10 log10(255^2 / MSE)``, MSE the mean over the sources of their mean squared errors.

    Args:
        fused: ``(B, 1, H, W)``, 0..255.
        sources: one or more of the same shape; only the truth for the full-reference PSNR.
        peak: 255 (``"range"``) or the largest value of the fused image.
        error: definition of the squared error, see :data:`PsnrError`.
        pooled: average the errors over the sources first; otherwise the decibels.
        cache: shares intermediates, see :class:`fusionkit.metrics.inputs.Cache`.

    Returns:
        ``(B,)``; ``inf`` where the fused image equals every source.

    Raises:
        UsageError: an unknown error or peak.

    Example:
        >>> import torch
        >>> from fusionkit.metrics.psnr import peak_signal_to_noise_ratio
        >>> a = torch.arange(256.0).double().view(1, 1, 16, 16)
        >>> b, fused = a.mT, (a + a.mT) / 2
        >>> round(peak_signal_to_noise_ratio(fused, a, b).item(), 4)
        14.3457
    """
    errors = cache(mean_squared_errors, fused, *sources)
    if error == "unit_mse":
        errors = errors / PEAK**2
    elif error == "root_sse":
        errors = root(errors / fused[0].numel())
    elif error != "mse":
        raise UsageError(f"error {error!r} is unknown: {did_you_mean(error, ('mse', 'unit_mse', 'root_sse'))}")
    if peak == "fused":
        top = fused.amax((2, 3))
    elif peak == "range":
        top = torch.full_like(errors[:, :1], PEAK)
    else:
        raise UsageError(f"peak {peak!r} is unknown: {did_you_mean(peak, ('range', 'fused'))}")
    if pooled:
        errors = errors.mean(1, keepdim=True)
    # Two logarithms: 255^2 over a subnormal error would overflow in float32.
    return (20 * top.log10() - 10 * errors.log10()).mean(1)


@dataclass(frozen=True, kw_only=True)
class PSNR(CachingMetric):
    """:func:`peak_signal_to_noise_ratio` against the sources."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="PSNR",
        title="peak signal-to-noise ratio",
        measures="mean squared difference from the sources in decibels; the plain average maximises it",
        higher_is_better=True,
        range=(0.0, inf),
        unit="dB",
        paper="Jagalingam, Hegde, A review of quality metrics for fused image, Aquatic Procedia 4, 2015",
        equation="10 log10(255^2 / mean over S of MSE(F, S))",
        needs="sources",
        undefined="a fused image equal to every source: inf (nan if all are black and the peak is the fused image's)",
        differentiable=True,
    )
    peak: Literal["range", "fused"] = "range"
    error: PsnrError = "mse"
    pooled: bool = True

    def measure(self, inputs: MetricInputs) -> Tensor:
        return peak_signal_to_noise_ratio(
            inputs.fused, *inputs.sources, peak=self.peak, error=self.error, pooled=self.pooled, cache=inputs.cache
        )


@dataclass(frozen=True, kw_only=True)
class TruthPSNR(CachingMetric):
    """:func:`peak_signal_to_noise_ratio` against the truth."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="PSNR-truth",
        title="peak signal-to-noise ratio against the truth",
        measures="mean squared difference from the known result in decibels",
        higher_is_better=True,
        range=(0.0, inf),
        unit="dB",
        paper="Huynh-Thu, Ghanbari, Scope of validity of PSNR in image/video quality assessment, EL 44, 2008",
        equation="10 log10(255^2 / MSE(F, T))",
        needs="truth",
        undefined="a fused image equal to the truth: inf",
        differentiable=True,
    )

    def measure(self, inputs: MetricInputs) -> Tensor:
        assert inputs.truth is not None  # check() saw to it
        return peak_signal_to_noise_ratio(inputs.fused, inputs.truth)
