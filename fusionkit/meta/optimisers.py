"""How a network takes a gradient that was computed outside of its ``.grad``: Adam, plain or normalised steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn


class GradientRule:
    """A torch optimiser fed with named gradients, whose state is a flat dictionary of tensors.

    Args:
        module: whose parameters it updates.
        optimiser: over ``module.parameters()``; None for plain steps.
        lr: learning rate; None takes the optimiser's.
        normalize: divide each plain step by the largest absolute gradient of the whole module first.
    """

    def __init__(
        self,
        module: nn.Module,
        optimiser: torch.optim.Optimizer | None,
        lr: float | None = None,
        *,
        normalize: bool = False,
    ) -> None:
        self._parameters = dict(module.named_parameters())
        self._optimiser = optimiser
        self._normalize = normalize
        given = optimiser.param_groups[0]["lr"] if optimiser is not None and lr is None else lr
        self._lr = float(given or 0.0)

    def update(self, gradients: Mapping[str, Tensor], factor: float | Tensor = 1.0) -> None:
        """One update with the learning rate times ``factor``, a tensor where steps are captured."""
        if self._optimiser is None:
            self._plain_step(gradients, factor)
            return
        for name, parameter in self._parameters.items():
            parameter.grad = gradients[name]
        for group in self._optimiser.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(self._lr * factor)
            else:
                group["lr"] = self._lr * factor
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)

    @torch.no_grad()
    def _plain_step(self, gradients: Mapping[str, Tensor], factor: float | Tensor) -> None:
        if not self._parameters:
            return
        length = self._lr * factor / self._largest(gradients) if self._normalize else self._lr * factor
        for name, parameter in self._parameters.items():
            parameter.sub_(length * gradients[name])

    def state(self) -> dict[str, Tensor]:
        """Moments and step counts as ``<parameter>.<key>``; empty before the first update."""
        if self._optimiser is None:
            return {}
        moments = self._optimiser.state
        return {
            f"{name}/{key}": value
            for name, parameter in self._parameters.items()
            for key, value in moments.get(parameter, {}).items()
            if isinstance(value, Tensor)
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take up what :meth:`state` gave."""
        if self._optimiser is None:
            return
        for name, parameter in self._parameters.items():
            own = {key.rpartition("/")[2]: v for key, v in state.items() if key.rpartition("/")[0] == name}
            if own:
                # Adam keeps its step count on the host, unless its steps are to be captured.
                home = parameter.device if parameter.is_cuda else torch.device("cpu")
                self._optimiser.state[parameter] = {
                    key: v.clone().to(home if key == "step" else parameter.device) for key, v in own.items()
                }

    @staticmethod
    def _largest(gradients: Mapping[str, Tensor]) -> Tensor:
        largest = torch.stack([g.abs().max() for g in gradients.values()]).max()
        # A zero gradient is no direction: leave it zero instead of making NaN of it.
        return largest.clamp_min(torch.finfo(largest.dtype).tiny)


def make_rule(
    kind: Literal["adam", "normalized", "sgd"], module: nn.Module, lr: float, *, eps: float = 1e-8
) -> GradientRule:
    """The update rule of a network.

    Args:
        kind: ``"adam"``; ``"sgd"``, plain steps; ``"normalized"``, plain steps of ``lr g / max|g|``.
        module: whose parameters it updates.
        lr: learning rate.
        eps: Adam's.
    """
    parameters = list(module.parameters())
    if kind != "adam" or not parameters:
        return GradientRule(module, None, lr, normalize=kind == "normalized")
    if parameters[0].is_cuda:
        # On the device in one kernel, with nothing on the host: so that a CUDA graph can hold it.
        rate = torch.tensor(lr, device=parameters[0].device)
        adam = torch.optim.Adam(parameters, lr=rate, eps=eps, fused=True, capturable=True)
    else:
        adam = torch.optim.Adam(parameters, lr=lr, eps=eps)
    return GradientRule(module, adam, lr)
