"""Options under former names: read, answered once with today's names, and never two ways at a time."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from fusionkit.config import current_names, resolve
from fusionkit.errors import RenamedOption, UsageError


@dataclass(frozen=True)
class Noise:
    pixel: float = 0.0
    patch: float = 0.0


@dataclass(frozen=True)
class Inner:
    rate: float = 1.0
    kind: str = "one_step"
    noise: Noise = field(default_factory=Noise)

    RENAMED: ClassVar[Mapping[str, str]] = {
        "lr": "rate",
        "hypergradient": "kind",
        "kind=exact": "kind=one_step",
        "fine": "noise.pixel",
        "coarse": "noise.patch",
    }
    REMOVED: ClassVar[Mapping[str, tuple[Any, str]]] = {"scheme": ("meta", "train method 'joint' instead")}


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    network: Mapping[str, Any] = field(default_factory=dict)

    RENAMED: ClassVar[Mapping[str, str]] = {"critic": "network"}


def test_names_values_and_groups_of_former_versions_are_read_and_answered_in_one_warning() -> None:
    given = {"inner": {"lr": 0.5, "hypergradient": "exact", "fine": 0.1, "coarse": 0.2}, "critic": {"width": 4}}
    with pytest.warns(RenamedOption) as told:
        options = resolve(Outer, ("--set", given))
    assert options == Outer(Inner(0.5, "one_step", Noise(0.1, 0.2)), {"width": 4})
    (line,) = [str(warning.message) for warning in told]
    assert line == (
        "--set: inner.lr is now inner.rate, inner.hypergradient is now inner.kind, inner.hypergradient=exact is now "
        "inner.kind=one_step, inner.fine is now inner.noise.pixel, inner.coarse is now inner.noise.patch, "
        "critic is now network"
    )


def test_names_of_today_are_read_without_a_word() -> None:
    given = {"inner": {"rate": 0.5, "kind": "one_step", "noise": {"pixel": 0.1}}, "network": {"critic": 1}}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert current_names(Outer, given, "file.toml") == given


def test_an_option_given_by_both_names_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^f\.toml: inner\.fine is the former name of inner\.noise\.pixel: give one"):
        resolve(Outer, ("f.toml", {"inner": {"fine": 0.1, "noise": {"pixel": 0.2}}}))


def test_an_option_that_is_gone_is_taken_only_with_the_value_that_is_no_change() -> None:
    assert resolve(Outer, ("f.toml", {"inner": {"scheme": "meta"}})) == Outer()
    with pytest.raises(UsageError, match=r"f.toml: inner\.scheme is no option any more: train method 'joint' instead"):
        resolve(Outer, ("f.toml", {"inner": {"scheme": "joint"}}))
