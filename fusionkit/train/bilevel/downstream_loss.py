"""A registered outer loss: the labels that it needs, built for them, and kept beside the fuser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fusionkit.config import as_dict, resolve
from fusionkit.contracts import Companion, Downstream, OuterLoss
from fusionkit.contracts.label_types import LabelKind
from fusionkit.data.labels.labelled_store import LabelledStore
from fusionkit.errors import UsageError
from fusionkit.plugins import catalogue

__all__ = ["build_outer_loss", "needed_labels", "outer_loss_companion"]


def needed_labels(name: str) -> LabelKind | None:
    """The labels that a registered outer loss learns from; None where it needs none."""
    kind = catalogue.outer_losses.get(name)
    return kind.kind if issubclass(kind, Downstream) else None


def build_outer_loss(name: str, options: Mapping[str, Any], labelled: LabelledStore | None) -> OuterLoss:
    """Build a registered outer loss; a downstream network with the classes of the labels.

    Args:
        name: its registered name.
        options: its options, by name.
        labelled: the training pairs with labels; None where they have none.

    Raises:
        UsageError: a wrong option, or labels that a downstream network cannot learn from.
    """
    kind = catalogue.outer_losses.get(name)
    config: Any = resolve(kind.Config, ("network", options))
    if not issubclass(kind, Downstream):
        return kind(config)
    if labelled is None or labelled.spec.kind != kind.kind:
        given = "have none" if labelled is None else f"are for {labelled.spec.kind}"
        raise UsageError(f"downstream={name} needs pairs with {kind.kind} labels; these {given}")
    return kind(config, classes=labelled.spec.classes)


def outer_loss_companion(name: str, outer_loss: OuterLoss, size: tuple[int, int] | None) -> Companion:
    """A trained outer loss as it is kept beside the fuser.

    Args:
        name: its registered name.
        outer_loss: the network.
        size: height and width of the images that a downstream network saw.
    """
    facts: dict[str, Any] = {"outer_loss": name, "config": as_dict(outer_loss.config)}
    if isinstance(outer_loss, Downstream):
        facts |= {"kind": outer_loss.kind, "classes": list(outer_loss.classes), "size": list(size or ())}
    return Companion(outer_loss, facts)
