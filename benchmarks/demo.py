"""Demo of the README: train ReFusion on the built-in sample, fuse the test pairs, print where the pictures are.

Usage: python benchmarks/demo.py [FOLDER] [--task TASK]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np

from fusionkit.data.pair_finding import find_pairs
from fusionkit.plugins import catalogue


def _run(*arguments: str) -> None:
    print("$ fusionkit", *arguments, flush=True)
    subprocess.run([sys.executable, "-m", "fusionkit", *arguments], check=True)


def _sheet(files: list[Path], labels: list[str]) -> np.ndarray:
    images = [cv2.imread(str(file), cv2.IMREAD_COLOR) for file in files]
    height = min(image.shape[0] for image in images)
    tiles = []
    for image, label in zip(images, labels, strict=True):
        tile = cv2.resize(
            image, (round(image.shape[1] * height / image.shape[0]), height), interpolation=cv2.INTER_AREA
        )
        tile = cv2.copyMakeBorder(tile, 24, 4, 0, 4, cv2.BORDER_CONSTANT, value=(255, 255, 255))
        tiles.append(cv2.putText(tile, label, (4, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA))
    return np.concatenate(tiles, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", default="demo", type=Path)
    parser.add_argument("--task", default="mif")
    options = parser.parse_args()
    task = catalogue.tasks.get(options.task)
    run, began = options.folder / f"refusion-{task.name}", time.monotonic()
    if (run / "run.json").exists():
        _run("train", "--resume", str(run))
    else:
        _run("train", "refusion", "--task", task.name, "--preset", "quick", "--out", str(run))
    pairs = find_pairs("sample", task, split="test")
    pictures = options.folder / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    for pair in pairs:
        files = list(pair.files)
        for model in (str(run), "average", "laplacian"):
            out = pictures / f"{pair.name}_{Path(model).name}.png"
            sources = ["-a", str(files[0]), "-b", str(files[1])]
            _run("fuse", "--model", model, "--task", task.name, *sources, "-o", str(out), "--force")
            files.append(out)
        labels = [*task.sources, "ReFusion", "average", "Laplacian pyramid"]
        cv2.imwrite(str(options.folder / f"{pair.name}.png"), _sheet(files, labels))
    minutes = (time.monotonic() - began) / 60
    print(f"\nDone in {minutes:.1f} minutes. Look at")
    for picture in sorted(options.folder.glob("*.png")):
        print(f"  {os.path.relpath(picture)}: both sources, what ReFusion made of them, average, Laplacian pyramid")
    print(f"  {os.path.relpath(run / 'figures')}: losses, and how the learned weights came about")


if __name__ == "__main__":
    main()
