"""Grey levels, 256-bin histograms and joint histograms, and the min-max stretch that some toolboxes apply first."""

from __future__ import annotations

from math import e

import torch
from torch import Tensor

__all__ = [
    "entropy_of",
    "grey_levels",
    "histogram",
    "is_certain",
    "joint_histogram",
    "log_unit",
    "mutual_information_of",
    "stretch",
]

LEVELS = 256


def grey_levels(image: Tensor) -> Tensor:
    """Integer grey levels ``round(image)`` in 0..255, as int32."""
    return image.detach().round().clamp_(0, LEVELS - 1).to(torch.int32)


def histogram(image: Tensor) -> Tensor:
    """Compute the frequencies of the grey levels of each image.

    Args:
        image: ``(B, 1, H, W)``, 0..255.

    Returns:
        ``(B, 256)`` float64, each row sums to 1.
    """
    levels = grey_levels(image).flatten(1)
    # Bytes are counted faster, and made of int32 faster than of floats.
    return _counts(levels if len(levels) > 1 else levels.to(torch.uint8), LEVELS) / image[0].numel()


def joint_histogram(first: Tensor, second: Tensor) -> Tensor:
    """Compute the frequencies of pairs of grey levels at the same pixel.

    Args:
        first: ``(B, 1, H, W)``, 0..255; its grey level is the row.
        second: the same shape; its grey level is the column.

    Returns:
        ``(B, 256, 256)`` float64, each sums to 1.
    """
    pairs = grey_levels(first).mul_(LEVELS).add_(grey_levels(second))
    return _counts(pairs.flatten(1), LEVELS * LEVELS).view(-1, LEVELS, LEVELS) / first[0].numel()


def stretch(image: Tensor) -> Tensor:
    """``round(255 (x - min) / (max - min))``, halves away from zero as in MATLAB; 0 where the image is constant.

    Args:
        image: ``(B, 1, H, W)``.

    Returns:
        The same shape, integers in 0..255.
    """
    least = image.amin((-2, -1), keepdim=True)
    extent = image.amax((-2, -1), keepdim=True) - least
    # MATLAB's order of operations: the quotient is formed first, so that a half is a half there too.
    unit = (image - least) / torch.where(extent == 0, 1.0, extent)
    return (unit * 255 + 0.5).floor()


def entropy_of(p: Tensor) -> Tensor:
    """Shannon entropy ``-sum p ln p`` in nats over the last axis, with ``0 ln 0 = 0``; never -0."""
    result: Tensor = torch.special.entr(p).sum(-1)
    return result


def mutual_information_of(joint: Tensor) -> Tensor:
    """``I(X; Y) = H(X) + H(Y) - H(X, Y)`` in nats of joint frequencies ``(B, 256, 256)``; 0 where one is constant."""
    rows, columns = joint.sum(2), joint.sum(1)
    shared = entropy_of(rows) + entropy_of(columns) - entropy_of(joint.flatten(1))
    return torch.where(is_certain(rows) | is_certain(columns), 0.0, shared.clamp(min=0))


def is_certain(p: Tensor) -> Tensor:
    """Return whether one outcome has all of the probability ``(B, K)``, up to the rounding of its sum."""
    return p.amax(1) > 1 - 1e-12


def _counts(levels: Tensor, bins: int) -> Tensor:
    """Counts ``(B, bins)`` float64 of integers ``(B, N)``."""
    batch = levels.shape[0]
    if batch > 1:
        levels = levels + bins * torch.arange(batch, device=levels.device, dtype=levels.dtype)[:, None]
    return torch.bincount(levels.flatten(), minlength=batch * bins).view(batch, bins).double()


def log_unit(base: float) -> str:
    """Return the unit of an entropy whose logarithm has this base: ``"bit"``, ``"nat"`` or ``"log 10"``."""
    return {2.0: "bit", e: "nat"}.get(base, f"log {base:g}")
