"""The interfaces that methods implement, and the small records that they exchange.

:class:`Fuser`, :class:`LossProposer`, :class:`OuterLoss` with its kind :class:`Reconstructor`, :class:`MetaTrainer` and
:class:`Metric` describe every method and name none. A classical method is a Fuser without parameters; ReFusion adds a
LossProposer, a Reconstructor and a MetaTrainer; a task-driven method has a downstream network as its OuterLoss. An
:class:`Aligner` brings sources onto each other before any of them.

Images are ``(B, C, H, W)`` float tensors in [0, 1], everywhere; ``C`` is 1 for luminance and 3 for RGB. Sources are
aligned, so they share ``B``, ``H`` and ``W``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

    Critic = OuterLoss

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

_MODULES = {
    "aligner": ("CONFIDENT", "Aligner", "Alignment", "Matrix", "Plane", "TransformKind"),
    "capabilities": ("Capabilities",),
    "fuser": ("Fuser", "NoOptions", "Options", "ShippedModel"),
    "label_types": ("IGNORE", "Boxes", "LabelKind", "LabelSpec"),
    "learning": (
        "Batch",
        "Companion",
        "Downstream",
        "LossProposer",
        "MetaTrainer",
        "OuterLoss",
        "Proposal",
        "Reconstructor",
        "Terms",
        "Trainer",
        "TrainingPairs",
    ),
    "metric": ("Metric", "MetricInfo"),
    "published_weights": ("PublishedWeights",),
}
_HOMES = {name: (module, name) for module, names in _MODULES.items() for name in names}
# The former name of outer losses, for plugins that were written for it.
_HOMES["Critic"] = ("learning", "OuterLoss")


def __getattr__(name: str) -> Any:
    # Loaded on first use: data are listed and found without an import of torch.
    if name in _HOMES:
        module, own = _HOMES[name]
        return getattr(import_module(f"fusionkit.contracts.{module}"), own)
    raise AttributeError(f"module 'fusionkit.contracts' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
