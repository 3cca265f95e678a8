"""The contract of aligners, which find the transform that brings one image onto another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["CONFIDENT", "Aligner", "Alignment", "Matrix", "Plane", "TransformKind"]

Plane = NDArray[np.float32]
"""A grey image ``(H, W)`` in [0, 1]."""

Matrix = NDArray[np.float64]
"""A 3x3 matrix that maps points (x, y) of the reference to points of the moved image, ``matrix[2, 2]`` being 1; centres
of pixels have whole numbers."""

TransformKind = Literal["translation", "rigid", "affine", "homography"]
"""Kinds of transforms, each with the freedom of those before it."""

CONFIDENT = 0.5
"""Confidence from which on an alignment is used."""


@dataclass(frozen=True, eq=False)
class Alignment:
    """A transform that brings one image onto another.

    Attributes:
        matrix: see :data:`Matrix`.
        confidence: 0 to 1; below :data:`CONFIDENT` the transform is not used.
    """

    matrix: Matrix
    confidence: float


class Aligner(ABC):
    """Finds one transform that brings images onto their references. Built without arguments; keeps no state."""

    kinds: ClassVar[tuple[TransformKind, ...]] = ()
    """Kinds of transforms that it finds; the first is taken where none is named."""
    reference: ClassVar[str] = ""
    """Paper that defines the method."""
    default_for: ClassVar[tuple[str, ...] | None] = ()
    """The tasks whose default it is; None for every task that no other aligner is the default of."""
    smallest: ClassVar[int] = 16
    """Smallest height and width of an image that it takes, in pixels."""

    @abstractmethod
    def align(self, moved: Sequence[Plane], fixed: Sequence[Plane], kind: TransformKind, *, start: Matrix) -> Alignment:
        """Find the transform.

        Args:
            moved: one grey image per pair, all of one size.
            fixed: the reference of each, all of one size. Sizes of moved images and references may differ.
            kind: one of :attr:`kinds`.
            start: brings the centre of the moved image onto that of the reference at the scale that is known or
                probable; ``"rigid"`` and ``"translation"`` keep its scale.

        Returns:
            The transform of all pairs together, with a confidence that is low where it may be wrong.
        """
