"""Report a broken rule: an AssertionError that names the plugin, what was found and what to do."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn
from unittest import SkipTest

import torch
from torch import Tensor

from fusionkit.config import as_dict, resolve
from fusionkit.errors import FusionkitError

Notes = tuple[str, ...]
"""Remarks on a plugin that breaks no rule."""


def place_of(device: torch.device | str) -> torch.device:
    """The device to try a plugin on.

    Raises:
        unittest.SkipTest: it is a CUDA device and there is none here. pytest counts it as a skipped test.
    """
    place = torch.device(device)
    if place.type == "cuda" and not torch.cuda.is_available():
        raise SkipTest(f"device {device}: PyTorch {torch.__version__} sees no CUDA device here")
    return place


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
    for name, value in numbers_to_refuse(config, (1e30, -1e30)):
        remedy = f"declare its bounds, such as {name}: Annotated[float, pydantic.Field(ge=0, le=100)]"
        require(not _takes(config, name, value), subject, f"Config {config.__name__} takes {name}={value}", remedy)


def numbers_to_refuse(config: Any, numbers: Sequence[float]) -> Iterator[tuple[str, Any]]:
    """Options of a dataclass that are numbers, each with values that its bounds should refuse.

    Args:
        config: the dataclass.
        numbers: the values to try.

    Yields:
        Name of the option, and one of ``numbers`` or, for an option that is a tuple, a list of it.
    """
    for name, hint in typing.get_type_hints(config).items():
        if name not in {field.name for field in dataclasses.fields(config)}:
            continue
        for leaf in _leaves(hint):
            if leaf in (int, float):
                whole = leaf is int
                yield from ((name, int(n) if whole and math.isfinite(n) else n) for n in numbers)
            elif typing.get_origin(leaf) is tuple and {int, float} & set(typing.get_args(leaf)):
                length = sum(part is not Ellipsis for part in typing.get_args(leaf))
                yield from ((name, [number] * length) for number in numbers)


def _leaves(hint: Any) -> tuple[Any, ...]:
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return typing.get_args(hint) if union else (hint,)


def _takes(config: Any, name: str, value: Any) -> bool:
    try:
        resolve(config, ("a test of its bounds", {name: value}))
    except FusionkitError:
        return False
    return True
