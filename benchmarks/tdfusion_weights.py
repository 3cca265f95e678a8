"""Draw the weights that different downstream tasks lead to: several runs side by side, one row per pair.

Usage: python benchmarks/tdfusion_weights.py runs/detection runs/segmentation --data DATA --out weights.png

Each row shows the sources of a pair and then, for every run, its fused image and the weight w_a that its loss proposer
gives the first source: white where the first source decides, black where the second does, grey for 1/2. This is
figure 5 of the TDFusion paper; it serves any method with a loss proposer.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

import fusionkit
from fusionkit.bench.weight_maps import learned_proposer
from fusionkit.config import read_toml
from fusionkit.data.pair_finding import find_pairs
from fusionkit.data.pair_set import PairSet
from fusionkit.errors import UsageError
from fusionkit.io.atomic import written_aside
from fusionkit.io.color import luminance
from fusionkit.io.images import read_image
from fusionkit.plugins import catalogue
from fusionkit.train.figures import grey
from fusionkit.train.run_folder import OPTIONS, RunFolder

WIDTH, MARGIN, LABEL = 256, 4, 22


def shrunk(image: Tensor, width: int) -> Tensor:
    """``(1, C, H, W)`` at most ``width`` wide."""
    height, wide = image.shape[2:]
    if wide <= width:
        return image
    size = (max(round(height * width / wide), 1), width)
    return torch.nn.functional.interpolate(image, size, mode="bilinear", antialias=True, align_corners=False)


def row(sources: list[Tensor], runs: list[Path]) -> list[np.ndarray]:
    """Return the sources of a pair and, per run, the fused image and its weights, as 8-bit images."""
    shown = [grey(source) for source in sources]
    for run in runs:
        proposer = learned_proposer(run)
        if proposer is None:
            raise UsageError(f"{run}: its loss proposer learned nothing: choose a run with trainable weights")
        with torch.no_grad():
            fused = fusionkit.load(run, device="cpu").fuse(*sources).tensor
            shown += [grey(fused), *(grey(maps[:, :1]) for maps in proposer.eval()(*sources).values())]
    return shown


def heads(pairs: PairSet, runs: list[Path]) -> list[str]:
    """Labels of the columns."""
    named = list(pairs.task.sources)
    for run in runs:
        proposer = learned_proposer(run)
        maps = () if proposer is None else proposer(*(torch.zeros(1, 1, 8, 8) for _ in pairs.task.sources))
        task = read_toml(run / OPTIONS).get("downstream", RunFolder.open(run).record.method)
        named += [f"fused, {task}", *(f"{name}_a, {task}" for name in maps)]
    return named


def sheet(rows: list[list[np.ndarray]], labels: list[str]) -> np.ndarray:
    """Draw one picture: one row per pair, one column per label."""
    strips = []
    for images in rows:
        height, width = images[0].shape[:2]
        strip = np.full((height + LABEL, len(images) * (width + MARGIN)), 255, np.uint8)
        for k, (image, label) in enumerate(zip(images, labels, strict=True)):
            left = k * (width + MARGIN)
            strip[LABEL:, left : left + width] = image
            cv2.putText(strip, label, (left + 2, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.42, 0, 1, cv2.LINE_AA)
        strips.append(strip)
    widest = max(strip.shape[1] for strip in strips)
    return np.concatenate([np.pad(s, ((0, 0), (0, widest - s.shape[1])), constant_values=255) for s in strips])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="run folders")
    parser.add_argument("--data", required=True, help="pairs, as for fusionkit train")
    parser.add_argument("--split", default="test")
    parser.add_argument("--names", nargs="*", help="the pairs to show; the first ones if not given")
    parser.add_argument("--count", type=int, default=4, help="how many pairs")
    parser.add_argument("--width", type=int, default=WIDTH, help="of an image, in pixels, at most")
    parser.add_argument("--out", type=Path, default=Path("weights.png"), help="a .png or .jpg file")
    options = parser.parse_args(arguments)
    task = catalogue.tasks.get(RunFolder.open(options.runs[0]).record.task)
    pairs = find_pairs(options.data, task, split=options.split, names=options.names)
    rows = []
    for pair in list(pairs)[: options.count]:
        sources = [shrunk(luminance(read_image(file).tensor()), options.width) for file in pair.files]
        rows.append(row(sources, options.runs))
    kind = ".jpg" if options.out.suffix.lower() in (".jpg", ".jpeg") else ".png"
    picture = cv2.imencode(kind, sheet(rows, heads(pairs, options.runs)))[1]
    with written_aside(options.out) as aside:
        aside.write_bytes(picture.tobytes())
    print(options.out)


if __name__ == "__main__":
    main()
