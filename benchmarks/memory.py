"""Peak of resident memory of fusing two files into one, by method and size.

    python -m benchmarks.memory [--model refusion:ivif,laplacian] [--size 4K,8K,100MP] [--bits 16] [--suffix .png]

Each measurement is a process of its own, ``fusionkit fuse`` of a grey and a colour file with the range stretch, on one
thread. Printed are the peak of resident memory of the whole process in MiB and its CPU seconds per megapixel.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

SIZES = {
    "VGA": (480, 640),
    "HD": (1080, 1920),
    "4K": (2160, 3840),
    "8K": (4320, 7680),
    "100MP": (8660, 11548),
}
MODELS = "refusion:ivif,average,laplacian,rolp,dwt,dtcwt,gff,tsvs,cbf,pca,mertens,focus-gf,gtf"


def scene(height: int, width: int, channels: int, bits: int, seed: int) -> np.ndarray:
    """A picture of waves, edges and noise, made a strip of rows at a time."""
    draw = np.random.default_rng(seed)
    greatest = 2**bits - 1
    out = np.empty((height, width, channels), np.uint8 if bits == 8 else np.uint16)
    x = np.arange(width, dtype=np.float32)
    for top in range(0, height, 256):
        y = np.arange(top, min(top + 256, height), dtype=np.float32)[:, None]
        for channel in range(channels):
            plane = 0.5 + 0.2 * np.sin(x / (17 + 9 * channel + seed)) * np.cos(y / (29 + 5 * seed))
            plane += 0.15 * ((x // (90 + 20 * seed) + y // 70) % 2) + 0.01 * draw.standard_normal(
                plane.shape, np.float32
            )
            out[top : top + 256, :, channel] = np.rint(plane.clip(0, 1) * greatest)
    return out


def make_sources(folder: Path, size: str, bits: int, suffix: str) -> tuple[Path, Path]:
    """Write a grey and a colour source of a size."""
    import cv2

    height, width = SIZES[size]
    files = folder / f"a-{size}{suffix}", folder / f"b-{size}{suffix}"
    for seed, (file, channels) in enumerate(zip(files, (1, 3), strict=True)):
        if not cv2.imwrite(str(file), scene(height, width, channels, bits, seed)):
            raise SystemExit(f"{file}: cannot be written")
    return files


def measure(model: str, sources: tuple[Path, Path], out: Path) -> tuple[float, float]:
    """Peak of resident memory in MiB, and CPU seconds, of one command."""
    command = [
        sys.executable,
        "-m",
        "fusionkit",
        "fuse",
        "--model",
        model,
        "-a",
        str(sources[0]),
        "-b",
        str(sources[1]),
    ]
    command += ["-o", str(out), "--stretch", "full", "--device", "cpu", "--force"]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    with subprocess.Popen(command, env={**os.environ, **threads}, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: ended with {process.returncode}")
    return usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime  # Linux states KiB


def main() -> None:
    """Read the options and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=MODELS, help="models, separated by commas")
    parser.add_argument("--size", default="VGA,4K,8K,100MP", help=f"sizes, separated by commas: {', '.join(SIZES)}")
    parser.add_argument("--bits", type=int, choices=(8, 16), default=16)
    parser.add_argument("--suffix", choices=(".png", ".tif"), default=".png")
    parser.add_argument("--folder", type=Path, help="where the sources and results lie meanwhile")
    given = parser.parse_args()
    sizes = given.size.split(",")
    print(f"A grey and a colour {given.suffix} of {given.bits} bits, one thread: peak MiB, CPU s per megapixel\n")
    print(f"| model | {' | '.join(sizes)} |\n| --- |{' --- |' * len(sizes)}", flush=True)
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        sources = {}
        for size in sizes:
            # In a process of its own: what this one holds would count as that of its children.
            code = f"import sys; from pathlib import Path; from benchmarks.memory import make_sources; make_sources(Path({name!r}), {size!r}, {given.bits}, {given.suffix!r})"  # noqa: E501
            subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent)
            sources[size] = folder / f"a-{size}{given.suffix}", folder / f"b-{size}{given.suffix}"
        for model in given.model.split(","):
            cells = []
            for size in sizes:
                peak, seconds = measure(model, sources[size], folder / f"out{given.suffix}")
                megapixels = SIZES[size][0] * SIZES[size][1] / 1e6
                cells.append(f"{peak:.0f}, {seconds / megapixels:.2f}")
            print(f"| {model} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
