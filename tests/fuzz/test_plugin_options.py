"""Numbers in the options of every registered plugin: what is not finite, negative or too large is refused by name."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from pydantic import Field

from fusionkit.config import resolve
from fusionkit.contracts import Fuser
from fusionkit.errors import UsageError
from fusionkit.plugins import catalogue
from fusionkit.testing.rules import check_config, numbers_to_refuse
from tests.support.refusals import refusal

REFUSED = (math.nan, math.inf, -math.inf, 1e30, -1)


def _groups(config: Any) -> Iterator[Any]:
    yield config
    for field in dataclasses.fields(config):
        value = getattr(config(), field.name)
        if dataclasses.is_dataclass(value):
            yield from _groups(type(value))


def _configs() -> list[Any]:
    registries = (
        catalogue.fusers,
        catalogue.loss_proposers,
        catalogue.reconstructors,
        catalogue.outer_losses,
        catalogue.trainers,
    )
    classes = [registry.get(name) for registry in registries for name in registry.names()]
    found = {group for kind in classes if kind.__module__.startswith("fusionkit_") for group in _groups(kind.Config)}
    return sorted(found, key=lambda kind: kind.__name__)


CASES = [(kind, name, value) for kind in _configs() for name, value in numbers_to_refuse(kind, REFUSED)]


def test_the_walk_meets_the_options_of_every_kind_of_plugin() -> None:
    met = {f"{kind.__name__}.{name}" for kind, name, _ in CASES}
    assert {
        "BilevelOptions.crop", "OneStep.inner_lr", "NoiseOptions.pixel", "FuserOptions.dim", "GffConfig.base_radius",
        "SegmenterOptions.class_weights", "TDFusionOptions.size", "ReconstructorOptions.alpha",
    } <= met  # fmt: skip


def test_every_number_is_refused_by_its_name() -> None:
    taken = []
    for kind, name, value in CASES:
        said = refusal(lambda kind=kind, name=name, value=value: resolve(kind, ("--set", {name: value})))
        if f"--set: {name}" not in (said or ""):
            taken.append(f"{kind.__name__}.{name}={value}: {said}")
    assert not taken


@dataclasses.dataclass(frozen=True)
class Sized:
    width: Annotated[int, Field(ge=1, le=64)] = 8


@dataclasses.dataclass(frozen=True)
class Unbounded:
    width: int = 8


class Own(Fuser):
    Config = Sized

    def forward(self, *sources: Any) -> Any:
        return sources[0]


def test_a_third_partys_fuser_refuses_options_that_were_built_in_python() -> None:
    assert Own(Sized(width=64)).config.width == 64
    with pytest.raises(UsageError, match=r"Own: width=65 is not valid: Input should be less than or equal to 64"):
        Own(Sized(width=65))


def test_the_conformance_kit_asks_for_bounds() -> None:
    check_config("Own", Sized)
    with pytest.raises(AssertionError, match=r"Unbounded takes width=\d+; declare its bounds, such as width: "):
        check_config("Own", Unbounded)
