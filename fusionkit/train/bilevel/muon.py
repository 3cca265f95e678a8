"""Muon: momentum whose every matrix is made orthogonal, so that a step moves all its directions equally far."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

__all__ = ["Muon", "is_matrix", "orthogonal"]

_QUINTIC = 3.4445, -4.7750, 2.0315
_ROUNDS = 5


def is_matrix(parameter: Tensor) -> bool:
    """Return whether a parameter is a linear map or a convolution of several channels, not depthwise."""
    return parameter.ndim >= 2 and min(parameter.shape[:2]) > 1


def orthogonal(matrices: Tensor) -> Tensor:
    """Approximate the nearest matrices with orthonormal rows or columns, whichever are fewer.

    Five rounds of a Newton-Schulz iteration bring the singular values to between about 0.7 and 1.2.

    Args:
        matrices: ``(N, rows, columns)``.
    """
    a, b, c = _QUINTIC
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
    for _ in range(_ROUNDS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Orthogonalised Nesterov momentum for the matrices of a network.

    Unlike ``torch.optim.Muon`` it takes convolutions, as matrices of outputs by inputs times kernel, works in the
    parameters' own precision, takes all matrices of a shape at once, and reads nothing on the host: ``lr`` may be a
    tensor, so that a CUDA graph can hold a step.

    Args:
        parameters: such as :func:`is_matrix` says yes to.
        lr: length of a step, times ``sqrt(max(1, rows / columns))``.
        momentum: decay of the running sum of gradients.

    Reference:
        Jordan et al., Muon: an optimizer for hidden layers in neural networks, 2024.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float | Tensor, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            shapes: dict[tuple[int, ...], list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes.setdefault(tuple(parameter.flatten(1).shape), []).append(parameter)
            for (rows, columns), alike in shapes.items():
                moved = orthogonal(torch.stack([self._momentum(p, group["momentum"]) for p in alike]))
                moved = moved * group["lr"] * max(1.0, rows / columns) ** 0.5
                for parameter, change in zip(alike, moved, strict=True):
                    parameter.sub_(change.view_as(parameter))

    def _momentum(self, parameter: Tensor, decay: float) -> Tensor:
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        gradient = parameter.grad
        assert gradient is not None
        state["momentum"].mul_(decay).add_(gradient)
        return gradient.add(state["momentum"], alpha=decay).flatten(1)
