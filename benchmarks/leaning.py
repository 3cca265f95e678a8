"""What a fused image is made of: its wide areas regressed on both sources and the brighter one, its gradients on the
stronger and the weaker one.

    python -m benchmarks.leaning --data DATA --task ivif --limit 6 --model ours=FILE --published authors=FILE

Wide areas are means over 17x17 pixels, every fourth taken. Gradients are the signed Sobel responses where one source
has at least 90 % of both sources' energy over 5x5 pixels. Prints Markdown.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.outer_loss import Fuse, Tests, read_tests, without_places
from fusionkit.models.recognition import import_published
from fusionkit.models.weights import load_fuser
from fusionkit.plugins import catalogue
from fusionkit_restormer.losses import sobel

WIDE, WINDOW, EVERY = 17, 5, 4
CLEAR, FAINT = 0.9, 1e-3
"""Share of the energy from which one source is clearly the stronger, and the energy below which neither is."""


def mean_over(image: Tensor, side: int) -> Tensor:
    """Compute means over windows of ``side`` pixels; at the border, over the part of the window inside the image."""
    return F.avg_pool2d(image, side, 1, side // 2, count_include_pad=False)


def fit(target: Tensor, columns: Sequence[Tensor]) -> tuple[list[float], float]:
    """Least squares without a constant: the coefficients, and the share of the target's variance that is explained."""
    x = torch.stack([column.flatten() for column in columns], 1).double()
    y = target.flatten().double()
    found = torch.linalg.lstsq(x, y[:, None]).solution[:, 0]
    rest = (y - x @ found).square().mean() / y.var(correction=0)
    return [float(value) for value in found], 1 - float(rest)


def wide_areas(fused: Sequence[Tensor], pairs: Sequence[tuple[Tensor, Tensor]]) -> tuple[list[float], float, float]:
    """Coefficients of a, b and max(a, b), and R2 with and without the maximum."""
    columns: list[list[Tensor]] = [[], [], [], []]
    for image, (a, b) in zip(fused, pairs, strict=True):
        for column, x in zip(columns, (image, a, b, torch.maximum(a, b)), strict=True):
            column.append(mean_over(x, WIDE)[..., ::EVERY, ::EVERY].flatten())
    y, a, b, most = (torch.cat(column) for column in columns)
    found, explained = fit(y, (a, b, most))
    return found, explained, fit(y, (a, b))[1]


def gains(fused: Sequence[Tensor], pairs: Sequence[tuple[Tensor, Tensor]]) -> list[float]:
    """Gains of the fused gradient on the clearly stronger source's and on the weaker one's."""
    targets, strong, weak = [], [], []
    for image, (a, b) in zip(fused, pairs, strict=True):
        slopes = sobel(a), sobel(b)
        ea, eb = (mean_over(slope.square().sum(1, keepdim=True), WINDOW) for slope in slopes)
        first = ea >= eb
        clear = ((torch.maximum(ea, eb) / (ea + eb + 1e-6) >= CLEAR) & (ea + eb > FAINT)).expand_as(slopes[0])
        targets.append(sobel(image)[clear])
        strong.append(torch.where(first, *slopes)[clear])
        weak.append(torch.where(first, slopes[1], slopes[0])[clear])
    return fit(torch.cat(targets), (torch.cat(strong), torch.cat(weak)))[0]


def line(name: str, fuse: Fuse, test: Tests) -> str:
    """Compute the table's row of one method on one test set."""
    pairs = [test.floats(k) for k in range(len(test.pairs))]
    with torch.no_grad():
        fused = [fuse(*pair) for pair in pairs]
    (a, b, most), explained, without = wide_areas(fused, pairs)
    first, second = gains(fused, pairs)
    numbers = f"{a:.2f}, {b:.2f}, {most:.2f} | {explained:.3f} | {without:.3f} | {first:.2f} / {second:.2f}"
    return f"| {test.dataset} {len(pairs)} | {name} | {numbers} |"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--data", required=True, help="Folder of pairs with a test split.")
@click.option("--task", default="ivif", show_default=True)
@click.option("--limit", type=click.IntRange(min=1), help="Only so many pairs of each test set, evenly spread.")
@click.option("--model", "models", multiple=True, metavar="LABEL=FILE", help="Weights of a fuser.")
@click.option("--published", multiple=True, metavar="LABEL=FILE", help="Weights as ReFusion's authors published them.")
def main(data: str, task: str, limit: int | None, models: Sequence[str], published: Sequence[str]) -> None:
    """Regress fused images on their sources."""
    torch.set_num_threads(1)
    fusers: dict[str, Fuse] = {}
    for spec in published:
        label, _, file = spec.partition("=")
        fusers[label] = import_published((Path(file),), fuser="refusion", task=task)[0]
    for spec in models:
        label, _, file = spec.partition("=")
        fusers[label] = load_fuser(Path(file))[0]
    fusers["maximum"] = torch.maximum
    click.echo(f"`python -m benchmarks.leaning {without_places(sys.argv[1:])}`\n")
    click.echo("| set | method | a, b, max | R2 | R2 without max | gains strong / weak |")
    click.echo("| --- | --- | --- | --- | --- | --- |")
    for test in read_tests(data, catalogue.tasks.get(task), limit):
        for name, fuse in fusers.items():
            click.echo(line(name, fuse, test))


if __name__ == "__main__":
    main()
