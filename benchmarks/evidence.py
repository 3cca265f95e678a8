"""Measure which w and v the reconstruction loss asks for, with and without noise between the fused image and R.

R is trained to rebuild the sources from their average. At some steps, on other pairs, the gradient of its loss for w
and v is correlated with which source has the stronger edges around a pixel. A correlation of 1 asks for the stronger
source everywhere; one that changes sign during training asks for nothing.

Usage: python benchmarks/evidence.py --data DATA --task mfif
"""

from __future__ import annotations

from functools import partial

import click
import torch
import torch.nn.functional as F
from torch import Tensor

from fusionkit.contracts import Batch
from fusionkit.data.epoch_plan import draw_epoch
from fusionkit.data.pair_finding import find_pairs
from fusionkit.data.pair_store import PairStore
from fusionkit.plugins import catalogue
from fusionkit.train.bilevel import evidence
from fusionkit.train.bilevel.noise import Noise, draw_noise, through
from fusionkit_refusion.proposer import EqualProposer
from fusionkit_refusion.reconstructor import ReconstructorOptions, ReFusionReconstructor
from fusionkit_restormer.losses import sobel

SHOWN = 100


def edges(source: Tensor) -> Tensor:
    """Square root of the Sobel energy in the 5x5 pixels around each pixel."""
    return F.avg_pool2d(sobel(source).square().sum(1, keepdim=True), 5, 1, 2).sqrt()


def agreement(outer_loss: ReFusionReconstructor, held: list[Batch], noise: Noise | None) -> tuple[float, float]:
    """Mean correlation of the gradient for w and v of source a with where a has the stronger edges."""
    proposer = EqualProposer()
    found: dict[str, list[Tensor]] = {"w": [], "v": []}
    for batch in held:
        a, b = batch.sources
        average = ((a + b) / 2).requires_grad_()
        (tangent,) = torch.autograd.grad(outer_loss.loss(through(noise, average, batch), batch)["total"], average)
        told = evidence(proposer, proposer(a, b), average.detach(), tangent, batch.sources)
        there = edges(a) + edges(b) > 0.2
        stronger = (4 * (edges(a) - edges(b))).tanh()[there]
        for name, maps in told.items():
            # Evidence is negative where the loss would fall.
            found[name].append(torch.corrcoef(torch.stack((-maps[:, :1][there], stronger)))[0, 1])
    return float(torch.stack(found["w"]).mean()), float(torch.stack(found["v"]).mean())


@click.command(help=__doc__)
@click.option("--data", required=True, help="Pairs with a train and a test split.")
@click.option("--task", required=True)
@click.option("--noise", "deviation", default=0.1, show_default=True, help="Standard deviation, fine and coarse.")
@click.option("--steps", default=400, show_default=True)
@click.option("--threads", default=1, show_default=True)
def main(data: str, task: str, deviation: float, steps: int, threads: int) -> None:
    torch.set_num_threads(threads)
    kind = catalogue.tasks.get(task)
    device = torch.device("cpu")
    stores = {
        s: PairStore.from_pairs(find_pairs(data, kind, split=s), device=device, smallest=64) for s in ("train", "test")
    }
    draw = partial(draw_epoch, seed=0, epoch=0, meta_steps=0, batch=4, crop=64)
    plan = draw(stores["train"].sizes, fusion_steps=steps).ftr
    held = [stores["test"].crops(rows, 64) for rows in draw(stores["test"].sizes, fusion_steps=12).ftr]
    click.echo(f"{task}: correlation of the evidence with the stronger edges, w / v")
    for sigma in (0.0, deviation):
        torch.manual_seed(0)
        outer_loss = ReFusionReconstructor(ReconstructorOptions(dim=8, blocks=2))
        optimiser = torch.optim.Adam(outer_loss.parameters(), lr=3e-3)
        told = []
        for step, rows in enumerate(plan, 1):
            batch = stores["train"].crops(rows, 64)
            drawn = draw_noise(batch.sources[0], pixel=sigma, patch=sigma, seed=0, step=step)
            noise = (lambda _image, _sources, drawn=drawn: drawn) if sigma else None
            optimiser.zero_grad()
            outer_loss.loss(through(noise, (batch.sources[0] + batch.sources[1]) / 2, batch), batch)["total"].backward()
            optimiser.step()
            if step % SHOWN == 0:
                w, v = agreement(outer_loss, held, noise)
                told.append(f"{step}: {w:+.2f} / {v:+.2f}")
        click.echo(f"noise {sigma:g}:  " + "   ".join(told))


if __name__ == "__main__":
    main()
