"""Measure what is not right in published networks, and what is left of it by default.

Zeros beyond the border: a crop is fused, and compared with the same place of the whole image, which knows what lies
beyond. Printed are the mean differences in levels of 255 in a frame of 4 pixels and inside, as published (zeros) and by
default. Values that wrap: the share of pixels that the authors' program turns from below 0 to bright ones.

    python benchmarks/published_faults.py --weights FOLDER --data DATA

FOLDER holds the published weights as NAME.safetensors, DATA pairs with a MANIFEST.csv.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor

from fusionkit.io.color import luminance
from fusionkit.io.images import read_image
from fusionkit.models.recognition import import_published

FRAME = 4
SIDE = 192
CASES = (
    ("DIDFuse", "didfuse", "ivif", "TNO"),
    ("LUT-Fuse", "lut-fuse", "ivif", "MSRS"),
    ("SESF-Fuse", "sesf-fuse", "mfif", "Lytro"),
    ("MATR", "matr", "mif", "Harvard_MRI_SPECT"),
)


def sources_of(data: Path, task: str, dataset: str, count: int) -> list[list[Tensor]]:
    """Read the first test pairs of a data set, as RGB."""
    rows = csv.DictReader((data / "MANIFEST.csv").read_text(encoding="utf-8").splitlines())
    chosen = [row for row in rows if (row["task"], row["dataset"], row["split"]) == (task, dataset, "test")][:count]
    return [[read_image(data / row[k]).tensor().expand(-1, 3, -1, -1) for k in ("file_a", "file_b")] for row in chosen]


def border_difference(fuse: Any, sources: list[Tensor], space: str) -> tuple[float, float]:
    """Mean difference, in levels, of a fused crop from the fused whole image: in a frame of 4 pixels, and inside."""
    planes = sources if space == "rgb" else [luminance(source) for source in sources]
    top, left = ((side - SIDE) // 2 for side in planes[0].shape[2:])
    window = (..., slice(top, top + SIDE), slice(left, left + SIDE))
    white = fuse.conventions.white
    whole = fuse.fuse(*planes)[window]
    gap = (fuse.fuse(*(plane[window] for plane in planes)) - whole).abs() * 255 / white
    inner = torch.ones_like(gap, dtype=torch.bool)
    inner[..., FRAME:-FRAME, FRAME:-FRAME] = False
    return float(gap[inner].mean()), float(gap[~inner].mean())


@click.command()
@click.option("--weights", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--pairs", default=6, show_default=True)
def main(weights: Path, data: Path, pairs: int) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    click.echo(
        "| network | pairs | frame, published | frame, default | inside, published | inside, default | below 0 |"
    )
    click.echo("| --- | --- | --- | --- | --- | --- | --- |")
    for file, name, task, dataset in CASES:
        values: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
        below = []
        images = sources_of(data, task, dataset, pairs)
        for published in (True, False):
            path = weights / f"{file}.safetensors"
            fuser: Any = import_published((path,), fuser=name, task=task, options={"published": published})[0]
            space = type(fuser).space
            for sources in images:
                with torch.inference_mode():
                    values[published].append(border_difference(fuser, sources, space))
                    if published:
                        planes = sources if space == "rgb" else [luminance(source) for source in sources]
                        below.append(float((fuser.fuse(*planes) <= -fuser.conventions.white / 255).float().mean()))
        means = {key: [sum(column) / len(column) for column in zip(*rows, strict=True)] for key, rows in values.items()}
        shown = [f"{means[key][place]:.2f}" for place in (0, 1) for key in (True, False)]
        click.echo(f"| {file} | {len(images)} | {' | '.join(shown)} | {sum(below) / len(below):.3%} |")


if __name__ == "__main__":
    main()
