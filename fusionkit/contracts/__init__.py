"""The interfaces that methods implement, and the small records that they exchange.

:class:`Fuser`, :class:`LossProposer`, :class:`OuterLoss` with its kind :class:`Reconstructor`, :class:`MetaTrainer` and
:class:`Metric` describe every method and name none. A classical method is a Fuser without parameters; ReFusion adds a
LossProposer, a Reconstructor and a MetaTrainer; a task-driven method has a downstream network as its OuterLoss. An
:class:`Aligner` brings sources onto each other before any of them.

Images are ``(B, C, H, W)`` float tensors in [0, 1], everywhere; ``C`` is 1 for luminance and 3 for RGB. Sources are
aligned, so they share ``B``, ``H`` and ``W``.
"""

from __future__ import annotations

from fusionkit.contracts.aligner import CONFIDENT, Aligner, Alignment, Matrix, Plane, TransformKind
from fusionkit.contracts.capabilities import Capabilities
from fusionkit.contracts.fuser import Fuser, NoOptions, Options, ShippedModel
from fusionkit.contracts.label_types import IGNORE, Boxes, LabelKind, LabelSpec
from fusionkit.contracts.learning import (
    Batch,
    Companion,
    Downstream,
    LossProposer,
    MetaTrainer,
    OuterLoss,
    Proposal,
    Reconstructor,
    Terms,
    Trainer,
    TrainingPairs,
)
from fusionkit.contracts.metric import Metric, MetricInfo
from fusionkit.contracts.published_weights import PublishedWeights

__all__ = [
    "CONFIDENT",
    "IGNORE",
    "Aligner",
    "Alignment",
    "Batch",
    "Boxes",
    "Capabilities",
    "Companion",
    "Downstream",
    "Fuser",
    "LabelKind",
    "LabelSpec",
    "LossProposer",
    "Matrix",
    "MetaTrainer",
    "Metric",
    "MetricInfo",
    "NoOptions",
    "Options",
    "OuterLoss",
    "Plane",
    "Proposal",
    "PublishedWeights",
    "Reconstructor",
    "ShippedModel",
    "Terms",
    "Trainer",
    "TrainingPairs",
    "TransformKind",
]

Critic = OuterLoss
"""Former name, for plugins that were written for it."""
