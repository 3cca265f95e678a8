"""Contact sheets: named test pairs, both sources beside what several methods make of them, to be looked at.

    python -m benchmarks.contact_sheet --data DATA --task ivif --fuser new=FILE --fuser refusion:ivif@v1 --out sheet.jpg

Without ``--pair`` the sheet takes ``--count`` pairs, in equal parts from every test set and evenly spread in it. Each
method fuses as ``fusionkit fuse`` does, every picture stretched to its full range. Prints the names of the pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import cv2
import numpy as np
import torch

import fusionkit
from benchmarks.outer_loss import evenly
from fusionkit.data.pair_finding import find_pairs
from fusionkit.data.pair_set import Pair
from fusionkit.errors import UsageError
from fusionkit.io.atomic import written_aside
from fusionkit.plugins import catalogue

_GAP, _LABEL, _WHITE = 4, 18, (255, 255, 255)


def chosen(pairs: Sequence[Pair], names: Sequence[str], count: int) -> list[Pair]:
    """The pairs called ``names`` (``DATASET/NAME``), or ``count`` of all, in equal parts from every data set.

    Raises:
        UsageError: there is no pair of that name.
    """
    known = {pair.key: pair for pair in pairs}
    for name in names:
        if name not in known:
            raise UsageError(f"--pair {name}: no test pair has that name; {next(iter(known))} is one that there is")
    if names:
        return [known[name] for name in names]
    datasets = list(dict.fromkeys(pair.dataset for pair in pairs))
    found: list[Pair] = []
    for place, dataset in enumerate(datasets):
        own = [pair for pair in pairs if pair.dataset == dataset]
        share = count // len(datasets) + (place < count % len(datasets))
        found += [own[k] for k in evenly(len(own), share)]
    return found


def tile(image: np.ndarray, width: int) -> np.ndarray:
    """An image, grey or BGR, shrunk or enlarged to a width."""
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    shrinks = width < image.shape[1]
    sized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return cv2.cvtColor(sized, cv2.COLOR_GRAY2BGR) if sized.ndim == 2 else sized


def row(images: Sequence[np.ndarray], labels: Sequence[str], width: int) -> np.ndarray:
    """Tiles side by side, a label above each."""
    cells = []
    for image, label in zip(images, labels, strict=True):
        cell = cv2.copyMakeBorder(tile(image, width), _LABEL, _GAP, 0, _GAP, cv2.BORDER_CONSTANT, value=_WHITE)
        cells.append(cv2.putText(cell, label, (2, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA))
    return np.concatenate(cells, 1)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--data", required=True, help="Folder of pairs with a test split.")
@click.option("--task", default="ivif", show_default=True)
@click.option("--pair", "names", multiple=True, metavar="DATASET/NAME", help="Show this pair; may be repeated.")
@click.option("--count", type=click.IntRange(min=1), default=12, show_default=True, help="Pairs, without --pair.")
@click.option("--fuser", "fusers", multiple=True, required=True, metavar="[LABEL=]MODEL", help="As for fusionkit fuse.")
@click.option("--width", type=click.IntRange(min=16), default=200, show_default=True, help="Of a picture, in pixels.")
@click.option("--quality", type=click.IntRange(1, 100), default=80, show_default=True, help="Of the JPEG.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="JPEG to write.")
def main(
    data: str,
    task: str,
    names: Sequence[str],
    count: int,
    fusers: Sequence[str],
    width: int,
    quality: int,
    out: Path,
) -> None:
    """Draw a contact sheet of test pairs."""
    torch.set_num_threads(1)
    kind = catalogue.tasks.get(task)
    pairs = chosen(find_pairs(data, kind, split="test"), names, count)
    models = {}
    for spec in fusers:
        label, _, model = spec.rpartition("=")
        models[label or model] = fusionkit.load(model, task, device="cpu", stretch="full")
    rows = []
    for pair in pairs:
        images = [cv2.imread(str(file), cv2.IMREAD_COLOR) for file in pair.files]
        for model in models.values():
            fused = model.fuse(*pair.files).array(bits=8)
            images.append(fused if fused.ndim == 2 else cv2.cvtColor(fused, cv2.COLOR_RGB2BGR))
        rows.append(row(images, [pair.key, kind.sources[1], *models], width))
        click.echo(pair.key)
    with written_aside(out) as aside:
        cv2.imwrite(str(aside), np.concatenate(rows), [cv2.IMWRITE_JPEG_QUALITY, quality])


if __name__ == "__main__":
    main()
