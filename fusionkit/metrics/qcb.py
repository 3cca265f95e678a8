"""Chen and Blum's quality (QCB): visible local contrast that is kept."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fusionkit.contracts import MetricInfo
from fusionkit.metrics.arithmetic import ratio
from fusionkit.metrics.contrast_sensitivity import filter_by_response, frequency_response, stretch_or_constant
from fusionkit.metrics.inputs import CachingMetric, MetricInputs
from fusionkit.metrics.windows import filter_planes

__all__ = ["QCB", "chen_blum"]


def chen_blum(fused: Tensor, a: Tensor, b: Tensor, *, undefined: float = 1.0, unit_range: bool = True) -> Tensor:
    """Share of the sources' visible local contrast that the fused image keeps (Chen and Blum's QCB).

    Every image is stretched to 0..255 and filtered by a difference-of-Gaussians contrast sensitivity; with Gaussians
    G2, G4 of sigma 2 and 4 on 31 x 31 pixels, the contrast ``C = |G2*x / G4*x - 1|`` is masked to
    ``C' = C^3 / (C^2 + 1e-4)``. Per pixel ``Q_XF = min(C'_X, C'_F) / max(C'_X, C'_F)``, averaged over the sources with
    weights ``C'_X^2`` and then over the image. ``C = 0`` where ``G4*x = 0``. Computed in float64 whatever the dtype:
    where ``G4*x`` is near 0 the contrast magnifies rounding.

    Args:
        fused: ``(B, 1, H, W)``, 0..255.
        a: the first source, same shape.
        b: the second source, same shape.
        undefined: the quality of a pixel where no image has contrast (0/0); nan makes the value nan wherever the
            published code's is, which is for every constant image.
        unit_range: divide by 255 before the stretch, as the published code does. It decides which way exact
            halves are rounded.

    Returns:
        ``(B,)`` in [0, 1].

    Source: Chen and Blum, Image Vis. Comput. 27, 2009, with the constants of Z. Liu's toolbox (``metricChenBlum``).

    Example:
        >>> import torch
        >>> from fusionkit.metrics.qcb import chen_blum
        >>> a = torch.arange(256.0).double().view(1, 1, 16, 16)
        >>> b, fused = a.mT, (a + a.mT) / 2
        >>> round(chen_blum(fused, a, b).item(), 4)
        0.6933
    """
    strict = math.isnan(undefined)
    response = frequency_response(fused, _difference_of_gaussians, 30.0)
    contrast_fused, *contrast = (_masked_contrast(x, response, unit_range, strict) for x in (fused, a, b))
    sources = torch.cat(contrast, 1)
    kept = ratio(
        torch.minimum(sources, contrast_fused), torch.maximum(sources, contrast_fused), undefined if strict else 1.0
    )
    saliency = sources.square()
    total = saliency.sum(1, keepdim=True)
    # Where no source has contrast there is nothing to keep: any contrast of the fused image is made up.
    bare = torch.where(contrast_fused == 0, undefined, math.nan if strict else 0.0)
    quality = torch.where(total == 0, bare, ratio((saliency * kept).sum(1, keepdim=True), total))
    return quality.mean((1, 2, 3)).to(fused.dtype)


def _masked_contrast(image: Tensor, response: Tensor, unit_range: bool, strict: bool) -> Tensor:
    """``C'`` of one image, ``(B, 1, H, W)`` float64."""
    image = image.double()
    image = stretch_or_constant(image / 255 if unit_range else image, math.nan if strict else 0.0)
    seen = filter_by_response(image, response)
    fine, coarse = (filter_planes(seen, _truncated_gaussian(sigma), padding="zeros") for sigma in (2.0, 4.0))
    contrast = ratio(fine, coarse, math.nan if strict else 1.0) - 1
    square = contrast.square()
    return square * contrast.abs() / (square + 1e-4)


def _truncated_gaussian(sigma: float) -> tuple[float, ...]:
    """31 taps of the Gaussian density: cut off, and not renormalised."""
    return tuple(math.exp(-(k**2) / (2 * sigma**2)) / (math.sqrt(2 * math.pi) * sigma) for k in range(-15, 16))


def _difference_of_gaussians(r: Tensor) -> Tensor:
    return torch.exp(-(r / 15.3870).square()) - 0.7622 * torch.exp(-(r / 1.3456).square())


@dataclass(frozen=True, kw_only=True)
class QCB(CachingMetric):
    """:func:`chen_blum` under one convention."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="QCB",
        title="Chen-Blum quality",
        measures="how much of the sources' local contrast, as a viewer sees it, the fused image keeps",
        higher_is_better=True,
        range=(0.0, 1.0),
        unit="1",
        paper="Chen, Blum, A new automated quality assessment algorithm for image fusion, Image Vis. Comput. 27, 2009",
        equation="mean(sum_X l_X min(C'_X, C'_F) / max(C'_X, C'_F)), l_X = C'_X^2 / sum_Y C'_Y^2",
        needs="sources",
        sources="two",
        undefined="pixels where no image has contrast: 1; where the fused image alone has: 0; constants have none",
        notes=(
            "agrees with Z. Liu's metricChenBlum and MEFB's Qcb; VIFB's Qcb rounds ties of the stretch otherwise",
            "in large black areas the contrast is a quotient of rounding errors: on medical images the third digit can "
            "depend on the FFT library",
            "images are stretched to their full range first: a change of brightness or gain of any image is free",
        ),
    )
    undefined: float = 1.0
    unit_range: bool = True

    def measure(self, inputs: MetricInputs) -> Tensor:
        return chen_blum(inputs.fused, *inputs.sources, undefined=self.undefined, unit_range=self.unit_range)
