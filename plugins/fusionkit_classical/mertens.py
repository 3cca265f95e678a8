"""Exposure fusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fusionkit.errors import UsageError
from fusionkit_classical import opencv
from fusionkit_classical.borders import frame
from fusionkit_classical.method import StreamingFuser, lettered
from fusionkit_classical.options import Exponent
from fusionkit_classical.pyramid import expand, gaussian_pyramid, pyramid_depth, reduce, split

__all__ = ["Mertens", "MertensConfig", "exposure_weights", "fuse_mertens", "stream_mertens"]

_GREY = (0.299, 0.587, 0.114)
_WELL_EXPOSED = 0.5
_SIGMA = 0.2
_FLOOR = 1e-12


@dataclass(frozen=True)
class MertensConfig:
    """Options of :class:`Mertens`.

    Attributes:
        contrast: exponent of the contrast measure.
        saturation: exponent of the saturation measure.
        exposure: exponent of the well-exposedness measure.
    """

    contrast: Exponent = 1.0
    saturation: Exponent = 1.0
    exposure: Exponent = 1.0


def exposure_weights(stack: Tensor, *, contrast: float, saturation: float, exposure: float) -> Tensor:
    """Compute the weight of each exposure at each pixel.

        W_k = C_k^wc S_k^ws E_k^we / sum_j (...),    C = |Laplacian of grey|,    S = |I - mean over channels|_2,
        E = prod over channels of exp(-(I - 0.5)^2 / (2 0.2^2))

    Args:
        stack: ``(S, B, C, H, W)`` in [0, 1]; C is 3 (RGB), or 1 (grey). S is left out for grey exposures. Samples
            whose three channels are equal count as grey: their S is 0 everywhere and would hide the other measures.
        contrast: exponent wc.
        saturation: exponent ws.
        exposure: exponent we.

    Returns:
        ``(S, B, 1, H, W)``, sums to 1 over the sources.

    Source: Mertens, Kautz, Van Reeth 2007, section 3.1; the border is mirrored.
    """
    grey = _is_grey(stack).all(0)
    weights = _measures(stack, grey, contrast=contrast, saturation=saturation, exposure=exposure)
    return weights / weights.sum(0, keepdim=True)


def _is_grey(stack: Tensor) -> Tensor:
    """Find the samples of ``(..., B, C, H, W)`` whose channels are equal: ``(..., B)``, boolean."""
    return (stack == stack[..., :1, :, :]).flatten(-3).all(-1)


def _measures(images: Tensor, uncoloured: Tensor, *, contrast: float, saturation: float, exposure: float) -> Tensor:
    """The weights of images ``(..., B, C, H, W)`` before they are divided by their sum; ``uncoloured`` is ``(B,)``."""
    distance = (images - _WELL_EXPOSED).square()
    weights = None
    if images.shape[-3] == 3:
        distance = distance.sum(-3, keepdim=True)
        grey = (images * images.new_tensor(_GREY).view(3, 1, 1)).sum(-3, keepdim=True)
        colour = _power((images - images.mean(-3, keepdim=True)).square().sum(-3, keepdim=True).sqrt(), saturation)
        plain = uncoloured.view(-1, 1, 1, 1)
        weights = torch.where(plain, torch.ones_like(colour), colour)
        distance = torch.where(plain, distance / 3, distance)
    else:
        grey = images
    exposed = (distance * (-exposure / (2 * _SIGMA**2))).exp()
    contrasted = _power(_laplacian(grey).abs(), contrast) * exposed
    return (contrasted if weights is None else contrasted * weights) + _FLOOR


def _power(image: Tensor, exponent: float) -> Tensor:
    return image if exponent == 1 else image**exponent


def _laplacian(grey: Tensor) -> Tensor:
    if opencv.is_plain(grey):
        return opencv.laplacian(grey, border="reflect")
    wide = frame(grey, 1, border="reflect")
    across, down = wide[..., 1:-1, :], wide[..., 1:-1]
    return across[..., :-2] + across[..., 2:] + down[..., :-2, :] + down[..., 2:, :] - 4 * grey


def fuse_mertens(stack: Tensor, *, contrast: float, saturation: float, exposure: float) -> Tensor:
    """Fuse a stack ``(S, B, C, H, W)`` of RGB (C = 3) or grey (C = 1) exposures; options as in the class's Config."""
    channels = stack.shape[2]
    _check_channels(channels)
    if channels == 3 and torch.equal(stack, stack[:, :, :1].expand_as(stack)):
        # Nothing is computed three times for grey exposures that are given as RGB.
        grey = fuse_mertens(stack[:, :, :1], contrast=contrast, saturation=saturation, exposure=exposure)
        return grey.expand(-1, 3, -1, -1)
    depth = pyramid_depth(stack.shape[-2:], max(stack.shape[-2:]))
    weights = exposure_weights(stack, contrast=contrast, saturation=saturation, exposure=exposure)
    images = gaussian_pyramid(stack, depth)
    levels = list(zip(images, gaussian_pyramid(weights, depth), strict=True))
    fused = (images[-1] * levels[-1][1]).sum(0)
    for (fine, weight), coarse in zip(reversed(levels[:-1]), reversed(images[1:]), strict=True):
        size = fine.shape[-2:]
        fused = expand(fused, *size) + (weight * (fine - expand(coarse, *size))).sum(0)
    return fused


def _check_channels(channels: int) -> None:
    if channels not in (1, 3):
        raise UsageError(f"exposure fusion takes 3 channels (RGB) or 1 (grey), got {channels}")


def stream_mertens(sources: Sequence[Tensor], *, contrast: float, saturation: float, exposure: float) -> Tensor:
    """Fuse sources ``(B, C, H, W)`` that are looked up twice each: :func:`fuse_mertens` of one exposure at a time."""
    exponents = {"contrast": contrast, "saturation": saturation, "exposure": exposure}
    # Colour counts unless all exposures of a sample are grey, which is known after the last: both sums are kept.
    grey, total, total_grey = torch.empty(0), torch.empty(0), torch.empty(0)
    for k in range(len(sources)):
        image = sources[k]
        _check_channels(image.shape[1])
        found = _is_grey(image)
        grey = found if k == 0 else grey & found
        coloured = _measures(image, torch.zeros_like(found), **exponents)
        total = coloured if k == 0 else total.add_(coloured)
        if grey.any():
            plain = _measures(image, torch.ones_like(found), **exponents)
            total_grey = plain if k == 0 else total_grey.add_(plain)
    if grey.any():
        total = torch.where(grey.view(-1, 1, 1, 1), total_grey, total)
    fused: list[Tensor] = []
    for k in range(len(sources)):
        fine = sources[k]
        share = _measures(fine, grey, **exponents).div_(total)
        depth = pyramid_depth(fine.shape[-2:], max(fine.shape[-2:]))
        for level in range(depth + 1):
            detail, coarse = (fine, fine) if level == depth else split(fine)
            if k == 0:
                fused.append(share * detail)
            else:
                fused[level].addcmul_(share, detail)
            fine, share = coarse, share if level == depth else reduce(share)
    result = fused.pop()
    while fused:
        finer = fused.pop()
        result = expand(result, *finer.shape[-2:]).add_(finer)
    return result


class Mertens(StreamingFuser):
    """Exposure fusion: prefers contrasted, colourful and well-exposed pixels, blended in the Laplacian pyramid.

        L_l(F) = sum_k G_l(W_k) L_l(I_k),    W_k = C_k^wc S_k^ws E_k^we / sum_j (...)

    with contrast C, saturation S and well-exposedness E. Colour, any number of exposures; symmetric in them; of equal
    sources it returns them.

    Source: Mertens, Kautz, Van Reeth, "Exposure Fusion", Pacific Graphics 2007, all three exponents 1. Agrees with
    ``cv2.createMergeMertens``, whose sums come in no fixed order when it runs in several threads, but for grey
    exposures with three channels, which are fused like those with one.
    """

    Config = MertensConfig
    space = "rgb"
    tasks = ("meif",)
    reference = "Mertens, Kautz, Van Reeth, Exposure Fusion, Pacific Graphics 2007"

    def weigh(self, stack: Tensor) -> Mapping[str, Tensor]:
        """Compute the weight map W."""
        c: MertensConfig = self.config
        weights = exposure_weights(stack, contrast=c.contrast, saturation=c.saturation, exposure=c.exposure)
        return lettered("w", weights)

    def fuse(self, stack: Tensor) -> Tensor:
        """Fuse a stack ``(S, B, C, H, W)``, C = 3 or 1."""
        c: MertensConfig = self.config
        return fuse_mertens(stack, contrast=c.contrast, saturation=c.saturation, exposure=c.exposure)

    def stream(self, sources: Sequence[Tensor]) -> Tensor:
        """Fuse sources ``(B, C, H, W)`` one at a time, C = 3 or 1."""
        c: MertensConfig = self.config
        return stream_mertens(sources, contrast=c.contrast, saturation=c.saturation, exposure=c.exposure)
