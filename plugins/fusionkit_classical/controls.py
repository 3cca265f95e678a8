"""Simple fusers, and controls that show whether a metric measures fusion."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from fusionkit.contracts import Capabilities
from fusionkit_classical.method import FLOATING, ClassicalFuser, lettered
from fusionkit_classical.selection import shares

__all__ = ["Average", "CopyA", "CopyB", "Maximum"]

_PER_PIXEL = Capabilities(dtypes=FLOATING, max_sources=None, halo=0)


class Average(ClassicalFuser):
    """The mean of the sources, ``F = (1 / S) sum_s I_s``.

    Symmetric in the sources; keeps every brightness and halves every detail that one of two sources has alone.
    """

    capabilities = _PER_PIXEL
    reference = "pixel mean of the sources"
    control = True

    def fuse(self, stack: Tensor) -> Tensor:
        """Fuse a stack ``(S, B, C, H, W)``."""
        return stack.mean(0)


class Maximum(ClassicalFuser):
    """The brightest source at each pixel, ``F = max_s I_s``.

    Symmetric in the sources.
    """

    capabilities = _PER_PIXEL
    reference = "pixel maximum of the sources"

    def fuse(self, stack: Tensor) -> Tensor:
        """Fuse a stack ``(S, B, C, H, W)``."""
        return stack.amax(0)

    def weigh(self, stack: Tensor) -> Mapping[str, Tensor]:
        """Mark the brightest source; equal sources share a pixel."""
        return lettered("w", shares(stack == stack.amax(0, keepdim=True), stack))


class CopyA(ClassicalFuser):
    """The first source alone, ``F = I_1``: a control. A metric that ranks it high does not measure fusion."""

    capabilities = _PER_PIXEL
    reference = "control: the first source"
    control = True

    def fuse(self, stack: Tensor) -> Tensor:
        """Fuse a stack ``(S, B, C, H, W)``."""
        return stack[0]


class CopyB(ClassicalFuser):
    """The second source alone, ``F = I_2``: a control. A metric that ranks it high does not measure fusion."""

    capabilities = _PER_PIXEL
    reference = "control: the second source"
    control = True

    def fuse(self, stack: Tensor) -> Tensor:
        """Fuse a stack ``(S, B, C, H, W)``."""
        return stack[1]
