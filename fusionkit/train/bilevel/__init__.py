"""Bilevel training of a fusion loss: the hypergradient, the trainer and its schedule. No method lives here."""

from __future__ import annotations

from fusionkit.train.bilevel.closed_form_step import closed_form_meta_gradient
from fusionkit.train.bilevel.function_loss import FunctionOuterLoss
from fusionkit.train.bilevel.hypergradient import (
    MetaGradient,
    evidence,
    image_space_meta_gradient,
    meta_gradient,
    supports_forward_mode,
)
from fusionkit.train.bilevel.meta_steps import ClosedForm, ImageSpace, Networks, OneStep
from fusionkit.train.bilevel.options import BilevelOptions
from fusionkit.train.bilevel.trainer import BilevelTrainer
from fusionkit.train.bilevel.uniform_weights import UniformWeights

__all__ = [
    "BilevelOptions",
    "BilevelTrainer",
    "ClosedForm",
    "FunctionOuterLoss",
    "ImageSpace",
    "MetaGradient",
    "Networks",
    "OneStep",
    "UniformWeights",
    "closed_form_meta_gradient",
    "evidence",
    "image_space_meta_gradient",
    "meta_gradient",
    "supports_forward_mode",
]
