"""The interfaces that methods implement, and the small records that they exchange.

:class:`Fuser`, :class:`LossProposer`, :class:`Critic` with its kind :class:`Reconstructor`, :class:`MetaTrainer` and
:class:`Metric` describe every method and name none. A classical method is a Fuser without parameters; ReFusion adds a
LossProposer, a Reconstructor and a MetaTrainer; a task-driven method has a downstream network as its Critic.

Images are ``(B, C, H, W)`` float tensors in [0, 1], everywhere; ``C`` is 1 for luminance and 3 for RGB. Sources are
aligned, so they share ``B``, ``H`` and ``W``.
"""

from __future__ import annotations

from fusionkit.contracts.fuser import Fuser, NoOptions, Options
from fusionkit.contracts.learning import (
    Batch,
    Companion,
    Critic,
    Downstream,
    LossProposer,
    MetaTrainer,
    Proposal,
    Reconstructor,
    Terms,
    TrainingSource,
)
from fusionkit.contracts.metric import Metric, MetricInfo

__all__ = [
    "Batch",
    "Companion",
    "Critic",
    "Downstream",
    "Fuser",
    "LossProposer",
    "MetaTrainer",
    "Metric",
    "MetricInfo",
    "NoOptions",
    "Options",
    "Proposal",
    "Reconstructor",
    "Terms",
    "TrainingSource",
]
