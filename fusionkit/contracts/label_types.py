"""Types of labels, in the form in which downstream networks are trained and scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["IGNORE", "Boxes", "LabelKind", "LabelSpec"]

LabelKind = Literal["segmentation", "detection"]
"""Class-id masks, or boxes."""

IGNORE = 255
"""Class id of the mask pixels that no loss and no score counts."""


@dataclass(frozen=True)
class LabelSpec:
    """Kind and classes of a set's labels.

    Attributes:
        kind: masks or boxes.
        classes: names of the classes, by id; for masks the first is the background where the set has one.
    """

    kind: LabelKind
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Boxes:
    """The boxes of one image, known or predicted.

    Attributes:
        corners: ``(n, 4)`` float, x0 y0 x1 y1 in pixels, 0 <= x0 < x1 <= width; n may be 0.
        classes: ``(n,)`` int64 class ids.
        scores: ``(n,)`` float in [0, 1] of predictions, highest first; None where the boxes are known.
    """

    corners: Tensor
    classes: Tensor
    scores: Tensor | None = None
