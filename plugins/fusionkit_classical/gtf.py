"""Gradient transfer fusion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from fusionkit.contracts import Capabilities
from fusionkit_classical.method import FLOATING, ClassicalFuser
from fusionkit_classical.options import Exponent, Positive
from fusionkit_classical.totalvariation import l1_total_variation

__all__ = ["Gtf", "GtfConfig", "fuse_gtf"]


@dataclass(frozen=True)
class GtfConfig:
    """Options of :class:`Gtf`.

    Attributes:
        weight: lambda, of the gradients against the intensities.
        iterations: most iterations of the solver.
        tolerance: residual per pixel at which the solver stops, in units of full scale.
    """

    weight: Exponent = 4.0
    iterations: Annotated[int, Field(ge=1, le=1_000_000)] = 300
    tolerance: Positive = 1e-4


def fuse_gtf(stack: Tensor, *, weight: float, iterations: int, tolerance: float) -> Tensor:
    """Fuse a stack of two sources ``(2, B, C, H, W)``; the options are those of the class's Config."""
    intensity, texture = stack.unbind()
    # The tolerance is far above float32 rounding, which halves the time.
    planes = (intensity - texture).detach().to("cpu", torch.float32).flatten(0, 1).numpy()
    solved = [l1_total_variation(f, weight, iterations=iterations, tolerance=tolerance) for f in planes]
    return torch.from_numpy(np.stack(solved)).to(stack).reshape(texture.shape) + texture


class Gtf(ClassicalFuser):
    """Gradient transfer fusion: keeps the intensities of the first source and the gradients of the second.

        F = argmin_x |x - u|_1 + lambda |grad x - grad v|_1,    u = I_1 (infrared), v = I_2 (visible)

    with the isotropic norm of the gradient. Two sources, in this order; of equal sources it returns them. Not
    differentiable.

    Source: Ma, Chen, Li, Huang, "Infrared and Visible Image Fusion via Gradient Transfer and Total Variation
    Minimization", Information Fusion 31, 2016, equations 5 to 8, lambda = 4. It differs in the solver: ADMM run to a
    tolerance in place of five loops of reweighted least squares, so the problem is solved more exactly.
    """

    Config = GtfConfig
    capabilities = Capabilities(dtypes=FLOATING)
    tasks = ("ivif",)
    reference = (
        "Ma, Chen, Li, Huang, Infrared and Visible Image Fusion via Gradient Transfer and Total Variation "
        "Minimization, Information Fusion 31, 2016"
    )

    def fuse(self, stack: Tensor) -> Tensor:
        """Fuse a stack ``(2, B, C, H, W)``."""
        c: GtfConfig = self.config
        return fuse_gtf(stack, weight=c.weight, iterations=c.iterations, tolerance=c.tolerance)
