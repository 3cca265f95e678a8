"""Captured steps: buffers, fallback and nothing read on the host; where there is CUDA, the graphs themselves."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from fusionkit.data.pair_store import PairStore
from fusionkit.runtime.precision import float32_products
from fusionkit.tasks import MIF
from fusionkit.train.bilevel import BilevelOptions, BilevelTrainer, Networks
from fusionkit.train.bilevel.cuda_graphs import WARMUP, CapturedStep
from fusionkit.train.bilevel.noise import NoiseOptions
from fusionkit_refusion.fuser import ReFusionFuser
from fusionkit_refusion.proposer import ProposerOptions, ReFusionProposer
from fusionkit_refusion.reconstructor import ReconstructorOptions, ReFusionReconstructor
from fusionkit_restormer.fuser import FuserOptions

CPU = torch.device("cpu")
WAITS = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select", "_unique2")
FROM_HOST = ("lift_fresh", "lift_fresh_copy")
"""What torch.tensor and new_tensor do: a copy from the host, which cannot be recorded."""


class Replayer:
    """Does again what it has recorded, into the same tensors, as a CUDA graph does."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def warm_up(self, work: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        return work()

    def record(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        self.recorded += 1
        # Recording runs the host's part alone; here the work has no effect but its result.
        out = work()

        def replay() -> None:
            self.replayed += 1
            out.copy_(work())

        return replay, out


class NoGraphs(Replayer):
    def record(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing. For debugging consider...")


class NoWaiting(TorchDispatchMode):
    """Refuses every operation for which the host would wait for the device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._overloadpacket.__name__
        assert name not in WAITS, f"{name} makes the host wait"
        assert name not in FROM_HOST, f"{name} copies from the host"
        return func(*args, **(kwargs or {}))


def _trainer(device: torch.device = CPU, **changes: Any) -> BilevelTrainer:
    images = torch.randint(0, 256, (5, 2, 1, 16, 18), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))
    store = PairStore(MIF, [list(pair) for pair in images], device=device, smallest=12)
    options = BilevelOptions(**{"epochs": 2, "meta_steps": 6, "fusion_steps": 6, "batch": 2, "crop": 12, **changes})
    return Tiny(SimpleNamespace(trainer=options), store, device=device, seed=1)


class Tiny(BilevelTrainer):
    def build_networks(self, config: Any, source: PairStore) -> Networks:
        return Networks(
            fuser=ReFusionFuser(FuserOptions(dim=4, heads=2, blocks=1)),
            proposer=ReFusionProposer(ProposerOptions(dim=4, heads=2, blocks=1)),
            outer_loss=ReFusionReconstructor(ReconstructorOptions(dim=4, heads=2, blocks=1)),
        )


def test_a_replay_reads_its_inputs_and_keeps_no_result_of_the_one_before() -> None:
    step = CapturedStep(lambda x: {"sum": x.sum(), "most": x.max()}, Replayer())
    found = [step(torch.full((3,), float(k))) for k in range(WARMUP + 3)]
    assert step.captured
    assert [float(terms["sum"]) for terms in found] == [3.0 * k for k in range(WARMUP + 3)]
    assert [float(terms["most"]) for terms in found] == [float(k) for k in range(WARMUP + 3)]


def test_a_driver_without_graphs_trains_on_and_says_so_once() -> None:
    step = CapturedStep(lambda x: {"sum": x.sum()}, NoGraphs())
    for k in range(WARMUP):
        step(torch.full((2,), float(k)))
    with pytest.warns(UserWarning, match="not captured in a CUDA graph, training goes on without: CUDA error"):
        assert float(step(torch.ones(2))["sum"]) == 2
    assert float(step(torch.ones(2) * 4)["sum"]) == 8
    assert not step.captured


def test_too_little_memory_is_no_reason_to_go_on_without() -> None:
    class Full(Replayer):
        def record(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    step = CapturedStep(lambda x: {"sum": x.sum()}, Full(), warmup=0)
    with pytest.raises(torch.OutOfMemoryError):
        step(torch.ones(2))


VARIANTS = {
    "exact": {},
    "image space, noise, average": {
        "hypergradient": "image_space", "outer_loss_noise": NoiseOptions(0.05, 0.1), "ema_decay": 0.9,
        "weight_map_kl": 0.1,
    },
    "normalised update, both orders, decay": {
        "proposer_optimizer": "normalized", "both_orders": True, "lr_schedule": "cosine", "micro_batch": 2,
    },
    "optimum": {"hypergradient": "closed_form", "freeze_fraction": 0.5,
                "outer_loss_noise": NoiseOptions(1.0, 0.5, unit="contrast")},
    "Muon": {"fuser_optimizer": "muon", "outer_loss_optimizer": "muon", "proposer_optimizer": "muon"},
}  # fmt: skip


def test_a_run_that_falls_back_has_the_weights_of_one_that_never_tried_to_rounding() -> None:
    eager, tried = (_trainer(**VARIANTS["image space, noise, average"]) for _ in range(2))
    tried.capture(NoGraphs())
    tries = [*range(4), *range(6, 10)]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for index in tries:
            tried.step(index)
    # A library that is imported by the first step may have something to say, too.
    ours = [str(warning.message) for warning in said if warning.category is UserWarning]
    assert ["not captured" in message for message in ours] == [True, True]
    for index in tries:
        eager.step(index)
    expected = eager.state()
    for key, value in tried.state().items():
        # The learning rate is a float32 tensor in a step that can be captured.
        torch.testing.assert_close(value, expected[key], rtol=1e-4, atol=1e-7, msg=key)


@pytest.mark.parametrize("name", VARIANTS)
def test_no_step_makes_the_host_wait_for_the_device(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = _trainer(**VARIANTS[name])
    trainer.step(0)
    trainer.step(6)
    adam = torch.optim.Adam.step

    def aside(self: torch.optim.Adam, *given: Any, **more: Any) -> Any:
        # On the CPU Adam counts its steps on the host; on CUDA it is made capturable and counts them there.
        with torch.utils._python_dispatch._disable_current_modes():
            return adam(self, *given, **more)

    monkeypatch.setattr(torch.optim.Adam, "step", aside)
    rows = [table.clone() for table in (trainer.plans[0].mtr[1], trainer.plans[0].mts[1])]
    drawn = trainer._noise(1)
    noise = None if drawn is None else drawn(trainer._like(), ())
    before = trainer.parts.proposer.head[0].weight.detach().clone()
    with NoWaiting():
        constant = None if noise is None else lambda _image, _sources: noise
        trainer._work(trainer.options.hypergradient, tuple(rows), rates := (torch.ones(()), torch.ones(())), constant)
        trainer._work("fusion", (rows[0],), rates, constant)
    assert not torch.equal(before, trainer.parts.proposer.head[0].weight)


def test_the_watchman_sees_what_would_wait() -> None:
    with NoWaiting(), pytest.raises(AssertionError, match="makes the host wait"):
        torch.ones(2).sum().item()
    with NoWaiting(), pytest.raises(AssertionError, match="copies from the host"):
        torch.ones(2).new_tensor([1.0, 2.0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("name", VARIANTS)
def test_graphs_on_cuda_give_what_eager_steps_give_there_and_on_the_cpu(name: str) -> None:
    cuda, steps = torch.device("cuda"), 24
    trainers = {
        "captured": _trainer(cuda, **VARIANTS[name]),
        "eager": _trainer(cuda, cuda_graphs=False, **VARIANTS[name]),
        "cpu": _trainer(**VARIANTS[name]),
    }
    before = {key: value.clone() for key, value in trainers["cpu"].networks.state_dict().items()}
    losses: dict[str, list[Tensor]] = {}
    with float32_products():
        for form, trainer in trainers.items():
            losses[form] = [trainer.step(index)["total"].double().cpu() for index in range(steps)]
    taken = trainers["captured"]._captured
    assert taken is not None
    assert trainers["eager"]._captured is None
    kinds = {trainers["cpu"].schedule.kind(index) for index in range(steps)}
    assert {kind for (kind, _), step in taken._steps.items() if step.captured} == kinds
    for form, limit in (("eager", 1e-4), ("cpu", 1e-3)):
        torch.testing.assert_close(
            torch.stack(losses["captured"]), torch.stack(losses[form]), rtol=limit, atol=1e-7, msg=form
        )
        found, expected = (trainers[k].networks.state_dict() for k in ("captured", form))
        apart = torch.stack([(found[key].cpu() - expected[key].cpu()).norm() for key in before]).norm()
        moved = torch.stack([(expected[key].cpu() - before[key]).norm() for key in before]).norm()
        # Adam takes the sign of gradients that are nothing but rounding.
        assert apart < 0.05 * moved, (form, float(apart), float(moved))
