"""ReFusion's training: each update by hand, the stages in their order, every ablation of Table 5."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from fusionkit.config import parse_assignments, resolve
from fusionkit.contracts import Batch, Fuser
from fusionkit.data.pair_store import PairStore
from fusionkit.errors import UsageError
from fusionkit.tasks import IVIF
from fusionkit.train.bilevel import BilevelOptions, image_space_meta_gradient, meta_gradient
from fusionkit_refusion.trainer import ReFusionOptions, ReFusionTrainer

CPU = torch.device("cpu")
SMALL = [
    "trainer.epochs=3", "trainer.meta_steps=2", "trainer.fusion_steps=3", "trainer.batch=2", "trainer.crop=12",
    "fuser.dim=4", "fuser.heads=2", "fuser.blocks=1", "proposer.dim=4", "proposer.heads=2", "proposer.blocks=1",
    "reconstructor.dim=4", "reconstructor.heads=2", "reconstructor.blocks=1",
]  # fmt: skip


def _store(pairs: int = 5) -> PairStore:
    generator = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (pairs, 2, 1, 16, 18), dtype=torch.uint8, generator=generator)
    return PairStore(IVIF, [list(pair) for pair in images], device=CPU, smallest=12)


def _trainer(*assignments: str, preset: str = "paper") -> ReFusionTrainer:
    preset_values = ReFusionTrainer.presets[preset]
    layers = ("preset", preset_values), ("--set", parse_assignments([*SMALL, *assignments]))
    return ReFusionTrainer(resolve(ReFusionOptions, *layers), _store(), device=CPU)


def _weights(trainer: ReFusionTrainer, network: str) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in trainer.networks[network].named_parameters()}


def _moved(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> float:
    return max(float((after[name] - before[name]).abs().max()) for name in before)


def _by_adam(module: nn.Module, loss: Tensor, lr: float) -> dict[str, Tensor]:
    optimiser = torch.optim.Adam(module.parameters(), lr=lr)
    loss.backward()
    optimiser.step()
    return {name: p.detach() for name, p in module.named_parameters()}


def _batch(trainer: ReFusionTrainer, role: str) -> Batch:
    return trainer.fusion_view(getattr(trainer.plans[0], role)[0])


def test_the_paper_preset_is_the_papers_schedule() -> None:
    options = resolve(ReFusionOptions, ("preset", ReFusionTrainer.presets["paper"]))
    t = options.trainer
    assert (t.epochs, t.meta_steps, t.fusion_steps, t.batch, t.crop, t.lr) == (50, 600, 1600, 4, 128, 1e-4)
    assert (t.hypergradient, t.ema_decay, t.warmup, t.weight_map_kl) == ("one_step", 0, 0, 0)
    assert (options.proposer.alpha, options.reconstructor.alpha, options.reconstructor.combine) == (1, 1, "max")


def test_an_epoch_is_meta_steps_then_fusion_steps() -> None:
    trainer = _trainer()
    assert trainer.steps == 3 * (2 + 3)
    assert [trainer.stage(i) for i in range(6)] == ["meta", "meta", "fusion", "fusion", "fusion", "meta"]
    warm = _trainer("trainer.warmup=1")
    assert warm.steps == 3 + 2 * (2 + 3)
    assert [warm.stage(i) for i in range(6)] == ["fusion", "fusion", "fusion", "meta", "meta", "fusion"]


def test_a_fusion_step_is_adam_on_l_f_for_f_and_on_l_r_for_r_with_p_fixed() -> None:
    trainer = _trainer()
    fuser, proposer, outer_loss = (copy.deepcopy(trainer.networks[n]) for n in ("fuser", "proposer", "outer_loss"))
    batch = _batch(trainer, "ftr")
    before = _weights(trainer, "proposer")
    trainer.step(2)
    with torch.no_grad():
        proposal = proposer(*batch.sources)
        image = fuser(*batch.sources)
    expected_outer_loss = _by_adam(outer_loss, outer_loss.loss(image, batch)["total"], 1e-4)
    expected = _by_adam(fuser, proposer.loss(proposal, fuser(*batch.sources), batch.sources)["total"], 1e-4)
    torch.testing.assert_close(_weights(trainer, "fuser"), expected, rtol=0, atol=1e-7)
    torch.testing.assert_close(_weights(trainer, "outer_loss"), expected_outer_loss, rtol=0, atol=1e-7)
    assert _moved(before, _weights(trainer, "proposer")) == 0


def test_a_meta_step_moves_p_alone_by_the_hypergradient() -> None:
    trainer = _trainer("trainer.proposer_optimizer=sgd", "trainer.lr_proposer=10")
    networks = [copy.deepcopy(trainer.networks[n]) for n in ("fuser", "proposer", "outer_loss")]
    mtr, mts = _batch(trainer, "mtr"), _batch(trainer, "mts")
    before = {name: _weights(trainer, name) for name in ("fuser", "proposer", "outer_loss")}
    trainer.step(0)
    gradient = meta_gradient(
        *networks, mtr, mts, eta_fuser=1e-4, eta_outer_loss=1e-4, method="double_backward"
    ).proposer  # type: ignore[arg-type]
    expected = {name: before["proposer"][name] - 10 * gradient[name] for name in gradient}
    torch.testing.assert_close(_weights(trainer, "proposer"), expected, rtol=1e-5, atol=1e-9)
    assert _moved(before["proposer"], _weights(trainer, "proposer")) > 0
    assert _moved(before["fuser"], _weights(trainer, "fuser")) == 0
    assert _moved(before["outer_loss"], _weights(trainer, "outer_loss")) == 0


def test_the_normalised_update_moves_the_largest_weight_by_the_learning_rate() -> None:
    trainer = _trainer("trainer.proposer_optimizer=normalized", "trainer.lr_proposer=0.005")
    before = _weights(trainer, "proposer")
    trainer.step(0)
    assert _moved(before, _weights(trainer, "proposer")) == pytest.approx(0.005, rel=1e-3)


def test_adam_with_a_small_eps_is_not_stopped_by_a_minute_hypergradient() -> None:
    trainer = _trainer()
    before = _weights(trainer, "proposer")
    trainer.step(0)
    assert _moved(before, _weights(trainer, "proposer")) > 0.9e-4


def test_fixed_weights_leave_no_meta_steps() -> None:
    trainer = _trainer("proposal=equal")
    assert trainer.steps == 3 * 3
    assert trainer.stage(0) == "fusion"


ABLATIONS = {
    "I fixed weights": ["proposal=equal"],
    "IV sum for max": ["reconstructor.combine=sum"],
    "V decision": ["fuser.output=decision"],
    "VI concatenation": ["fuser.cross_attention=false", "fuser.gating=false"],
    "VII no interaction": ["fuser.cross_attention=false"],
    "VIII no gating": ["fuser.gating=false"],
    "further inputs": ["fuser.inputs=image+gradient+share"],
    "brightness": ["reconstructor.brightness=absolute", "reconstructor.combine=sum"],
    "relative brightness at the optimum": ["reconstructor.brightness=relative", "trainer.hypergradient=closed_form"],
    "alpha 1": ["proposer.alpha=5.0"],
    "alpha 2": ["reconstructor.alpha=0.2"],
    "magnitudes": ["proposer.gradient=magnitude", "reconstructor.gradient=magnitude"],
    "image space": ["trainer.hypergradient=image_space"],
    "double backward": ["trainer.one_step.autodiff=double_backward"],
    "swap, average, decay": ["trainer.swap=true", "trainer.ema_decay=0.9", "trainer.lr_schedule=step"],
}


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_ablation_trains_a_whole_epoch(name: str) -> None:
    trainer = _trainer(*ABLATIONS[name])
    before = _weights(trainer, "fuser")
    for index in range(trainer.steps // 3):
        assert all(bool(torch.isfinite(value)) for value in trainer.step(index).values())
    assert _moved(before, _weights(trainer, "fuser")) > 0


def test_the_learned_loss_follows_what_the_reconstruction_lacks() -> None:
    """A source that the fused image has lost gets more weight: the sign of the image-space gradient."""
    trainer = _trainer("trainer.hypergradient=image_space", "trainer.lr_proposer=0.01")
    a, b = torch.rand(2, 1, 1, 12, 12)

    class CopyOfB(Fuser):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.ones(()))

        def forward(self, *sources: Tensor) -> Tensor:
            return self.gain * sources[1]

    trainer.parts.outer_loss.branches = nn.ModuleList([nn.Identity(), nn.Identity()])
    before = float(trainer.parts.proposer(a, b)["w"][:, 0].detach().mean())
    for _ in range(5):
        found = image_space_meta_gradient(CopyOfB(), trainer.parts.proposer, trainer.parts.outer_loss, Batch((a, b)))
        trainer.updates.proposer(found.proposer)
    assert float(trainer.parts.proposer(a, b)["w"][:, 0].detach().mean()) > before


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("trainer.warmup=3", r"trainer\.warmup=3 must be less than trainer\.epochs=3"),
        ("trainer.scheme=inner", r"trainer\.scheme is no option any more: .*benchmarks/paper/schemes\.py"),
        (
            "trainer.hypergradient=closed_form trainer.warmup=1",
            r"set trainer\.warmup=0 and trainer\.image_space\.epochs=0",
        ),
        (
            "trainer.hypergradient=closed_form proposer.gradient=magnitude",
            r"ReFusionProposer's fusion loss, with these op",
        ),
        ("trainer.fusion_steps=0", r"trainer\.fusion_steps=0 must be at least 1"),
        ("trainer.lr=0.0", r"trainer\.lr=0\.0 is not valid: Input should be greater than 0"),
        ("trainer.ema_decay=1.0", r"trainer\.ema_decay=1\.0"),
        ("trainer.weight_map_kl=-1.0", r"trainer\.weight_map_kl=-1\.0"),
        ("reconstructor.brightness_floor=0.0", r"reconstructor\.brightness_floor=0\.0 is not valid"),
        ("reconstructor.brightness_power=0.0", r"reconstructor\.brightness_power=0\.0 is not valid"),
        (
            "trainer.outer_loss_noise.pixel=-0.1",
            r"trainer\.outer_loss_noise\.pixel=-0\.1 is not valid",
        ),
    ],
)
def test_a_schedule_that_cannot_run_is_refused_by_option(assignment: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        _trainer(*assignment.split())


def test_a_start_in_image_space_is_that_of_an_image_space_run_and_then_the_exact_step() -> None:
    warmed, imaged = _trainer("trainer.image_space.epochs=1"), _trainer("trainer.hypergradient=image_space")
    epoch = warmed.schedule.meta_steps + warmed.schedule.fusion_steps
    for index in range(epoch):
        warmed.step(index)
        imaged.step(index)
    for name, value in _weights(imaged, "proposer").items():
        assert torch.equal(value, _weights(warmed, "proposer")[name]), name
    exact = _trainer()
    exact.load_state(warmed.state())
    warmed.step(epoch)
    exact.step(epoch)
    imaged.step(epoch)
    for name, value in _weights(exact, "proposer").items():
        assert torch.equal(value, _weights(warmed, "proposer")[name]), name
    assert _moved(_weights(imaged, "proposer"), _weights(exact, "proposer")) > 0


def test_a_settled_loss_moves_the_fuser_alone_by_the_loss_that_was_learned() -> None:
    trainer = _trainer(
        "trainer.epochs=4", "trainer.freeze_fraction=0.5", "trainer.warmup=1", "trainer.lr_schedule=cosine"
    )
    stages = [trainer.stage(index) for index in range(trainer.steps)]
    assert stages == ["fusion"] * 3 + ["meta"] * 2 + ["fusion"] * 9
    for index in range(8):
        trainer.step(index)
    before = {name: _weights(trainer, name) for name in ("fuser", "proposer", "outer_loss")}
    batch = trainer.fusion_view(trainer.plans[2].ftr[0])
    proposer, fuser = copy.deepcopy(trainer.parts.proposer), copy.deepcopy(trainer.parts.fuser)
    expected = proposer.loss(proposer(*batch.sources), fuser(*batch.sources), batch.sources)
    terms = trainer.step(8)
    assert set(terms) == set(expected)
    for name, value in terms.items():
        assert float(value) == pytest.approx(expected[name].item(), rel=1e-5)
    for index in range(9, trainer.steps):
        trainer.step(index)
    assert _moved(before["fuser"], _weights(trainer, "fuser")) > 0
    for name in ("proposer", "outer_loss"):
        for key, value in _weights(trainer, name).items():
            assert torch.equal(value, before[name][key]), f"{name}.{key} moved"


def test_at_the_optimum_p_and_r_learn_together_and_f_alone() -> None:
    trainer = _trainer("trainer.hypergradient=closed_form", "trainer.epochs=2", "trainer.freeze_fraction=0.5")
    first = {name: _weights(trainer, name) for name in ("fuser", "proposer", "outer_loss")}
    meta = [index for index in range(trainer.steps) if trainer.stage(index) == "meta"]
    for index in meta:
        assert set(trainer.step(index)) == {"total", "outer", "inner"}
    assert _moved(first["fuser"], _weights(trainer, "fuser")) == 0
    learned = {name: _weights(trainer, name) for name in ("proposer", "outer_loss")}
    for name in learned:
        assert _moved(first[name], learned[name]) > 0
    for index in range(len(meta), trainer.steps):
        trainer.step(index)
    assert _moved(first["fuser"], _weights(trainer, "fuser")) > 0
    for name, weights in learned.items():
        assert _moved(weights, _weights(trainer, name)) == 0


def test_equal_weights_leave_the_reconstructor_to_the_fusion_steps_whatever_the_hypergradient() -> None:
    trainer = _trainer("trainer.hypergradient=closed_form", "proposal=equal")
    before = _weights(trainer, "outer_loss")
    trainer.step(0)
    assert trainer.stage(0) == "fusion"
    assert _moved(before, _weights(trainer, "outer_loss")) > 0


def test_the_proposers_rate_ends_where_it_stops_learning_and_the_fusers_with_the_run() -> None:
    trainer = _trainer("trainer.epochs=4", "trainer.freeze_fraction=0.5", "trainer.lr_schedule=cosine")
    learning = 2 * 5
    fuser, others = zip(*(trainer.schedule.rates(index) for index in (0, learning // 2, learning, 15, 16)), strict=True)
    assert others == pytest.approx((1, 0.505, 0.01, 0.01, 0.01))
    assert fuser[0] == 1
    assert fuser[1] > 0.505
    assert fuser[4] == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["trainer.freeze_fraction=1.0"], r"trainer\.freeze_fraction=1\.0 is not valid"),
    ],
)
def test_what_cannot_settle_is_refused(given: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        _trainer(*given)


@pytest.mark.parametrize(("epochs", "warmup", "settled"), [(50, 0, 30), (5, 0, 3), (2, 0, 1), (1, 0, 0), (4, 3, 0)])
def test_a_shorter_run_settles_for_the_same_part_of_it_and_learns_for_an_epoch(
    epochs: int, warmup: int, settled: int
) -> None:
    assert BilevelOptions(epochs=epochs, warmup=warmup, freeze_fraction=0.6).frozen_epochs == settled


def test_a_run_with_further_inputs_and_a_brightness_weight_goes_on_where_it_was_stopped() -> None:
    given = [
        "trainer.hypergradient=closed_form", "trainer.freeze_fraction=0.4", "trainer.ema_decay=0.9",
        "trainer.outer_loss_noise.pixel=2.0", "fuser.inputs=image+gradient+share",
        "reconstructor.brightness=absolute", "reconstructor.combine=sum",
    ]  # fmt: skip
    whole, stopped, again = (_trainer(*given) for _ in range(3))
    for index in range(whole.steps):
        whole.step(index)
    for index in range(5):
        stopped.step(index)
    again.load_state(stopped.state())
    for index in range(5, whole.steps):
        again.step(index)
    torch.testing.assert_close(again.fuser().state_dict(), whole.fuser().state_dict(), rtol=0, atol=0)
