"""The parameters of a module that a training changes."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["trainable"]


def trainable(module: nn.Module) -> dict[str, Tensor]:
    """The parameters that require a gradient, by name: a module may hold frozen ones."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
