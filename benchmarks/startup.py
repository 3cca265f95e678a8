"""CPU time of whole commands, beside a bare interpreter and ``import torch``.

    python -m benchmarks.startup [--runs 5]

Every command is a process of its own on one thread, in turns; printed are medians of CPU seconds and the ratio to
``import torch``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

TOOL = ("-m", "fusionkit")


def seconds(*arguments: str) -> float:
    """CPU seconds of a Python process."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    command = [sys.executable, *arguments]
    with subprocess.Popen(command, env={**os.environ, **threads}, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Read the options and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder) / f"{name}.png") for name in "abf"]
        for file in files[:2]:
            cv2.imwrite(file, np.random.default_rng(0).integers(0, 256, (120, 160), dtype=np.uint8))
        pair = ("-a", files[0], "-b", files[1], "-o", files[2], "--force")
        commands: dict[str, tuple[str, ...]] = {
            "python -c pass": ("-c", "pass"),
            "import torch": ("-c", "import torch"),
            "fusionkit --help": (*TOOL, "--help"),
            "fusionkit plugins list": (*TOOL, "plugins", "list"),
            "fusionkit metrics": (*TOOL, "metrics"),
            "fusionkit models": (*TOOL, "models"),
            "fusionkit fuse -m laplacian, 120x160": (*TOOL, "fuse", "-m", "laplacian", *pair),
        }
        took: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(given.runs):
            for name, words in commands.items():
                took[name].append(seconds(*words))
    torch = statistics.median(took["import torch"])
    print("| command | CPU s | of `import torch` |\n| --- | --- | --- |")
    for name, values in took.items():
        print(f"| {name} | {statistics.median(values):.2f} | {statistics.median(values) / torch:.2f} |")


if __name__ == "__main__":
    main()
