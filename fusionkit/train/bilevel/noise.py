"""Noise that is added to the fused image before the outer loss sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from fusionkit.contracts import Batch
from fusionkit.runtime.processes import Processes

__all__ = ["Noise", "NoiseOptions", "contrast", "draw_noise", "in_unit", "step_noise", "through"]

Noise = Callable[[Tensor, Sequence[Tensor]], Tensor]
"""Gives the noise to add to a fused image, made from these sources."""

_SIZES = (1, 2, 4)
"""Sides of the coarse noise's patches over the smallest one's; each step has the next of them."""


@dataclass(frozen=True)
class NoiseOptions:
    """Noise on the fused image as the outer loss sees it.

    Attributes:
        pixel: standard deviation of noise of single pixels; 0, the paper's, adds none.
        patch: standard deviation of noise that is constant over small patches.
        patch_size: side of the smallest of those patches, in pixels; others have twice and four times that.
        unit: unit of both standard deviations: ``"full"``, the full range of an image; ``"contrast"``, the root of the
            mean variance of the sources in their crop, so that dark pairs get less noise than bright ones.
    """

    pixel: Annotated[float, Field(ge=0, le=1e3)] = 0.0
    patch: Annotated[float, Field(ge=0, le=1e3)] = 0.0
    patch_size: Annotated[int, Field(ge=1, le=4096)] = 4
    unit: Literal["full", "contrast"] = "full"


def draw_noise(like: Tensor, *, pixel: float, patch: float, seed: int, step: int, patch_size: int = 4) -> Tensor:
    r"""Draw noise to add to the fused image before the outer loss: a part per pixel and a part per patch.

    .. math:: n = \sigma_f\,\epsilon + \sigma_c\,U_k(\epsilon'), \qquad \epsilon, \epsilon' \sim \mathcal N(0, 1)

    U_k enlarges a coarse field of one value a ``k x k`` patch. Without noise a reconstructor reads a source back from
    a faint trace as well as from a strong one: an average of the sources loses nothing, and dL_r/dI_f says nothing
    of which source a place should keep. Through noise what is faint is lost, and the gradient asks, at each place,
    for the source that has something there.

    Args:
        like: the fused image, ``(B, C, H, W)``: gives shape, type and device. The CPU draws, so that a seed means the
            same noise on every device.
        pixel: standard deviation of the noise of single pixels.
        patch: standard deviation of the noise that is constant over patches.
        seed: of the run.
        step: number of the step: the same step of the same run draws the same noise.
        patch_size: side of the smallest patches, in pixels; the other patches have sides of twice and four times that.
    """
    generator = torch.Generator()
    generator.manual_seed((seed + 1) * 2_654_435_761 % 2**32 * 2**31 + step)
    noise = torch.zeros_like(like)
    if pixel > 0:
        noise = noise + pixel * torch.randn(like.shape, generator=generator, dtype=like.dtype).to(like.device)
    if patch > 0:
        b, c, h, w = like.shape
        cell = patch_size * _SIZES[step % len(_SIZES)]
        field = torch.randn((b, c, h // cell + 1, w // cell + 1), generator=generator, dtype=like.dtype).to(like.device)
        noise = noise + patch * F.interpolate(field, (h, w), mode="bicubic", align_corners=False)
    return noise


def step_noise(options: NoiseOptions, *, seed: int, step: int, processes: Processes, groups: int = 1) -> Noise | None:
    """The noise of one step, before it is scaled by :func:`in_unit`; None where the options ask for none.

    Args:
        options: its deviations.
        seed: of the run.
        step: number of the step.
        processes: share the batch; each draws the whole batch's noise and takes its samples' part.
        groups: into how many equal groups the batch falls that are shared out one by one.
    """
    if options.pixel == options.patch == 0:
        return None
    o = options
    drawn = partial(draw_noise, pixel=o.pixel, patch=o.patch, patch_size=o.patch_size, seed=seed, step=step)

    def own(like: Tensor, _sources: Sequence[Tensor]) -> Tensor:
        if processes.count == 1:
            return drawn(like)
        whole = like.new_empty(like.shape[0] * processes.count, *like.shape[1:])
        return processes.share(drawn(whole), groups=groups)

    return own


def contrast(sources: Sequence[Tensor]) -> Tensor:
    """Root of the mean variance of the sources ``(B, C, H, W)`` of each sample, ``(B, 1, 1, 1)``."""
    variances = [source.var((1, 2, 3), correction=0, keepdim=True) for source in sources]
    return torch.stack(variances).mean(0).sqrt()


def in_unit(noise: Noise, unit: Literal["full", "contrast"]) -> Noise:
    """Noise measured in the full range of an image, or in the :func:`contrast` of its sources."""
    if unit == "full":
        return noise
    return lambda like, sources: noise(like, sources) * contrast(sources)


def through(noise: Noise | None, fused: Tensor, batch: Batch) -> Tensor:
    """Add the noise of a step to the fused image of a batch; without noise, return it as it is."""
    return fused if noise is None else fused + noise(fused.detach(), batch.sources)
