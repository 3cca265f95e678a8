"""Focus stacks with a known truth: fusers and other programs side by side, in quality, time and memory.

    python -m benchmarks.stacks [--images 2,5,10,30] [--size 1200x1700] [--kinds plane,objects,lamps] [--picture FILE]
    python -m benchmarks.stacks --fuser focus-select --fuser laplacian --shinestacker VENV/bin/python

Renders stacks (``benchmarks.made_stacks``), fuses the files with each program in a process of its own, and prints, per
program: PSNR and SSIM to the truth; the halo, the mean error in grey levels in a ring around bright things that their
light can reach when they are out of focus; CPU seconds and peak of resident memory, each also as a ratio to the first
program of the table, enfuse where it is installed. Every program runs on one thread, as far as it has an option for
that. ``best source`` is no program but the best choice of a source per pixel, made with the truth in hand: near the
border of a thing no source holds the truth.

Beside the fusers: ``enfuse`` (Debian) where it is installed, with its options for focus stacks; and ShineStacker (PyPI,
Python 3.12 or newer) where the interpreter of its virtual environment is given.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.made_stacks import KINDS, MadeStack, make_stack
from fusionkit.metrics.ssim import structural_similarity

_FUSERS = ("focus-select", "focus-gf", "laplacian", "gff", "mertens", "refusion:mfif")
_SHINESTACKER = """
import sys
from pathlib import Path
from shinestacker import FocusStack, PyramidStack, StackJob
folder = Path(sys.argv[1])
job = StackJob("stack", str(folder), input_path="images")
job.add_action(FocusStack("fuse", PyramidStack(), output_path="out", prefix=""))
job.run()
(made,) = (file for file in (folder / "out").rglob("*") if file.is_file())
made.rename(sys.argv[2])
"""


_MEASURED = """
import os, resource, subprocess, sys
status = subprocess.run(sys.argv[1:], stdout=sys.stderr).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)  # Linux states KiB
sys.exit(status)
"""
"""A small process between: a child's peak begins with what its parent holds when it forks."""


@dataclass(frozen=True)
class Cost:
    """CPU seconds and peak of resident memory in MiB of one process."""

    seconds: float
    memory: float


def psnr(image: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio in dB over all channels; infinite for equal images."""
    error = float(np.square(image.astype(np.float64) - truth).mean())
    return float("inf") if error == 0 else 10 * np.log10(255**2 / error)


def halo(image: NDArray[np.uint8], truth: NDArray[np.uint8], around: NDArray[np.bool_]) -> float:
    """Mean absolute error in grey levels over the ring around bright things."""
    return float(np.abs(image.astype(np.float64) - truth)[around].mean()) if around.any() else float("nan")


def ssim(image: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """SSIM of the luminance, Gaussian window of 11 pixels."""
    grey = [torch.from_numpy(cv2.cvtColor(each, cv2.COLOR_RGB2GRAY))[None, None].double() for each in (image, truth)]
    return float(structural_similarity(*grey))


def read(path: Path) -> NDArray[np.uint8]:
    """Read an image as ``(H, W, 3)`` RGB."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise SystemExit(f"{path}: cannot be read as an image")
    return np.asarray(image, np.uint8)


def run(command: Sequence[str]) -> Cost:
    """Run a program on one thread and measure it.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")
    one = {**os.environ, **dict.fromkeys(names, "1")}
    made = subprocess.run([sys.executable, "-I", "-S", "-c", _MEASURED, *command], env=one, capture_output=True)
    if made.returncode:
        raise RuntimeError(f"{command[0]} failed: {made.stderr.decode(errors='replace')[-400:]}")
    seconds, memory = made.stdout.split()[-2:]
    return Cost(float(seconds), float(memory))


def programs(fusers: Sequence[str], files: Sequence[Path], out: Path, shinestacker: str) -> dict[str, list[str]]:
    """The command line of each program, by its name."""
    named = [str(file) for file in files]
    found: dict[str, list[str]] = {}
    if enfuse := shutil.which("enfuse"):
        weights = ["--exposure-weight=0", "--saturation-weight=0", "--contrast-weight=1", "--hard-mask"]
        found["enfuse"] = [enfuse, *weights, "-o", str(out), *named]
    for name in fusers:
        found[name] = [sys.executable, "-m", "fusionkit", "fuse", "-m", name, *named, "-o", str(out), "--force"]
    if shinestacker:
        found["shinestacker"] = [shinestacker, "-c", _SHINESTACKER, str(files[0].parent.parent), str(out)]
    return found


def compare(stack: MadeStack, title: str, fusers: Sequence[str], shinestacker: str, keep: Path | None) -> None:
    """Print the table of one stack."""
    print(f"\n{title}\n\n| program | PSNR dB | SSIM | halo | CPU s | times | peak MiB | times |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "images").mkdir()
        files = []
        for k, image in enumerate(stack.images()):
            files.append(folder / "images" / f"{k:02d}.png")
            cv2.imwrite(str(files[-1]), image[..., ::-1])
        first: Cost | None = None
        for name, command in programs(fusers, files, folder / "fused.png", shinestacker).items():
            try:
                cost = run(command)
            except RuntimeError as error:
                print(f"| {name} | {' '.join(str(error).split())} | | | | | | |", flush=True)
                continue
            first = first or cost
            fused = read(folder / "fused.png")
            ratios = f"{cost.seconds / first.seconds:.2f} | {cost.memory:.0f} | {cost.memory / first.memory:.2f}"
            print(f"{_quality(name, fused, stack)} {cost.seconds:.1f} | {ratios} |", flush=True)
            if keep:
                kind = title.split(",")[0]
                cv2.imwrite(str(keep / f"{kind}-{stack.count}-{name.replace(':', '-')}.png"), fused[..., ::-1])
        print(f"{_quality('best source', stack.best(), stack)} | | | |", flush=True)


def _quality(name: str, fused: NDArray[np.uint8], stack: MadeStack) -> str:
    close = psnr(fused, stack.truth)
    far = halo(fused, stack.truth, stack.around)
    shown = "" if np.isnan(far) else f"{far:.2f}"
    return f"| {name} | {'exact' if np.isinf(close) else f'{close:.1f}'} | {ssim(fused, stack.truth):.4f} | {shown} |"


def _size(text: str) -> tuple[int, int]:
    height, width = (int(part) for part in text.split("x"))
    return height, width


def main() -> None:
    """Read the options and print one table per stack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", default="2,5,10,30", metavar="N,...", help="numbers of images")
    parser.add_argument("--size", type=_size, default=(1200, 1700), metavar="HxW")
    parser.add_argument("--kinds", default=",".join(KINDS), metavar="KIND,...", help=", ".join(KINDS))
    parser.add_argument("--picture", type=Path, help="tiled to the ground, in place of a drawn texture")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fuser", action="append", metavar="MODEL", help=f"may be repeated [{', '.join(_FUSERS)}]")
    parser.add_argument("--shinestacker", default="", metavar="PYTHON", help="interpreter that has shinestacker")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the fused images")
    given = parser.parse_args()
    picture = None
    if given.picture:
        picture = read(given.picture)
    if given.keep:
        given.keep.mkdir(parents=True, exist_ok=True)
    height, width = given.size
    for kind in given.kinds.split(","):
        for count in (int(number) for number in given.images.split(",")):
            stack = make_stack(kind, count, size=given.size, seed=given.seed, picture=picture)
            title = f"{kind}, {count} images of {height}x{width}"
            compare(stack, title, given.fuser or _FUSERS, given.shinestacker, given.keep)


if __name__ == "__main__":
    main()
