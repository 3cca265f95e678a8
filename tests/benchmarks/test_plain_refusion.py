"""The plain networks that a training step is measured against are the same functions as the plugin's."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fusionkit.contracts import Batch
from fusionkit_refusion.fuser import ReFusionFuser
from fusionkit_refusion.proposer import ReFusionProposer
from fusionkit_refusion.reconstructor import ReFusionReconstructor

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from plain_refusion import PlainFuser, PlainProposer, PlainReconstructor


def _pair(ours: nn.Module, plain: nn.Module, dtype: torch.dtype) -> tuple[nn.Module, nn.Module]:
    for parameter in ours.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    plain.load_state_dict(ours.state_dict())
    return ours.to(dtype), plain.to(dtype)


def _close(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    for name, gradient in expected.items():
        error = (found[name] - gradient).norm() / gradient.norm().clamp_min(1e-12)
        assert error <= tolerance, f"{name}: {error:.1e}"


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_the_plain_fusion_step_has_the_same_images_losses_and_gradients(dtype: torch.dtype, tolerance: float) -> None:
    fusers = _pair(ReFusionFuser(), PlainFuser(), dtype)
    outer_losses = _pair(ReFusionReconstructor(), PlainReconstructor(), dtype)
    proposers = _pair(ReFusionProposer(), PlainProposer(), dtype)
    sources = tuple(torch.rand(2, 2, 1, 24, 20, dtype=dtype))
    found: list[dict[str, Tensor]] = []
    for fuser, outer_loss, proposer in zip(fusers, outer_losses, proposers, strict=True):
        proposal = proposer(*sources)
        fused = fuser(*sources)
        loss = proposer.loss(proposal, fused, sources)["total"]  # type: ignore[operator]
        judged = outer_loss.loss(fused.detach(), Batch(sources))["total"]  # type: ignore[operator]
        seen = {"fused": fused, "w": proposal["w"], "v": proposal["v"], "loss": loss, "judged": judged}
        parts = ("F", fuser, loss), ("P", proposer, loss), ("R", outer_loss, judged)
        for role, module, total in parts:
            names = dict(module.named_parameters())
            gradients = torch.autograd.grad(total, list(names.values()), retain_graph=True)
            seen |= {f"{role}.{n}": g for n, g in zip(names, gradients, strict=True)}
        found.append(seen)
    _close(found[0], found[1], tolerance)
