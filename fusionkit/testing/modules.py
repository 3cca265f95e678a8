"""Rules that every network keeps: options, weights files, gradients."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.func import functional_call

from fusionkit.testing.rules import check_config, fail, require, require_same

M = TypeVar("M", bound=nn.Module)


def build(plugin: type[M] | M, base: type) -> tuple[str, M, Callable[[], M]]:
    """What to call a plugin, an instance that may be changed, and how to make another one of the same options."""
    kind: type[M] = plugin if isinstance(plugin, type) else type(plugin)
    subject = f"{base.__name__} {kind.__name__}"
    require(issubclass(kind, base), subject, f"it is not a {base.__name__}", f"subclass {base.__name__}")
    config: Any = getattr(kind, "Config", None)
    check_config(subject, config)
    remedy = "let __init__ take one argument, config, an instance of Config or None for the defaults"
    if not isinstance(plugin, type):
        return subject, copy.deepcopy(plugin), lambda: kind(plugin.config)
    try:
        given, default = plugin(config()), plugin()
    except TypeError as error:
        fail(subject, f"it cannot be built from its options ({error})", remedy)
    require(given.config == default.config, subject, "it does not keep its options as self.config", remedy)
    return subject, default, lambda: kind(config())


def check_weights_file(
    subject: str, module: M, another: Callable[[], M], outputs: Callable[[M], Sequence[Tensor]]
) -> None:
    """Weights go through a safetensors file into a new instance, which then gives the same outputs bit for bit."""
    try:
        stored = safetensors.torch.load(safetensors.torch.save(module.state_dict()))
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        fail(
            subject, f"its state_dict cannot be written as safetensors ({reason})", "keep each tensor once, contiguous"
        )
    fresh = another()
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.add_(1)  # an equal initialisation would hide a weight that is not stored
    try:
        fresh.load_state_dict(stored)
    except RuntimeError as error:
        fail(subject, f"a new instance does not load its state_dict ({error})", "make names depend on options alone")
    fresh.train(module.training).to(next(module.parameters(), torch.empty(0)).dtype)
    remedy = "register every weight and table as a parameter or a persistent buffer"
    with torch.no_grad():
        for one, other in zip(outputs(module), outputs(fresh), strict=True):
            require_same(subject, "after its weights are saved and loaded it gives another result", other, one, remedy)


def check_functional(subject: str, module: nn.Module, call: Callable[[nn.Module], Tensor]) -> None:
    """Weights put in by ``torch.func.functional_call`` act as the module's own would."""
    moved = copy.deepcopy(module)
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter.mul_(0.9).add_(0.01)
        expected = call(moved)
        weights = dict(moved.named_parameters())
        wrapped = _Called(module, call)
        got: Tensor = functional_call(wrapped, {f"module.{name}": p for name, p in weights.items()}, ())
    remedy = "read the parameters in forward each time, and keep no copies or caches of them"
    require_same(subject, "it ignores weights that torch.func.functional_call puts in", got, expected, remedy)


def check_gradient(
    subject: str, what: str, function: Callable[[Mapping[str, Tensor]], Tensor], weights: Mapping[str, Tensor]
) -> None:
    """The gradient of a float64 function agrees with central differences, and every weight takes part."""
    leaves = {name: w.detach().clone().requires_grad_() for name, w in weights.items()}
    result = function(leaves)
    require(
        result.requires_grad, subject, f"{what} has no gradient", "compute it with torch operations, without detach"
    )
    slopes = torch.autograd.grad(result.sum(), list(leaves.values()), allow_unused=True)
    unused = [name for name, slope in zip(leaves, slopes, strict=True) if slope is None]
    remedy = "remove what is not used, or set requires_grad_(False)"
    require(not unused, subject, f"{what} does not depend on {', '.join(unused[:5])}", remedy)
    names = list(leaves)

    def of_values(*values: Tensor) -> Tensor:
        return function(dict(zip(names, values, strict=True)))

    try:
        torch.autograd.gradcheck(of_values, tuple(leaves.values()), fast_mode=True, atol=1e-5, rtol=1e-3)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        fail(subject, f"the gradient of {what} is wrong ({reason})", "correct its backward, or what it detaches")


def trainable(module: nn.Module) -> dict[str, Tensor]:
    """The parameters that training changes, by name."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


class _Called(nn.Module):
    """A call of a module as a forward, so that ``functional_call`` can run it."""

    def __init__(self, module: nn.Module, call: Callable[[nn.Module], Tensor]) -> None:
        super().__init__()
        self.module = module
        self.call = call

    def forward(self) -> Tensor:
        return self.call(self.module)
