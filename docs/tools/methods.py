"""Draw the pictures of the page on classical methods: ``python docs/tools/methods.py``.

Per task, a test pair of the built-in sample and what every classical method that is made for it, or for any task, makes
of it: ``docs/images/classical_<task>.jpg``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

import fusionkit
from fusionkit.data.sample import sample_pairs
from fusionkit.plugins import catalogue

sys.path.insert(0, str(Path(__file__).parent))
from pictures import DOCS, write_jpeg
from samples import _tile

PACKAGE = "fusionkit_classical."
SHOWN = {"ivif": 0, "mfif": 0, "meif": 1}
"""Task and position of its test pair."""
PER_ROW = {"ivif": 5, "mfif": 6, "meif": 6}
_WHITE = 255


def methods(task: str) -> list[str]:
    """Return the classical methods to draw: all that fuse any task for the first one, for others two of them."""
    kinds = {e.name: catalogue.fusers.get(e.name) for e in catalogue.fusers.entries() if e.target.startswith(PACKAGE)}
    own = [name for name, kind in kinds.items() if kind.tasks is not None and task in kind.tasks]
    anything = [name for name, kind in kinds.items() if kind.tasks is None]
    return [*anything, *own] if task == next(iter(SHOWN)) else ["average", "laplacian", *own]


def sheet(task_name: str, folder: Path | None = None) -> np.ndarray:
    """Draw the sources of a pair and every result, below its name: BGR."""
    task = catalogue.tasks.get(task_name)
    pair = sample_pairs(task, folder).split("test")[SHOWN[task_name]]
    tiles = [
        _tile(cv2.imread(str(file), cv2.IMREAD_COLOR), role)
        for file, role in zip(pair.files, task.sources, strict=True)
    ]
    for name in methods(task_name):
        fused = fusionkit.load(name, device="cpu").fuse(*pair.files).array(bits=8)
        tiles.append(_tile(cv2.cvtColor(fused, cv2.COLOR_GRAY2BGR if fused.ndim == 2 else cv2.COLOR_RGB2BGR), name))
    blank = np.full_like(tiles[0], _WHITE)
    width = PER_ROW[task_name]
    tiles += [blank] * (-len(tiles) % width)
    return np.concatenate([np.concatenate(tiles[k : k + width], 1) for k in range(0, len(tiles), width)])


def main() -> None:
    """Write the pictures."""
    for task in SHOWN:
        write_jpeg(DOCS / "images" / f"classical_{task}.jpg", sheet(task))
        print(f"docs/images/classical_{task}.jpg: {', '.join(methods(task))}")


if __name__ == "__main__":
    main()
