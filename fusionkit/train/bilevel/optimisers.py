"""Optimisers for gradients that were computed outside of ``.grad``: Adam, Muon, plain or normalised steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from fusionkit.runtime.parameters import trainable
from fusionkit.train.bilevel.muon import Muon, is_matrix

UpdateRule = Literal["adam", "muon", "normalized", "sgd"]

MATRICES = 20.0
"""Muon's learning rate over Adam's: its steps have the length of the rate for any gradient."""


class GradientRule:
    """Torch optimisers fed with named gradients, whose state is a flat dictionary of tensors.

    Args:
        module: whose parameters it updates.
        optimisers: over parameters of the module, each with parameters of its own; none for plain steps.
        lr: learning rate of plain steps.
        normalize: divide each plain step by the largest absolute gradient of the whole module first.
    """

    def __init__(
        self, module: nn.Module, *optimisers: torch.optim.Optimizer, lr: float = 0.0, normalize: bool = False
    ) -> None:
        self._parameters = trainable(module)
        self._optimisers = optimisers
        self._normalize = normalize
        self._lr = lr
        self._rates = [float(optimiser.param_groups[0]["lr"]) for optimiser in optimisers]

    def update(self, gradients: Mapping[str, Tensor], factor: float | Tensor = 1.0) -> None:
        """One update with the learning rates times ``factor``, a tensor where steps are captured."""
        if not self._optimisers:
            self._plain_step(gradients, factor)
            return
        for name, parameter in self._parameters.items():
            parameter.grad = _laid_out_like(parameter, gradients[name])
        for optimiser, rate in zip(self._optimisers, self._rates, strict=True):
            for group in optimiser.param_groups:
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(rate * factor)
                else:
                    group["lr"] = rate * factor
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

    @torch.no_grad()
    def _plain_step(self, gradients: Mapping[str, Tensor], factor: float | Tensor) -> None:
        if not self._parameters:
            return
        length = self._lr * factor / self._largest(gradients) if self._normalize else self._lr * factor
        for name, parameter in self._parameters.items():
            parameter.sub_(length * gradients[name])

    def state(self) -> dict[str, Tensor]:
        """Moments and step counts as ``<parameter>.<key>``; empty before the first update."""
        return {
            f"{name}/{key}": value
            for optimiser in self._optimisers
            for name, parameter in self._parameters.items()
            for key, value in optimiser.state.get(parameter, {}).items()
            if isinstance(value, Tensor)
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take up what :meth:`state` gave."""
        names = {parameter: name for name, parameter in self._parameters.items()}
        for optimiser in self._optimisers:
            for parameter in (p for group in optimiser.param_groups for p in group["params"]):
                own = {k.rpartition("/")[2]: v for k, v in state.items() if k.rpartition("/")[0] == names[parameter]}
                if own:
                    # Adam keeps its step count on the host, unless its steps are to be captured.
                    home = parameter.device if parameter.is_cuda else torch.device("cpu")
                    optimiser.state[parameter] = {
                        key: v.clone().to(home if key == "step" else parameter.device) for key, v in own.items()
                    }

    @staticmethod
    def _largest(gradients: Mapping[str, Tensor]) -> Tensor:
        largest = torch.stack([g.abs().max() for g in gradients.values()]).max()
        # A zero gradient is no direction: leave it zero instead of making NaN of it.
        return largest.clamp_min(torch.finfo(largest.dtype).tiny)


def make_rule(kind: UpdateRule, module: nn.Module, lr: float, *, eps: float = 1e-8) -> GradientRule:
    """The update rule of a network.

    Args:
        kind: ``"adam"``; ``"muon"``, for the matrices, at 20 times the learning rate, and Adam for what is none;
            ``"sgd"``, plain steps; ``"normalized"``, plain steps of ``lr g / max|g|``.
        module: whose parameters it updates.
        lr: learning rate.
        eps: Adam's.
    """
    parameters = list(trainable(module).values())
    if kind in ("sgd", "normalized") or not parameters:
        return GradientRule(module, lr=lr, normalize=kind == "normalized")
    matrices = [p for p in parameters if kind == "muon" and is_matrix(p)]
    chosen = {id(p) for p in matrices}
    rest = [p for p in parameters if id(p) not in chosen]
    found: list[torch.optim.Optimizer] = []
    if matrices:
        found.append(Muon(matrices, lr=_rate(MATRICES * lr, matrices[0])))
    if rest and rest[0].is_cuda:
        # On the device in one kernel, with nothing on the host: so that a CUDA graph can hold it.
        found.append(torch.optim.Adam(rest, lr=_rate(lr, rest[0]), eps=eps, fused=True, capturable=True))
    elif rest:
        found.append(torch.optim.Adam(rest, lr=lr, eps=eps))
    return GradientRule(module, *found)


def _laid_out_like(parameter: Tensor, gradient: Tensor) -> Tensor:
    # On CUDA the fused Adam takes gradients with the strides of their parameters alone.
    same = gradient.stride() == parameter.stride() or not parameter.is_cuda
    return gradient if same else torch.empty_like(parameter).copy_(gradient)


def _rate(lr: float, parameter: Tensor) -> float | Tensor:
    return torch.tensor(lr, device=parameter.device) if parameter.is_cuda else lr
