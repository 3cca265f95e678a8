"""The fusion loss of TDFusion: intensities by learned shares, gradients of the stronger source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from fusionkit_restormer.losses import sobel

__all__ = ["Weighting", "strongest", "task_fusion_loss"]

Weighting = Literal["outside", "inside"]


def strongest(responses: Sequence[Tensor]) -> Tensor:
    """At each entry the response that is largest by absolute value, with its sign; of equals the first."""
    stacked = torch.stack(tuple(responses))
    return stacked.gather(0, stacked.abs().argmax(0, keepdim=True))[0]


def task_fusion_loss(
    fused: Tensor,
    sources: Sequence[Tensor],
    weights: Tensor,
    *,
    alpha: float = 1.0,
    weighting: Weighting = "outside",
) -> dict[str, Tensor]:
    r"""The fusion loss of TDFusion.

    .. math:: L_f = \mathrm{mean}\sum_k w_k (I_f - I_k)^2
              + \alpha\,\mathrm{mean}\,|\nabla I_f - \max_k \nabla I_k|

    The mean is over pixels and batch. The maximum is taken by absolute value for the x and the y response of the
    Sobel operator separately; what the two contribute at a pixel is summed.

    Args:
        fused: ``(B, 1, H, W)`` in [0, 1].
        sources: S tensors of the same shape.
        weights: w, ``(B, S, H, W)``, summing to 1 over S.
        alpha: weight of the gradient term; 0 leaves it out.
        weighting: ``"outside"`` the square, as in the paper; ``"inside"``, ``(w_k (I_f - I_k))^2``, as in the
            authors' code: the image that it asks for is drawn to the source of the larger w more strongly.

    Returns:
        ``total``, ``intensity``, ``gradient``: scalars.

    Reference:
        Bai et al., Task-driven Image Fusion with Learnable Fusion Loss, CVPR 2025, eq. (1)-(3).
    """
    errors = (fused - torch.cat(tuple(sources), 1)).square()
    shares = weights if weighting == "outside" else weights.square()
    intensity = (shares * errors).sum(1).mean()
    target = strongest([sobel(source) for source in sources])
    gradient = (sobel(fused) - target).abs().sum(1).mean()
    return {"total": intensity + alpha * gradient, "intensity": intensity, "gradient": gradient}
