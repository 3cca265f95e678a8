"""Report a broken rule: an AssertionError that names the plugin, what was found and what to do."""

from __future__ import annotations

import dataclasses
from typing import Any, NoReturn

import torch
from torch import Tensor

from fusionkit.config import as_dict, resolve
from fusionkit.errors import FusionkitError

Notes = tuple[str, ...]
"""Remarks on a plugin that breaks no rule."""


def fail(subject: str, found: str, remedy: str) -> NoReturn:
    """Raise an AssertionError for a broken rule."""
    raise AssertionError(f"{subject}: {found}; {remedy}")


def require(holds: bool, subject: str, found: str, remedy: str) -> None:
    """Fail with what was found and a remedy unless ``holds``."""
    if not holds:
        fail(subject, found, remedy)


def require_close(subject: str, what: str, one: Tensor, other: Tensor, tolerance: float, remedy: str) -> None:
    """Fail unless two tensors agree within ``tolerance``, absolute for values up to 1 and relative above."""
    require(
        one.shape == other.shape, subject, f"{what}: shapes {tuple(one.shape)} and {tuple(other.shape)} differ", remedy
    )
    scale = max(1.0, float(other.detach().abs().max())) if other.numel() else 1.0
    gap = float((one.detach() - other.detach()).abs().max()) if one.numel() else 0.0
    require(gap <= tolerance * scale, subject, f"{what} (they differ by up to {gap:.3g})", remedy)


def require_same(subject: str, what: str, one: Tensor, other: Tensor, remedy: str) -> None:
    """Fail unless two tensors are equal bit for bit."""
    same = one.shape == other.shape and one.dtype == other.dtype and bool(torch.equal(one.cpu(), other.cpu()))
    require(same, subject, what, remedy)


def require_terms(subject: str, terms: Any) -> None:
    """Fail unless ``terms`` are a loss in parts: finite scalars, ``"total"`` among them."""
    remedy = 'return a mapping of names to scalar tensors with "total", the one to differentiate'
    require(hasattr(terms, "items") and "total" in terms, subject, 'the loss has no "total"', remedy)
    for name, value in terms.items():
        fine = isinstance(value, Tensor) and value.ndim == 0
        require(fine, subject, f"the term {name!r} is not a scalar tensor", remedy)
        finite = bool(torch.isfinite(value.detach()))
        require(
            finite, subject, f"the term {name!r} is {float(value.detach())}", "guard divisions, roots and logarithms"
        )


def check_config(subject: str, config: Any) -> None:
    """Check the options of a class: a frozen dataclass that builds by its defaults and from plain values."""
    remedy = "set Config to a @dataclass(frozen=True) whose fields all have defaults"
    require(isinstance(config, type) and dataclasses.is_dataclass(config), subject, "Config is not a dataclass", remedy)
    frozen = bool(config.__dataclass_params__.frozen)
    require(frozen, subject, f"Config {config.__name__} is not frozen", remedy)
    try:
        default = config()
    except TypeError as error:
        fail(subject, f"Config {config.__name__} does not build by its defaults ({error})", remedy)
    for field in dataclasses.fields(config):
        value = getattr(default, field.name)
        if dataclasses.is_dataclass(value):
            check_config(f"{subject}, option {field.name}", type(value))
    try:
        again = resolve(config, ("its own defaults", as_dict(default)))
    except FusionkitError as error:
        fail(subject, f"Config {config.__name__} does not take its own defaults ({error})", "correct the field's type")
    require(
        again == default,
        subject,
        f"Config {config.__name__} written out and read again is {again}",
        "use fields of plain types: bool, int, float, str, Literal, tuples of them, nested frozen dataclasses",
    )
