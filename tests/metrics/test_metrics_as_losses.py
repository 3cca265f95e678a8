"""Differentiable metrics serve as fusion losses: inside a LossProposer, forwards, backwards and mixed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from fusionkit.contracts import LossProposer, Proposal, Terms
from fusionkit.metrics import build
from fusionkit.metrics.inputs import CachingMetric
from fusionkit.metrics.ssim import SSIM
from fusionkit.metrics.windows import Window
from fusionkit.plugins import catalogue
from fusionkit.testing import check_loss_proposer
from tests.support.metric_scenes import scene

LOSSES = [
    entry.name
    for entry in catalogue.metrics.entries()
    if entry.built_in and (info := catalogue.metrics.get(entry.name).info).differentiable and info.needs == "sources"
]


class MetricLoss(LossProposer):
    """One metric against each source, weighed by a learned share of that source; images in [0, 1]."""

    def __init__(self, metric: CachingMetric, config: None = None) -> None:
        super().__init__(config)
        self.metric = metric
        self.score = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, *sources: Tensor) -> Proposal:
        return {"w": torch.softmax(torch.cat([self.score(source) for source in sources], 1), 1)}

    def loss(self, proposal: Proposal, fused: Tensor, sources: Sequence[Tensor]) -> Terms:
        sign = -1 if self.metric.info.higher_is_better else 1
        values = [self.metric(255 * fused, 255 * source) for source in sources]
        shares = proposal["w"].mean((2, 3)).unbind(1)
        return {"total": sum(sign * (w * value).mean() for w, value in zip(shares, values, strict=True))}


def test_a_metric_in_a_loss_proposer_keeps_the_contract() -> None:
    window = SSIM(window=Window(5, 1.5))

    class StructureLoss(MetricLoss):
        def __init__(self, config: None = None) -> None:
            super().__init__(window, config)

    check_loss_proposer(StructureLoss, sizes=[(12, 15), (9, 8)])


def test_there_are_metrics_to_train_with() -> None:
    assert {"SSIM", "MS-SSIM", "VIFp", "Qabf", "CC", "SCD", "MSE", "PSNR", "MEF-SSIM"} <= set(LOSSES)


@pytest.mark.parametrize("name", LOSSES)
def test_a_step_down_the_loss_betters_the_metric(name: str) -> None:
    metric = build(name)
    assert isinstance(metric, CachingMetric)
    size = max(metric.min_size, 24)
    fused, *sources = scene(size, size, seed=9)
    fused = (fused + torch.rand(fused.shape, dtype=fused.dtype, generator=torch.Generator().manual_seed(1))) / 257
    fused.requires_grad_()
    before = metric(255 * fused, *sources)
    (slope,) = torch.autograd.grad(before.sum(), fused)
    sign = 1 if metric.info.higher_is_better else -1
    with torch.no_grad():
        step = 1e-5 * slope / slope.abs().max()
        after = metric(255 * (fused + sign * step), *sources)
    assert float(sign * (after - before.detach())) > 0


@pytest.mark.parametrize("name", ["SSIM", "CC", "MSE", "VIFp"])
def test_the_derivative_along_a_direction_is_the_gradients_part_in_it(name: str) -> None:
    metric = build(name)
    assert isinstance(metric, CachingMetric)
    size = max(metric.min_size, 16)
    fused, a, b = (x + 0.25 for x in scene(size, size, seed=10))
    fused = fused + torch.rand(fused.shape, dtype=fused.dtype, generator=torch.Generator().manual_seed(2))
    along = torch.randn(fused.shape, dtype=fused.dtype, generator=torch.Generator().manual_seed(3))
    _, forwards = torch.func.jvp(lambda x: metric(x, a, b), (fused,), (along,))
    leaf = fused.clone().requires_grad_()
    (slope,) = torch.autograd.grad(metric(leaf, a, b).sum(), leaf)
    assert float(forwards) == pytest.approx(float((slope * along).sum()), rel=1e-8)
