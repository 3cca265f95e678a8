"""Tests the rules that every network keeps: options, weights files, gradients."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.func import functional_call

from fusionkit.testing.rules import check_config, fail, require, require_close, require_same

M = TypeVar("M", bound=nn.Module)

_GROUPS = 16  # of weights, for finite differences: what a large network costs is bounded
_STEP = 1e-6


def build(plugin: type[M] | M, base: type, device: torch.device) -> tuple[str, M, Callable[[], M]]:
    """Return the name of a plugin, an instance on the device that may be changed, and a function that makes another."""
    kind: type[M] = plugin if isinstance(plugin, type) else type(plugin)
    subject = f"{base.__name__} {kind.__name__}"
    require(issubclass(kind, base), subject, f"it is not a {base.__name__}", f"subclass {base.__name__}")
    config: Any = getattr(kind, "Config", None)
    check_config(subject, config)
    remedy = "let __init__ take one argument, config, an instance of Config or None for the defaults"
    if not isinstance(plugin, type):
        return subject, copy.deepcopy(plugin).to(device), lambda: kind(plugin.config).to(device)
    try:
        given, default = plugin(config()), plugin()
    except TypeError as error:
        fail(subject, f"it cannot be built from its options ({error})", remedy)
    require(given.config == default.config, subject, "it does not keep its options as self.config", remedy)
    return subject, default.to(device), lambda: kind(config()).to(device)


def check_weights_file(
    subject: str, module: M, another: Callable[[], M], outputs: Callable[[M], Sequence[Tensor]]
) -> None:
    """Check that weights saved as safetensors and loaded into a new instance give the same outputs bit for bit."""
    try:
        stored = safetensors.torch.load(safetensors.torch.save(module.state_dict()))
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        fail(
            subject, f"its state_dict cannot be written as safetensors ({reason})", "keep each tensor once, contiguous"
        )
    fresh = _alike(another(), module)
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.add_(1)  # an equal initialisation would hide a weight that is not stored
    try:
        fresh.load_state_dict(stored)
    except RuntimeError as error:
        fail(subject, f"a new instance does not load its state_dict ({error})", "make names depend on options alone")
    remedy = "register every weight and table as a parameter or a persistent buffer"
    with torch.no_grad():
        for one, other in zip(outputs(module), outputs(fresh), strict=True):
            require_same(subject, "after its weights are saved and loaded it gives another result", other, one, remedy)


def check_functional(subject: str, module: M, another: Callable[[], M], call: Callable[[nn.Module], Tensor]) -> None:
    """Check that weights given by ``torch.func.functional_call`` act as in a new instance that holds them."""
    with torch.no_grad():
        call(module)
        state = {name: value.clone() for name, value in module.state_dict().items()}
        weights = {name: p * 0.9 + 0.01 for name, p in module.named_parameters()}
        fresh = _alike(another(), module)
        fresh.load_state_dict({**state, **weights})
        expected = call(fresh)
        got: Tensor = functional_call(_Called(module, call), {f"module.{n}": w for n, w in weights.items()}, ())
    remedy = "read the parameters in forward each time, and keep no copies or caches of them"
    # Not bit for bit: where the weights lie in memory decides which kernel a matrix product takes.
    require_close(subject, "it ignores weights that torch.func.functional_call puts in", got, expected, 1e-5, remedy)


def check_gradient(
    subject: str,
    what: str,
    function: Callable[[Mapping[str, Tensor]], Tensor],
    weights: Mapping[str, Tensor],
    *,
    exact: bool = True,
) -> None:
    """Check that the gradient of a float64 function agrees with finite differences, and that every weight takes part.

    The weights are tried in groups, each along one direction: the larger part of it the gradient's own, so that the
    slope is never small by chance, the rest random. The slope may lie between those before and behind the point: they
    are equal where the function is smooth, and differ at a kink such as that of ``relu``, where autograd takes a side.
    A gradient that is not to be ``exact`` is only held to be finite and not zero.
    """
    generator = torch.Generator().manual_seed(7)
    leaves = {name: w.detach().clone().requires_grad_() for name, w in weights.items()}
    result = function(leaves)
    remedy = "compute it with torch operations, without detach"
    require(result.requires_grad, subject, f"{what} has no gradient", remedy)
    toward = torch.randn(result.shape, generator=generator, dtype=result.dtype).to(result.device)
    slopes = torch.autograd.grad((result * toward).sum(), list(leaves.values()), allow_unused=True)
    unused = [name for name, slope in zip(leaves, slopes, strict=True) if slope is None]
    found = f"{what} does not depend on {', '.join(unused[:5])}"
    require(not unused, subject, found, "use it without detach, or remove it")
    gradient = {name: slope for name, slope in zip(leaves, slopes, strict=True) if slope is not None}
    if not exact:
        finite = all(bool(torch.isfinite(slope).all()) for slope in gradient.values())
        require(finite, subject, f"the gradient of {what} is not finite", "guard divisions and roots")
        require(
            any(bool(slope.any()) for slope in gradient.values()), subject, f"{what} has a gradient of zero", remedy
        )
        return
    names = list(leaves)
    chunk = -(-len(names) // _GROUPS)
    for group in (names[k : k + chunk] for k in range(0, len(names), chunk)):
        own = unit({name: gradient[name] for name in group})
        drawn = {
            n: torch.randn(gradient[n].shape, generator=generator, dtype=result.dtype).to(result.device) for n in group
        }
        along = unit({name: own[name] + 0.7 * other for name, other in unit(drawn).items()})
        expected = sum(float((gradient[name] * along[name]).sum()) for name in group)
        with torch.no_grad():
            ahead, behind = (
                function({**leaves, **{name: leaves[name] + shift * along[name] for name in group}})
                for shift in (_STEP, -_STEP)
            )
            here = result.detach()
        sides = sorted(float((change * toward).sum()) / _STEP for change in (ahead - here, here - behind))
        found = (
            f"the gradient of {what} in {', '.join(group[:5])} is wrong: its slope is {sum(sides) / 2:.6g}, not "
            f"{expected:.6g}"
        )
        slack = 1e-3 * abs(expected) + 1e-7
        close = sides[0] - slack <= expected <= sides[1] + slack
        require(close, subject, found, "correct its backward, or what it detaches")


def _alike(fresh: M, module: nn.Module) -> M:
    """A new instance in the mode and precision of another."""
    kind = next((p.dtype for p in module.parameters()), None)
    return fresh.train(module.training).to(kind) if kind is not None else fresh.train(module.training)


def unit(direction: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A direction over several tensors, of length 1 over all; as it is where it is zero."""
    length = torch.stack([each.square().sum() for each in direction.values()]).sum().sqrt()
    return {name: each / length.clamp_min(1e-300) for name, each in direction.items()}


class _Called(nn.Module):
    """A call of a module as a forward, so that ``functional_call`` can run it."""

    def __init__(self, module: nn.Module, call: Callable[[nn.Module], Tensor]) -> None:
        super().__init__()
        self.module = module
        self.call = call

    def forward(self) -> Tensor:
        return self.call(self.module)
