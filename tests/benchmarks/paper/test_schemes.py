"""The ablations of the training scheme: which gradients move which network."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.paper.schemes import GuidedTDFusion, InnerReFusion, JointReFusion
from fusionkit.config import parse_assignments, resolve
from fusionkit.errors import UsageError
from fusionkit.plugins import catalogue
from fusionkit.testing import check_trainer
from fusionkit.testing.examples import example_labelled_pairs, example_pairs
from fusionkit.train.bilevel import BilevelTrainer

CPU = torch.device("cpu")
SMALL = [
    "trainer.epochs=2", "trainer.meta_steps=2", "trainer.fusion_steps=2", "trainer.batch=2", "trainer.crop=12",
    "fuser.dim=4", "fuser.heads=2", "fuser.blocks=1", "proposer.dim=4", "proposer.heads=2", "proposer.blocks=1",
]  # fmt: skip
RECONSTRUCTOR = ["reconstructor.dim=4", "reconstructor.heads=2", "reconstructor.blocks=1"]
DETECTION = ["downstream=detection", "network.backbone=test_convnext", "network.channels=8", "network.convs=1"]


def _config(kind: type[BilevelTrainer], *assignments: str) -> Any:
    own = [*DETECTION, "size=[32, 40]"] if kind.downstream else RECONSTRUCTOR
    return resolve(kind.Config, ("test", parse_assignments([*SMALL, *own, *assignments])))


def _trainer(kind: type[BilevelTrainer], *assignments: str) -> BilevelTrainer:
    source = example_labelled_pairs("detection") if kind.downstream else example_pairs()
    return kind(_config(kind, *assignments), source, device=CPU)


def _weights(trainer: BilevelTrainer, network: str) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in trainer.networks[network].named_parameters()}


def _moved(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> float:
    return max(float((after[name] - before[name]).abs().max()) for name in before)


def _by_adam(module: nn.Module, loss: Tensor, lr: float) -> dict[str, Tensor]:
    optimiser = torch.optim.Adam(module.parameters(), lr=lr)
    loss.backward()
    optimiser.step()
    return {name: p.detach() for name, p in module.named_parameters()}


def test_inner_updates_move_f_and_r_without_fusion_steps() -> None:
    trainer = _trainer(InnerReFusion)
    assert trainer.steps == 2 * 2
    before = {name: _weights(trainer, name) for name in ("fuser", "proposer", "outer_loss")}
    trainer.step(0)
    assert all(_moved(before[name], _weights(trainer, name)) > 0 for name in before)


def test_joint_training_moves_f_by_the_sum_of_both_losses() -> None:
    joint = _trainer(JointReFusion, "proposal=equal")
    fuser, outer_loss, proposer = (copy.deepcopy(joint.networks[n]) for n in ("fuser", "outer_loss", "proposer"))
    batch = joint.fusion_view(joint.plans[0].ftr[0])
    joint.step(0)
    fused = fuser(*batch.sources)
    l_f = proposer.loss(proposer(*batch.sources), fused, batch.sources)["total"]
    expected = _by_adam(fuser, l_f + outer_loss.loss(fused, batch)["total"], 1e-4)
    torch.testing.assert_close(_weights(joint, "fuser"), expected, rtol=0, atol=1e-7)
    assert _trainer(JointReFusion).steps == 2 * 2


def test_guided_tdfusion_moves_f_by_the_downstream_loss_too() -> None:
    guided = _trainer(GuidedTDFusion)
    fuser, outer_loss, proposer = (copy.deepcopy(guided.networks[n]) for n in ("fuser", "outer_loss", "proposer"))
    rows = guided.plans[0].ftr[0]
    crops = guided.fusion_view(rows)
    whole = guided.outer_loss_view(rows, crops)
    guided.step(2)
    l_f = proposer.loss(proposer(*crops.sources), fuser(*crops.sources), crops.sources)["total"]
    expected = _by_adam(fuser, l_f + outer_loss.loss(fuser(*whole.sources), whole)["total"], 1e-4)
    torch.testing.assert_close(_weights(guided, "fuser"), expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", ["refusion-joint", "refusion-inner", "tdfusion-guided", "tdfusion-inner"])
def test_every_scheme_is_registered_and_keeps_the_contract_of_a_trainer(name: str) -> None:
    kind: Any = catalogue.trainers.get(name)
    source = example_labelled_pairs("detection") if kind.downstream else example_pairs()
    assert check_trainer(kind, config=_config(kind), source=source, steps=4) == ()


@pytest.mark.parametrize(
    ("kind", "assignment", "said"),
    [
        (InnerReFusion, "trainer.hypergradient=image_space", r"set trainer\.hypergradient=one_step"),
        (InnerReFusion, "trainer.image_space.epochs=1", r"trainer\.image_space\.epochs to 0"),
        (JointReFusion, "trainer.freeze_fraction=0.5", r"set trainer\.freeze_fraction=0"),
        (GuidedTDFusion, "trainer.hypergradient=closed_form", r"set trainer\.hypergradient=one_step"),
    ],
)
def test_options_that_a_scheme_cannot_have_are_refused(kind: Any, assignment: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        _trainer(kind, assignment)
