"""Contrast sensitivity of human vision as a filter, which QCB and QCV apply to images stretched to 0..255."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fusionkit.metrics.histograms import stretch

__all__ = ["filter_by_response", "frequency_response", "stretch_or_constant"]


def stretch_or_constant(image: Tensor, constant: float) -> Tensor:
    """:func:`stretch` with ``constant`` for constant images but black ones."""
    least, greatest = image.amin((-2, -1), keepdim=True), image.amax((-2, -1), keepdim=True)
    return torch.where((least == greatest) & (greatest != 0), constant, stretch(image))


def filter_by_response(image: Tensor, response: Tensor) -> Tensor:
    """Filter by a frequency response, as :func:`frequency_response` gives it."""
    seen: Tensor = torch.fft.irfft2(torch.fft.rfft2(image) * response, s=image.shape[-2:])
    return seen


def frequency_response(image: Tensor, radial: Callable[[Tensor], Tensor], degrees: float) -> Tensor:
    """A radial frequency response, float64; the half sampling rate is ``H / degrees`` down and ``W / degrees`` across.

    The frequencies are MATLAB's ``freqspace``; the response is real and even, so a real transform does.
    """
    height, width = image.shape[-2:]
    v = torch.fft.fftfreq(height, 0.5 * degrees / height, dtype=torch.float64, device=image.device)
    u = torch.fft.rfftfreq(width, 0.5 * degrees / width, dtype=torch.float64, device=image.device)
    return radial(torch.hypot(v[:, None], u[None, :]))
