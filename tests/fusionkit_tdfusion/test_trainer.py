"""TDFusion's training: its two views, each update by hand, resuming, the ablations of Table 3."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from fusionkit.config import parse_assignments, resolve
from fusionkit.contracts import Batch
from fusionkit.data.epoch_plan import FLIP_COLUMNS, FLIP_ROWS, SWAP
from fusionkit.data.labels.labelled_store import LabelledStore
from fusionkit.errors import UsageError
from fusionkit.testing import check_trainer, example_labelled_pairs, example_pairs
from fusionkit.train.bilevel import FunctionOuterLoss, meta_gradient
from fusionkit_tdfusion.proposer import EvenProposer
from fusionkit_tdfusion.trainer import TDFusionOptions, TDFusionTrainer

CPU = torch.device("cpu")
SMALL = [
    "trainer.epochs=2", "trainer.meta_steps=1", "trainer.fusion_steps=2", "trainer.batch=2", "trainer.crop=12",
    "fuser.dim=4", "fuser.heads=2", "fuser.blocks=1", "proposer.dim=4", "proposer.heads=2", "proposer.blocks=1",
    "size=[20, 24]",
]  # fmt: skip
TINY_OUTER_LOSSES = {
    "segmentation": ["downstream=segmentation", "network.backbone=test_convnext", "network.channels=8"],
    "detection": ["downstream=detection", "network.backbone=test_convnext", "network.channels=8", "network.convs=1"],
}  # fmt: skip


class PixelClasses(nn.Module):
    """A small T: classifies each pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(1, 3, 3, padding=1)

    def forward(self, fused: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(4 * self.body(fused), targets, ignore_index=255)


def _config(*assignments: str, preset: str = "paper") -> TDFusionOptions:
    layers = ("preset", TDFusionTrainer.presets[preset]), ("--set", parse_assignments([*SMALL, *assignments]))
    return resolve(TDFusionOptions, *layers)


def _store(kind: str = "segmentation") -> LabelledStore:
    return example_labelled_pairs(kind, count=5, size=(30, 36))  # type: ignore[arg-type]


def _trainer(*assignments: str, preset: str = "paper") -> TDFusionTrainer:
    torch.manual_seed(4)
    outer_loss = FunctionOuterLoss(PixelClasses())
    return TDFusionTrainer(_config(*assignments, preset=preset), _store(), device=CPU, outer_loss=outer_loss)


def _weights(trainer: TDFusionTrainer, network: str) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in trainer.networks[network].named_parameters()}


def _moved(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> float:
    return max(float((after[name] - before[name]).abs().max()) for name in before)


def _views(trainer: TDFusionTrainer, role: str) -> tuple[Batch, Batch]:
    rows = getattr(trainer.plans[0], role)[0]
    fusion = trainer.fusion_view(rows)
    return fusion, trainer.outer_loss_view(rows, fusion)


def _by_adam(module: nn.Module, loss: Tensor, lr: float) -> dict[str, Tensor]:
    optimiser = torch.optim.Adam(module.parameters(), lr=lr)
    loss.backward()
    optimiser.step()
    return {name: p.detach() for name, p in module.named_parameters()}


def test_the_paper_preset_is_the_papers_schedule() -> None:
    options = resolve(TDFusionOptions, ("preset", TDFusionTrainer.presets["paper"]))
    t = options.trainer
    assert (t.epochs, t.meta_steps, t.batch, t.crop, t.lr) == (50, 200, 2, 256, 1e-4)
    assert (t.hypergradient, t.proposer_optimizer, t.lr_schedule) == ("one_step", "adam", "none")
    assert (t.both_orders, t.swap, t.ema_decay, t.warmup, t.weight_map_kl) == (False, False, 0, 0, 0)
    assert (options.proposer.alpha, options.proposer.weighting) == (1, "outside")


def test_the_public_preset_is_the_authors_code() -> None:
    options = resolve(TDFusionOptions, ("preset", TDFusionTrainer.presets["public"]))
    t = options.trainer
    assert (t.epochs, t.batch, t.both_orders, t.proposer_optimizer) == (40, 1, True, "normalized")
    assert (t.lr_schedule, t.lr_step_epochs, options.proposer.weighting) == ("step", 10, "inside")


def test_n_is_the_number_of_pairs_where_it_is_not_given() -> None:
    trainer = _trainer("trainer.fusion_steps=0")
    assert trainer.steps == 2 * (1 + 5)
    assert trainer.config.trainer.fusion_steps == 0


def test_t_sees_whole_pairs_upright_with_labels_and_l_f_their_crops() -> None:
    trainer = _trainer()
    rows = trainer.plans[0].ftr[0].clone()
    rows[:, FLIP_ROWS], rows[:, FLIP_COLUMNS], rows[:, SWAP] = 1, 1, 1
    fusion = trainer.fusion_view(rows)
    whole = trainer.outer_loss_view(rows, fusion)
    assert fusion.sources[0].shape == (2, 1, 12, 12)
    assert whole.sources[0].shape == (2, 1, 20, 24)
    assert whole.targets.shape == (2, 20, 24)
    rows[:, FLIP_ROWS] = 0
    plain = trainer.labelled.resized(rows, (20, 24))  # type: ignore[union-attr]
    assert torch.equal(plain.sources[0], whole.sources[0])
    assert torch.equal(plain.targets, whole.targets)


@pytest.mark.parametrize("orders", ["false", "true"])
def test_a_fusion_step_is_adam_on_l_f_of_crops_for_f_and_on_l_t_of_whole_pairs_for_t(orders: str) -> None:
    trainer = _trainer(f"trainer.both_orders={orders}")
    fuser, proposer, outer_loss = (copy.deepcopy(trainer.networks[n]) for n in ("fuser", "proposer", "outer_loss"))
    crops, whole = _views(trainer, "ftr")
    if orders == "true":
        (a, b), (c, d), mask = crops.sources, whole.sources, whole.targets
        crops = Batch((torch.cat((a, b)), torch.cat((b, a))))
        whole = Batch((torch.cat((c, d)), torch.cat((d, c))), torch.cat((mask, mask)))
    before = _weights(trainer, "proposer")
    trainer.step(1)
    with torch.no_grad():
        proposal, seen = proposer(*crops.sources), fuser(*whole.sources)
    expected_outer_loss = _by_adam(outer_loss, outer_loss.loss(seen, whole)["total"], 1e-4)
    expected = _by_adam(fuser, proposer.loss(proposal, fuser(*crops.sources), crops.sources)["total"], 1e-4)
    torch.testing.assert_close(_weights(trainer, "fuser"), expected, rtol=0, atol=1e-7)
    torch.testing.assert_close(_weights(trainer, "outer_loss"), expected_outer_loss, rtol=0, atol=1e-7)
    assert _moved(before, _weights(trainer, "proposer")) == 0


def test_a_meta_step_moves_g_alone_by_the_hypergradient_over_both_views() -> None:
    trainer = _trainer("trainer.proposer_optimizer=sgd", "trainer.lr_proposer=10")
    networks = [copy.deepcopy(trainer.networks[n]) for n in ("fuser", "proposer", "outer_loss")]
    (mtr, mtr_outer_loss), (_, mts) = _views(trainer, "mtr"), _views(trainer, "mts")
    before = {name: _weights(trainer, name) for name in ("fuser", "proposer", "outer_loss")}
    trainer.step(0)
    gradient = meta_gradient(
        *networks,
        mtr,
        mts,
        mtr_outer_loss=mtr_outer_loss,
        eta_fuser=1e-4,
        eta_outer_loss=1e-4,
        method="double_backward",  # type: ignore[arg-type]
    ).proposer
    expected = {name: before["proposer"][name] - 10 * gradient[name] for name in gradient}
    torch.testing.assert_close(_weights(trainer, "proposer"), expected, rtol=1e-5, atol=1e-9)
    assert _moved(before["proposer"], _weights(trainer, "proposer")) > 0
    assert _moved(before["fuser"], _weights(trainer, "fuser")) == 0
    assert _moved(before["outer_loss"], _weights(trainer, "outer_loss")) == 0


@pytest.mark.parametrize("preset", TDFusionTrainer.presets)
def test_a_resumed_training_takes_the_same_steps_bit_for_bit(preset: str) -> None:
    def build() -> TDFusionTrainer:
        return _trainer("trainer.warmup=0", preset=preset)

    whole, half = build(), build()
    for index in range(6):
        whole.step(index)
    for index in range(3):
        half.step(index)
    kept = {name: value.clone() for name, value in half.state().items()}
    resumed = build()
    resumed.load_state(kept)
    for index in range(3, 6):
        resumed.step(index)
    expected, found = whole.state(), resumed.state()
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


@pytest.mark.parametrize("kind", TINY_OUTER_LOSSES)
def test_a_training_with_each_shipped_network_keeps_the_contract(kind: str) -> None:
    config = _config(*TINY_OUTER_LOSSES[kind], "size=[32, 40]")
    assert TDFusionTrainer.label_kind(config) == kind
    assert check_trainer(TDFusionTrainer, config=config, source=_store(kind), steps=4) == ()


ABLATIONS = {
    "I fixed w": ["proposal=equal"],
    "II no gradient term": ["proposer.alpha=0"],
    "V weighted sum": ["fuser.output=decision"],
    "w inside the square": ["proposer.weighting=inside"],
    "image space": ["trainer.hypergradient=image_space"],
}


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_ablation_trains_a_whole_epoch(name: str) -> None:
    trainer = _trainer(*ABLATIONS[name])
    before = {network: _weights(trainer, network) for network in ("fuser", "outer_loss")}
    for index in range(trainer.steps // 2):
        assert all(bool(torch.isfinite(value)) for value in trainer.step(index).values())
    assert all(_moved(weights, _weights(trainer, network)) > 0 for network, weights in before.items())


def test_fixed_weights_leave_no_meta_steps_and_no_proposer() -> None:
    trainer = _trainer("proposal=equal")
    assert isinstance(trainer.networks["proposer"], EvenProposer)
    assert trainer.steps == 2 * 2
    assert TDFusionTrainer.proposer_of(trainer.config, trainer.state()) is None


def test_the_proposer_of_a_checkpoint_is_the_one_that_was_trained() -> None:
    trainer = _trainer()
    trainer.step(0)
    found = TDFusionTrainer.proposer_of(trainer.config, trainer.state())
    assert found is not None
    sources = trainer.source.whole(0)
    assert torch.equal(found(*sources)["w"], trainer.networks["proposer"](*sources)["w"])


@pytest.mark.parametrize(
    ("assignments", "store", "said"),
    [
        (
            TINY_OUTER_LOSSES["detection"],
            _store(),
            "downstream=detection needs pairs with detection labels; these are for",
        ),
        (TINY_OUTER_LOSSES["segmentation"], example_pairs(count=2, size=(30, 36)), "these have none"),
        (["network.chanels=4"], _store(), "network: unknown option 'chanels': did you mean 'channels'"),
        (["downstream=segmentatoin"], _store(), "did you mean 'segmentation'"),
        (["size=[8, 24]"], _store(), r"size=\[8, 24\] shows the downstream network 8x24 pixels"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(assignments: list[str], store: object, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        TDFusionTrainer(_config(*assignments), store, device=CPU)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
