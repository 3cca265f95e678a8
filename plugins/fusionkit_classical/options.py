"""Types of the options of the classical methods, with their bounds."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

__all__ = ["Deviation", "Exponent", "Levels", "Positive", "Radius", "Share", "Window"]


def _odd(width: int) -> int:
    if width % 2 == 0:
        raise ValueError(f"a window is an odd number of pixels, such as {width + 1}")
    return width


Window = Annotated[int, Field(ge=1, le=4095), AfterValidator(_odd)]
"""Width of a window in pixels, odd."""
Radius = Annotated[int, Field(ge=0, le=2047)]
"""Radius of a window, in pixels."""
Levels = Annotated[int, Field(ge=0, le=32)]
"""Halvings of a pyramid or a wavelet transform."""
Positive = Annotated[float, Field(gt=0, le=1e6)]
"""A number above 0."""
Deviation = Annotated[float, Field(ge=0, le=256)]
"""Standard deviation of a Gaussian, in pixels; 0 for none."""
Exponent = Annotated[float, Field(ge=0, le=1e3)]
"""An exponent or a weight, 0 or more."""
Share = Annotated[float, Field(ge=0, le=1)]
"""A part of a whole."""
