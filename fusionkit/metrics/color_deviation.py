"""Colour deviation (CD): how far a fused image turns the colours of a source."""

from __future__ import annotations

import torch
from torch import Tensor

from fusionkit.errors import DataError

__all__ = ["color_deviation"]


def color_deviation(fused: Tensor, source: Tensor) -> Tensor:
    """Measure the mean angle between the colours of a fused image and those of a source, as vectors (R, G, B).

    Brightness does not count: a colour and a multiple of it differ by 0. Where either is black the angle is 0. Metrics
    of the registry see luminance only, so this one is called by itself.

    Args:
        fused: ``(B, 3, H, W)``, on any scale.
        source: the source that has the colours, of the same shape.

    Returns:
        ``(B,)`` in radians, 0 to pi / 2; lower is better. float64.

    Raises:
        DataError: the images are not in colour, or of unlike shapes.

    Source: Li, Fu, "FCDFusion", Computational Visual Media 11(1), 2025. The angle is ``atan2(|a x b|, a . b)``:
    the arc cosine of the paper loses small angles to rounding.

    Example:
        >>> import torch
        >>> from fusionkit.metrics.color_deviation import color_deviation
        >>> red = torch.tensor([255.0, 0, 0]).view(1, 3, 1, 1)
        >>> round(color_deviation(red + 100 * red.flip(1), red).item(), 3)
        1.561
    """
    if fused.shape != source.shape or fused.ndim != 4 or fused.shape[1] != 3:
        raise DataError(
            f"colour deviation compares two colour images (B, 3, H, W) of one shape, got {tuple(fused.shape)} and "
            f"{tuple(source.shape)}"
        )
    a, b = fused.double(), source.double()
    cross = torch.linalg.cross(a, b, dim=1).norm(dim=1)
    return torch.atan2(cross, (a * b).sum(1)).mean((1, 2))
