"""Everything that is registered loads and keeps the contract of its kind."""

from __future__ import annotations

import dataclasses
import importlib.util
from typing import Any

import pytest
import torch

from fusionkit.config import as_dict, resolve
from fusionkit.contracts import Downstream
from fusionkit.plugins import catalogue
from fusionkit.plugins.registry import Registry
from fusionkit.testing import (
    check_aligner,
    check_downstream,
    check_fuser,
    check_loss_proposer,
    check_metric,
    check_outer_loss,
    check_reconstructor,
    check_trainer,
)

FEW_SIZES = ((1, 1), (1, 9), (17, 31))


def built_in(registry: Registry[Any]) -> list[str]:
    return [entry.name for entry in registry.entries() if entry.built_in]


@pytest.mark.parametrize("registry", catalogue.registries(), ids=lambda registry: registry.kind)
def test_every_built_in_name_loads(registry: Registry[Any]) -> None:
    problems = {entry.name: registry.problem(entry) for entry in registry.entries() if entry.built_in}
    assert {name: str(problem) for name, problem in problems.items() if problem} == {}


SMALLER = {"mef-net": {"short_side": 12}}
"""Options under which a fuser computes the same on fewer pixels: MEF-Net enlarges small images to 128 pixels."""


EXTRAS = {"yolov8": "ultralytics"}
"""Libraries of extras that the development environment does not bring, by the plugin that needs them."""


@pytest.mark.parametrize("name", built_in(catalogue.fusers))
def test_every_fuser_keeps_its_contract(name: str, fusionkit_device: torch.device) -> None:
    kind = catalogue.fusers.get(name)
    fuser = kind(kind.Config(**SMALLER[name])) if name in SMALLER else kind
    check_fuser(fuser, sizes=FEW_SIZES, device=fusionkit_device)


@pytest.mark.parametrize("name", built_in(catalogue.loss_proposers))
def test_every_loss_proposer_keeps_its_contract(name: str, fusionkit_device: torch.device) -> None:
    check_loss_proposer(catalogue.loss_proposers.get(name), sizes=FEW_SIZES, device=fusionkit_device)


@pytest.mark.parametrize("name", built_in(catalogue.reconstructors))
def test_every_reconstructor_keeps_its_contract(name: str, fusionkit_device: torch.device) -> None:
    check_reconstructor(catalogue.reconstructors.get(name), sizes=FEW_SIZES, device=fusionkit_device)


@pytest.mark.parametrize("name", built_in(catalogue.outer_losses))
def test_every_outer_loss_keeps_its_contract(name: str, fusionkit_device: torch.device) -> None:
    if name in EXTRAS and importlib.util.find_spec(EXTRAS[name]) is None:
        pytest.skip(f"{EXTRAS[name]} is not installed")
    outer_loss = catalogue.outer_losses.get(name)
    if issubclass(outer_loss, Downstream):
        check_downstream(outer_loss, device=fusionkit_device)
    else:
        check_outer_loss(outer_loss, device=fusionkit_device)


@pytest.mark.parametrize("name", built_in(catalogue.metrics))
def test_every_metric_keeps_its_contract(name: str, fusionkit_device: torch.device) -> None:
    check_metric(catalogue.metrics.get(name), device=fusionkit_device)


@pytest.mark.parametrize("name", built_in(catalogue.aligners))
def test_every_aligner_keeps_its_contract(name: str) -> None:
    if name == "mutual-information":
        pytest.importorskip("SimpleITK")
    check_aligner(catalogue.aligners.get(name))


_FEW = {"dim": 4, "heads": 2, "blocks": 1, "width": 2}
SMALL_NETWORKS = {
    "size": (48, 64),
    "fuser": _FEW,
    "proposer": _FEW,
    "reconstructor": _FEW,
    "network": {"backbone": "test_convnext", "channels": 8},
}
"""Options of trainers under which steps are the same on fewer channels and pixels."""


def _known(value: Any, options: Any) -> Any:
    """Return those of several values that the options have, or a single value as it is."""
    return {key: each for key, each in value.items() if hasattr(options, key)} if isinstance(value, dict) else value


@pytest.mark.parametrize("name", built_in(catalogue.trainers))
def test_every_trainer_keeps_its_contract_in_every_preset(name: str, fusionkit_device: torch.device) -> None:
    trainer = catalogue.trainers.get(name)
    for preset, values in trainer.presets.items():
        # The preset's updates on a schedule that meets every stage within the steps that are tried.
        short = {"epochs": 2, "warmup": 0, "meta_steps": 1, "fusion_steps": 2, "batch": 2, "crop": 32}
        options = resolve(trainer.Config, (f"preset {preset}", values))
        known = {field.name for field in dataclasses.fields(options.trainer)}
        seen = {
            name: _known(value, getattr(options, name))
            for name, value in SMALL_NETWORKS.items()
            if hasattr(options, name)
        }
        config = resolve(
            trainer.Config,
            (f"preset {preset}", as_dict(options)),
            ("this test", {"trainer": {key: value for key, value in short.items() if key in known}, **seen}),
        )
        check_trainer(trainer, config=config, device=fusionkit_device)
