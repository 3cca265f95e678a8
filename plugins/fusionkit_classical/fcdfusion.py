"""FCDFusion: a colour image lit by an infrared one, a few operations a pixel."""

from __future__ import annotations

import torch
from torch import Tensor

from fusionkit.contracts import Capabilities, Fuser
from fusionkit_classical.method import FLOATING, check_sources

__all__ = ["FcdFusion"]

_GREY = (0.299, 0.587, 0.114)
_LEVEL = 1 / 255
"""The least value of the brightest channel: one level of 8 bits."""


class FcdFusion(Fuser):
    """Scales the colour of every pixel of the visible source by one factor, which grows with the infrared one.

        m = max(R, G, B, 1/255),    k = I^2 (m + 1) / (2 m) + 1/2,    F = min(k (R, G, B), 1)

    with I the infrared and R, G, B the visible source. Where the infrared source is white, half
    of white is added to the brightest channel; where it is black, the colour is halved. Ratios of the channels stay but
    where one is clipped. Of equal sources it does not return them.

    Two sources, infrared first; computed in float32, or in float64 for sources of that type. Each pixel is fused by
    itself.

    Source: Li, Fu, "FCDFusion: A fast, low color deviation method for fusing visible and infrared image pairs",
    Computational Visual Media 11(1), 2025, algorithm 1. The authors' program rounds to whole levels on the way.
    """

    capabilities = Capabilities(dtypes=FLOATING, halo=0)
    space = "rgb"
    tasks = ("ivif",)
    reference = "Li, Fu, FCDFusion, Computational Visual Media 11(1), 2025"

    def forward(self, *sources: Tensor) -> Tensor:
        """Fuse an infrared and a visible source ``(B, C, H, W)`` in [0, 1], C 1 or 3, into one of the same shape."""
        check_sources(sources, limit=2)
        first = sources[0]
        working = torch.float64 if first.dtype == torch.float64 else torch.float32
        infrared, visible = (source.to(working) for source in sources)
        if infrared.shape[1] == 3:
            infrared = torch.einsum("bchw,c->bhw", infrared, infrared.new_tensor(_GREY))[:, None]
        brightest = visible.amax(1, keepdim=True).clamp(min=_LEVEL)
        factor = infrared.square() * (brightest + 1) / (2 * brightest) + 0.5
        return (visible * factor).clamp(max=1).to(first)
