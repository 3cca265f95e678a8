"""Learning a loss by what comes of it: the hypergradient and the bilevel trainer. No method lives here."""

from __future__ import annotations

from fusionkit.meta.bilevel import BilevelOptions, BilevelTrainer
from fusionkit.meta.hypergradient import (
    MetaGradient,
    image_meta_gradient,
    meta_gradient,
    supports_forward_mode,
)

__all__ = [
    "BilevelOptions",
    "BilevelTrainer",
    "MetaGradient",
    "image_meta_gradient",
    "meta_gradient",
    "supports_forward_mode",
]
