"""Models of human vision: what a viewer sees of the sources' contrast (QCB) and of the differences to them (QCV)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from fusionkit.contracts import MetricInfo
from fusionkit.metrics.arithmetic import ratio
from fusionkit.metrics.gradients import sobel
from fusionkit.metrics.histograms import stretch
from fusionkit.metrics.scene import Scene, SceneMetric
from fusionkit.metrics.windows import filter_planes

__all__ = ["QCB", "QCV", "chen_blum", "chen_varshney"]


def chen_blum(fused: Tensor, a: Tensor, b: Tensor, *, undefined: float = 1.0, unit_range: bool = True) -> Tensor:
    """How much of the sources' visible local contrast the fused image keeps (Chen and Blum).

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
    """
    strict = math.isnan(undefined)
    response = _response(fused, _difference_of_gaussians, 30.0)
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


def chen_varshney(
    fused: Tensor, a: Tensor, b: Tensor, *, block: int = 16, saliency_power: float = 5.0, undefined: float = 0.0
) -> Tensor:
    """Visible squared difference between the fused image and its sources, where the sources are salient; 0 is best.

    Every image is stretched to 0..255. A block of source X weighs ``l_X = sum |Sobel X|^5``; ``D_X`` is the block mean
    of the squared difference ``X - F`` after the Mannos-Sakrison contrast sensitivity
    ``2.6 (0.0192 + 0.144 r) exp(-(0.144 r)^1.1)``. ``QCV = sum(l_A D_A + l_B D_B) / sum(l_A + l_B)`` over all blocks.
    Where neither source has an edge every block weighs the same. Computed in float64 whatever the dtype.

    Args:
        fused: ``(B, 1, H, W)``, 0..255.
        a: the first source, same shape.
        b: the second source, same shape.
        block: side of a block in pixels; the image is extended with zeros to whole blocks.
        saliency_power: the exponent of the edge strength, 1 to 15 in the paper.
        undefined: what a constant image is stretched to; nan, as in the published code, makes the value nan, unless
            the image is black.

    Returns:
        ``(B,)`` in [0, inf).

    Source: Chen and Varshney, Inf. Fusion 8, 2007, with the constants of Z. Liu's toolbox (``metricChen``).
    """
    images = torch.cat([_stretched(x.double(), undefined) for x in (fused, a, b)], 1)
    sources = images[:, 1:]
    gx, gy = sobel(sources, padding="zeros")
    saliency = _block_means((gx.square() + gy.square()).pow(saliency_power / 2), block)
    visible = _filtered(sources - images[:, :1], _response(fused, _mannos_sakrison, 8.0))
    error = _block_means(visible.square(), block)
    total = saliency.sum((1, 2, 3))
    value = torch.where(total == 0, error.mean((1, 2, 3)), ratio((saliency * error).sum((1, 2, 3)), total))
    return value.to(fused.dtype)


def _masked_contrast(image: Tensor, response: Tensor, unit_range: bool, strict: bool) -> Tensor:
    """``C'`` of one image, ``(B, 1, H, W)`` float64."""
    image = image.double()
    image = _stretched(image / 255 if unit_range else image, math.nan if strict else 0.0)
    seen = _filtered(image, response)
    fine, coarse = (filter_planes(seen, _truncated_gaussian(sigma), padding="zeros") for sigma in (2.0, 4.0))
    contrast = ratio(fine, coarse, math.nan if strict else 1.0) - 1
    square = contrast.square()
    return square * contrast.abs() / (square + 1e-4)


def _stretched(image: Tensor, constant: float) -> Tensor:
    """:func:`stretch` with ``constant`` for constant images but black ones."""
    least, greatest = image.amin((-2, -1), keepdim=True), image.amax((-2, -1), keepdim=True)
    return torch.where((least == greatest) & (greatest != 0), constant, stretch(image))


def _truncated_gaussian(sigma: float) -> tuple[float, ...]:
    """31 taps of the Gaussian density: cut off, and not renormalised."""
    return tuple(math.exp(-(k**2) / (2 * sigma**2)) / (math.sqrt(2 * math.pi) * sigma) for k in range(-15, 16))


def _filtered(image: Tensor, response: Tensor) -> Tensor:
    """Filter by a frequency response, as :func:`_response` gives it."""
    seen: Tensor = torch.fft.irfft2(torch.fft.rfft2(image) * response, s=image.shape[-2:])
    return seen


def _response(image: Tensor, radial: Callable[[Tensor], Tensor], degrees: float) -> Tensor:
    """A radial frequency response, float64; the half sampling rate is ``H / degrees`` down and ``W / degrees`` across.

    The frequencies are MATLAB's ``freqspace``; the response is real and even, so a real transform does.
    """
    height, width = image.shape[-2:]
    v = torch.fft.fftfreq(height, 0.5 * degrees / height, dtype=torch.float64, device=image.device)
    u = torch.fft.rfftfreq(width, 0.5 * degrees / width, dtype=torch.float64, device=image.device)
    return radial(torch.hypot(v[:, None], u[None, :]))


def _difference_of_gaussians(r: Tensor) -> Tensor:
    return torch.exp(-(r / 15.3870).square()) - 0.7622 * torch.exp(-(r / 1.3456).square())


def _mannos_sakrison(r: Tensor) -> Tensor:
    return 2.6 * (0.0192 + 0.144 * r) * torch.exp(-((0.144 * r) ** 1.1))


def _block_means(planes: Tensor, block: int) -> Tensor:
    """Means of whole blocks, of planes extended with zeros on the right and below."""
    height, width = planes.shape[-2:]
    return F.avg_pool2d(F.pad(planes, (0, -width % block, 0, -height % block)), block)


@dataclass(frozen=True, kw_only=True)
class QCB(SceneMetric):
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

    def measure(self, scene: Scene) -> Tensor:
        return chen_blum(scene.fused, *scene.sources, undefined=self.undefined, unit_range=self.unit_range)


@dataclass(frozen=True, kw_only=True)
class QCV(SceneMetric):
    """:func:`chen_varshney` under one convention."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="QCV",
        title="Chen-Varshney quality",
        measures="the visible squared difference to the sources, weighted by how salient each source region is",
        higher_is_better=False,
        range=(0.0, float("inf")),
        unit="squared grey levels",
        paper="Chen, Varshney, A human perception inspired quality metric for image fusion, Inf. Fusion 8, 2007",
        equation="sum(l_A D_A + l_B D_B) / sum(l_A + l_B) over blocks, l_X = sum |Sobel X|^5, D_X = mean CSF(X - F)^2",
        needs="sources",
        sources="two",
        undefined="a constant image: stretched to 0; no edges in the sources: all blocks weigh the same",
        notes=("agrees with Z. Liu's metricChen and MEFB's Qcv; images are stretched to their full range first",),
    )
    block: int = 16
    saliency_power: float = 5.0
    undefined: float = 0.0

    def measure(self, scene: Scene) -> Tensor:
        return chen_varshney(
            scene.fused,
            *scene.sources,
            block=self.block,
            saliency_power=self.saliency_power,
            undefined=self.undefined,
        )
