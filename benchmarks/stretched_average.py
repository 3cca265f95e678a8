"""The plain average stretched to its full range, the fair yardstick of a fuser that stretches its results.

Usage: python benchmarks/stretched_average.py --data DATA --task mif --dataset Harvard_MRI_CT
"""

from __future__ import annotations

import argparse

import torch

from fusionkit.data.pairs import find_pairs
from fusionkit.metrics import read_luminance, score
from fusionkit.plugins import catalogue


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("--data", "--task", "--dataset"):
        parser.add_argument(name, required=True)
    options = parser.parse_args()
    names = ["EN", "SD", "SF", "AG", "SCD", "SSIM", "Qabf"]
    rows = []
    for pair in find_pairs(options.data, catalogue.tasks.get(options.task), split="test", dataset=options.dataset):
        images = (torch.as_tensor(read_luminance(file), dtype=torch.float64) for file in pair.files)
        a, b = (image.reshape(1, 1, *image.shape[-2:]) for image in images)
        mean = (a + b) / 2
        fused = ((mean - mean.min()) / (mean.max() - mean.min()) * 255).round()
        scores = score(fused, a, b, metrics=names, profile="refusion")
        rows.append([float(scores[name]) for name in names])
    means = torch.tensor(rows).mean(0)
    print(f"{options.dataset} {len(rows)} ", *(f"{n} {v:.3f}" for n, v in zip(names, means.tolist(), strict=True)))


if __name__ == "__main__":
    main()
