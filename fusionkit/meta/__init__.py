"""Learning a loss by what comes of it: the hypergradient and the bilevel trainer. No method lives here."""

from __future__ import annotations

from fusionkit.meta.bilevel import BilevelTrainer
from fusionkit.meta.critics import FunctionCritic
from fusionkit.meta.hypergradient import (
    MetaGradient,
    evidence,
    image_meta_gradient,
    meta_gradient,
    supports_forward_mode,
)
from fusionkit.meta.optimum import optimum_meta_gradient
from fusionkit.meta.options import BilevelOptions

__all__ = [
    "BilevelOptions",
    "BilevelTrainer",
    "FunctionCritic",
    "MetaGradient",
    "evidence",
    "image_meta_gradient",
    "meta_gradient",
    "optimum_meta_gradient",
    "supports_forward_mode",
]
