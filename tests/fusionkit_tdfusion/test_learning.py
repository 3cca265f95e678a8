"""What the learned loss is worth: on the built-in labelled sample T ends with a smaller loss than under w = 1/2."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fusionkit.config import parse_assignments, resolve
from fusionkit.data.labels import find_labelled
from fusionkit.data.labels.labelled_store import LabelledStore
from fusionkit.data.pair_set import PairSet
from fusionkit.plugins import catalogue
from fusionkit.train.bilevel import FunctionOuterLoss
from fusionkit_tdfusion.trainer import TDFusionOptions, TDFusionTrainer

CPU = torch.device("cpu")
SHORT = [
    "trainer.epochs=12", "trainer.warmup=3", "trainer.meta_steps=8", "trainer.fusion_steps=12", "trainer.batch=4",
    "trainer.crop=24", "trainer.lr=3e-3", "trainer.lr_outer_loss=1e-2", "trainer.lr_proposer=1e-2",
    "trainer.weight_map_kl=0.3", "fuser.dim=4", "fuser.heads=2", "fuser.blocks=1", "proposer.dim=4", "proposer.heads=2",
    "proposer.alpha=0.02", "size=[48, 64]",
]  # fmt: skip


class Pixels(nn.Module):
    """T: classes by what a pixel's neighbourhood looks like."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 8, 5, padding=2),
            nn.Softplus(),
            nn.Conv2d(8, 8, 5, padding=2),
            nn.Softplus(),
            nn.Conv2d(8, 3, 1),
        )

    def forward(self, fused: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(self.body(4 * fused - 2), targets, ignore_index=255)


def _loss(trainer: TDFusionTrainer, pairs: PairSet) -> float:
    store = LabelledStore.from_pairs(pairs, device=CPU)
    rows = torch.zeros(len(store), 6, dtype=torch.int64)
    rows[:, 0] = torch.arange(len(store))
    batch = store.resized(rows, (48, 64))
    with torch.no_grad():
        return float(trainer.networks["outer_loss"].loss(trainer.fuser()(*batch.sources), batch)["total"])


def test_the_outer_loss_falls_below_that_of_equal_weights_from_the_same_start() -> None:
    found = find_labelled("sample", catalogue.tasks.get("ivif"), "segmentation")
    train, test = found.split("train"), found.split("test")
    store = LabelledStore.from_pairs(train, device=CPU)
    starts, ends = [], []
    for proposal in ("learned", "equal"):
        quick = ("quick", TDFusionTrainer.presets["quick"])
        options = resolve(TDFusionOptions, quick, ("here", parse_assignments([*SHORT, f"proposal={proposal}"])))
        torch.manual_seed(7)
        trainer = TDFusionTrainer(options, store, device=CPU, outer_loss=FunctionOuterLoss(Pixels()))
        starts.append(_loss(trainer, train))
        for index in range(trainer.steps):
            trainer.step(index)
        ends.append((_loss(trainer, train), _loss(trainer, test)))
    learned, equal = ends
    assert starts[0] == starts[1]
    assert learned[0] < 0.97 * equal[0] < starts[1]
    assert learned[1] < 0.97 * equal[1], "on pairs that neither of them saw"
