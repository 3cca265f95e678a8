"""Multi-scale structural similarity with the sources (MS-SSIM)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from fusionkit.contracts import MetricInfo
from fusionkit.metrics.arithmetic import Reduction, over_sources
from fusionkit.metrics.inputs import Cache, CachingMetric, MetricInputs, no_cache
from fusionkit.metrics.ssim import GAUSSIAN, similarity_maps
from fusionkit.metrics.windows import local_moments, moments

__all__ = ["MSSSIM", "multi_scale_structural_similarity"]
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def multi_scale_structural_similarity(
    fused: Tensor, *sources: Tensor, data_range: float = 255.0, cache: Cache = no_cache
) -> Tensor:
    """Multi-scale structural similarity of the fused image with each source.

    ``MS-SSIM = l_5^w5 prod_k cs_k^wk``, k = 1..5, cs and l the means of :func:`similarity_maps` (the last one of
    their product) at 1/2^(k-1) of the size, negative ones taken as 0, w = .0448 .2856 .3001 .2363 .1333.

    Args:
        fused: ``(B, 1, H, W)``, 0..255, H and W above 160.
        sources: one or more of the same shape.
        data_range: L.
        cache: shares intermediates, see :class:`fusionkit.metrics.inputs.Cache`.

    Returns:
        ``(B, S)`` in [0, 1].

    Source: Wang, Simoncelli and Bovik, Asilomar 2003. Scales are 2 x 2 means; an odd side gets a row of zeros first,
    as in pytorch_msssim.

    Example:
        >>> import torch
        >>> from fusionkit.metrics.ms_ssim import multi_scale_structural_similarity
        >>> a = torch.arange(25921.0).double().view(1, 1, 161, 161) % 251
        >>> b, fused = a.mT, (a + a.mT) / 2
        >>> [round(x, 4) for x in multi_scale_structural_similarity(fused, a, b).flatten().tolist()]
        [0.7229, 0.7229]
    """
    images = torch.cat((fused, *sources), 1)
    m = cache(moments, fused, *sources, window=GAUSSIAN, padding="valid", sample=False)
    result = torch.ones_like(m.mean[:, :, 0, 0])
    for level, weight in enumerate(SCALE_WEIGHTS):
        if level > 0:
            images = F.avg_pool2d(images, 2, padding=(images.shape[2] % 2, images.shape[3] % 2))
            m = local_moments(images, GAUSSIAN.taps())
        luminance, structure = similarity_maps(m, data_range)
        factor = structure if level < len(SCALE_WEIGHTS) - 1 else luminance * structure
        mean = factor.mean((2, 3))
        # The derivative of 0^w is infinite; there the result is 0 and so is its gradient.
        result = result * torch.where(mean > 0, torch.where(mean > 0, mean, 1.0) ** weight, 0.0)
    return result


@dataclass(frozen=True, kw_only=True)
class MSSSIM(CachingMetric):
    """:func:`multi_scale_structural_similarity`, summed or averaged over the sources."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="MS-SSIM",
        title="multi-scale structural similarity",
        measures="structural similarity with the sources over five scales",
        higher_is_better=True,
        range=(0.0, 1.0),
        unit="1",
        paper="Wang, Simoncelli, Bovik, Multi-scale structural similarity for image quality assessment, Asilomar 2003",
        equation="mean over S of l_5^w5 prod_k cs_k^wk",
        needs="sources",
        min_size=161,
        differentiable=True,
        notes=("tables that sum over two sources reach 2",),
    )
    data_range: float = 255.0
    reduction: Reduction = "mean"

    def measure(self, inputs: MetricInputs) -> Tensor:
        values = multi_scale_structural_similarity(
            inputs.fused, *inputs.sources, data_range=self.data_range, cache=inputs.cache
        )
        return over_sources(values, self.reduction)
