"""F, the fusion network of ReFusion and of TDFusion."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fusionkit.contracts import Fuser
from fusionkit_restormer.encoder import Encoder, check_heads
from fusionkit_restormer.fuser_options import FuserOptions
from fusionkit_restormer.inputs import CHANNELS, network_inputs
from fusionkit_restormer.merge import AdaptiveFusion
from fusionkit_restormer.published import published_name, rename_published
from fusionkit_restormer.restormer import RestormerBlock
from fusionkit_restormer.strips import fuse_in_strips

if TYPE_CHECKING:
    from fusionkit_restormer.native.fuse import NativeRestormer

__all__ = ["WHOLE_PIXELS", "FuserOptions", "RestormerFuser"]

WHOLE_PIXELS = 2**17
"""Larger images are fused in strips when no gradient is asked for: at full size each pixel takes 2.5 kB, and strips
that stay in a processor's cache are faster besides. An accelerator takes sixteen times as much at once."""


class RestormerFuser(Fuser):
    """F: two encoders, the AFM, a decoder; 59,856 parameters at the published size, 61,008 with every input.

    Source a goes to the first encoder, source b to the second: the order matters.

    Reference:
        Bai et al., ReFusion: Learning Image Fusion from Reconstruction with Learnable Loss via Meta-Learning,
        IJCV 133 (2025), section 3.4.
    """

    Config = FuserOptions
    config: FuserOptions
    stretch = "full"

    def __init__(self, config: FuserOptions | None = None) -> None:
        super().__init__(config)
        c = self.config
        check_heads(c.dim, c.heads, "fuser")
        self.encoders = nn.ModuleList(
            Encoder(CHANNELS[c.inputs], c.dim, c.heads, c.blocks, c.expansion) for _ in range(2)
        )
        self.merge = AdaptiveFusion(c.dim, c.heads, c.expansion, cross_attention=c.cross_attention, gating=c.gating)
        self.decoder = nn.Sequential(*(RestormerBlock(2 * c.dim, c.heads, c.expansion) for _ in range(c.blocks)))
        self.head = nn.Sequential(
            nn.Conv2d(2 * c.dim, c.dim, 3, padding=1, bias=False),
            nn.LeakyReLU(0.01),
            nn.Conv2d(c.dim, 1, 3, padding=1, bias=False),
            nn.Sigmoid(),
        )

        self._native: NativeRestormer | None = None

    def use_native(self) -> str:
        """Fuse by the compiled form where no gradient is asked for: see :mod:`fusionkit_restormer.native`."""
        from fusionkit_restormer.native.fuse import NativeRestormer

        self._native = NativeRestormer(self)
        return self._native.form

    def forward(self, *sources: Tensor) -> Tensor:
        """Fuse two luminance images ``(B, 1, H, W)`` in [0, 1] into one."""
        a, b = sources
        if self._native is not None and self._native.takes(a):
            return self._native(self, a, b)
        # Channels-last is the layout in which this network's 1x1 convolutions are plain matrix products.
        laid_out = tuple(x.contiguous(memory_format=torch.channels_last) for x in (a, b))
        whole = WHOLE_PIXELS * (1 if a.device.type == "cpu" else 16)
        if not torch.is_grad_enabled() and a.shape[2] * a.shape[3] > whole:
            rows = max(whole // (4 * a.shape[3]), 1)
            out = fuse_in_strips(self.encoders, self.merge, self.decoder, self.head, laid_out, rows, self.config.inputs)
        else:
            seen = network_inputs(self.config.inputs, laid_out)
            features = [encode(x) for encode, x in zip(self.encoders, seen, strict=True)]
            out = self.head(self.decoder(self.merge(*features)))
        return out if self.config.output == "direct" else out * a + (1 - out) * b

    @classmethod
    def rename_published(cls, name: str) -> str | None:
        """Translate the authors' name of a tensor."""
        return published_name(name) or (name if name in _own_names(cls) else None)

    @classmethod
    def import_weights(cls, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The authors' published weights under this class's names."""
        return rename_published(tensors, cls().state_dict())


@cache
def _own_names(kind: type[RestormerFuser]) -> frozenset[str]:
    with torch.device("meta"):
        return frozenset(kind().state_dict())
