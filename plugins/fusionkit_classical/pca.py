"""Fusion by principal components."""

from __future__ import annotations

import torch
from torch import Tensor

from fusionkit_classical.method import ClassicalFuser

__all__ = ["Pca", "principal_weights"]


def principal_weights(stack: Tensor) -> Tensor:
    """Compute the weights of the sources in the first principal component of their pixels.

        w_s = |v_s| / sum_t |v_t|,    v the eigenvector of cov(I_1, ..., I_S) with the greatest eigenvalue

    Args:
        stack: ``(S, B, C, H, W)``, float64; the covariance is taken over ``C, H, W`` of each sample.

    Returns:
        ``(S, B)``, each column sums to 1. Where the greatest eigenvalue is shared (constant images among them) v is
        taken over its whole eigenspace, so that the weights do not depend on the order of the sources.
    """
    pixels = stack.flatten(2).transpose(0, 1)
    centred = pixels - pixels.mean(-1, keepdim=True)
    covariance: Tensor = centred @ centred.mT / max(pixels.shape[-1] - 1, 1)
    values, vectors = torch.linalg.eigh(covariance)
    greatest = values[:, -1:]
    leading = values >= greatest - 1e-9 * greatest.abs() - 1e-12
    # Diagonal of the projector on the leading eigenspace; v_s^2 if that has one dimension.
    share: Tensor = (vectors.square() * leading.unsqueeze(1)).sum(-1).sqrt()
    return (share / share.sum(-1, keepdim=True)).T


class Pca(ClassicalFuser):
    """Principal-component fusion: one weight per source, from the first principal component of all pixels.

        F = sum_s w_s I_s,    w = |v| / sum |v|,    v the leading eigenvector of the sources' covariance

    Symmetric in the sources; of equal sources it returns them.

    Source: Naidu, Raol, "Pixel-level Image Fusion Using Wavelets and Principal Component Analysis", Defence Science
    Journal 58(3), 2008, section 3. It differs in the absolute value: the components have unlike signs where sources
    are negatively correlated, and v / sum v then leaves [0, 1] or divides by about 0.
    """

    reference = (
        "Naidu, Raol, Pixel-level Image Fusion Using Wavelets and Principal Component Analysis, "
        "Defence Science Journal 58(3), 2008"
    )

    def fuse(self, stack: Tensor) -> Tensor:
        """Fuse a stack ``(S, B, C, H, W)``."""
        weights = principal_weights(stack)
        return (weights[:, :, None, None, None] * stack).sum(0)
