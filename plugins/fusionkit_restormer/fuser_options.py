"""Options of F, the fusion network of ReFusion and of TDFusion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fusionkit_restormer.encoder import Depth, Factor, Width
from fusionkit_restormer.inputs import Inputs

__all__ = ["FuserOptions"]


@dataclass(frozen=True)
class FuserOptions:
    """Size and variants of F.

    Attributes:
        dim: width of a source's feature; twice that after merging.
        heads: attention heads everywhere; must divide ``dim``.
        blocks: Restormer blocks per stage.
        expansion: factor of the feed-forward.
        cross_attention: False is ablation VII of Table 5.
        gating: False is ablation VIII; with ``cross_attention`` False too, ablation VI (AFM -> concatenation).
        output: ``"direct"``, or ``"decision"`` for ablation V: the network puts out w_a and the fused image is
            ``w_a I_a + (1 - w_a) I_b``.
        inputs: what F sees of a source: ``"image"``, as published, ``"image+gradient"``, or
            ``"image+gradient+share"``, which adds its :func:`~fusionkit_restormer.inputs.shares` of the gradients'
            energy. The first convolution alone grows.
    """

    dim: Width = 16
    heads: Width = 8
    blocks: Depth = 2
    expansion: Factor = 2
    cross_attention: bool = True
    gating: bool = True
    output: Literal["direct", "decision"] = "direct"
    inputs: Inputs = "image"
