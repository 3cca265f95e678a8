"""The filters of Kingsbury's dual-tree complex wavelet transform."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["FIRST_FILTERS", "QSHIFT_FILTERS", "FirstFilter", "QshiftFilter", "QshiftPair", "Taps", "modulated"]

Taps = tuple[float, ...]

FirstFilter = Literal["legall", "near-sym-a"]
QshiftFilter = Literal["6", "14"]

FIRST_FILTERS: dict[str, tuple[Taps, Taps]] = {
    "legall": ((-1 / 8, 2 / 8, 6 / 8, 2 / 8, -1 / 8), (1 / 4, 2 / 4, 1 / 4)),
    "near-sym-a": (
        (-1 / 20, 5 / 20, 12 / 20, 5 / 20, -1 / 20),
        (-3 / 280, -15 / 280, 73 / 280, 170 / 280, 73 / 280, -15 / 280, -3 / 280),
    ),
}
"""Level 1: symmetric low-pass filters of analysis and synthesis, odd length."""

QSHIFT_FILTERS: dict[str, Taps] = {
    "6": (
        0.0351638365714947,
        0.0,
        -0.0883294244510729,
        0.233890320607236,
        0.760272369066126,
        0.587518297723561,
        0.0,
        -0.114301837144249,
        0.0,
        0.0,
    ),
    "14": (
        0.00325314276365318,
        -0.00388321199915849,
        0.0346603468448535,
        -0.0388728012688278,
        -0.117203887699115,
        0.275295384668882,
        0.756145643892523,
        0.568810420712123,
        0.0118660920337970,
        -0.106711804686665,
        0.0238253847949203,
        0.0170252238815540,
        -0.00543947593727412,
        -0.00455689562847549,
    ),
}
"""Levels 2 and up: orthonormal low-pass of one tree, by its taps that are not 0; the other tree's is its reverse."""


@dataclass(frozen=True)
class QshiftPair:
    """Low-pass and high-pass filter of the tree on the even and of the tree on the odd samples.

    The low-pass filters are each other's reverse, half a sample apart; the high-pass filters follow by alternating
    signs, and are each other's reverse too.
    """

    low: tuple[Taps, Taps]
    high: tuple[Taps, Taps]

    @classmethod
    def of(cls, name: QshiftFilter) -> QshiftPair:
        """The filters named in :data:`QSHIFT_FILTERS`."""
        odd = QSHIFT_FILTERS[name]
        flipped = tuple((-1) ** n * tap for n, tap in enumerate(odd))
        return cls(low=(odd[::-1], odd), high=(flipped, flipped[::-1]))


def modulated(taps: Taps) -> Taps:
    """A filter of odd length moved from low to high frequencies: every second tap from the centre negated."""
    centre = len(taps) // 2
    return tuple((-1) ** (n - centre) * tap for n, tap in enumerate(taps))
