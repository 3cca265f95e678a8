"""Pictures of a run: the fused image and the learned weights over the steps, and the curves of the losses."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import torch.nn.functional as F
from torch import Tensor

from fusionkit.contracts import MetaTrainer
from fusionkit.io.atomic import written_aside
from fusionkit.train.run_folder import RunFolder

_MARGIN = 4
_LABEL = 22
_LONGEST = 640


def save_snapshot(folder: Path, step: int, pairs: Sequence[Sequence[Tensor]], trainer: MetaTrainer) -> None:
    """Write ``images/pair<k>/step-<n>_<name>.png`` for every map a trainer shows of each pair, the sources once.

    Args:
        folder: the run's folder.
        step: steps done.
        pairs: sources ``(1, C, H, W)`` in [0, 1] of the pairs that are followed; shown at most 640 pixels wide or
            high, as a trainer keeps every feature of what it shows.
        trainer: gives the maps, see :meth:`fusionkit.contracts.MetaTrainer.snapshot`.
    """
    for k, whole in enumerate(pairs):
        sources = [_shown(source) for source in whole]
        place = folder / "images" / f"pair{k}"
        for letter, source in zip("abcdefgh", sources, strict=False):
            if not (place / f"source_{letter}.png").exists():
                _write(place / f"source_{letter}.png", grey(source))
        for name, image in trainer.snapshot(sources).items():
            _write(place / f"step-{step:08d}_{name}.png", grey(image))


def _shown(source: Tensor) -> Tensor:
    shrink = _LONGEST / max(source.shape[2:])
    if shrink >= 1:
        return source
    size = [max(round(side * shrink), 1) for side in source.shape[2:]]
    return F.interpolate(source, size, mode="bilinear", antialias=True, align_corners=False).clamp(0, 1)


def draw_run(folder: RunFolder) -> None:
    """Draw a run's two figures from what lies in its folder: ``figures/losses.png`` and ``figures/learning_<k>.png``.

    The second shows, for each followed pair, the sources and then one row per snapshot: the fused image and the
    proposed weights as training goes (Figs. 8-12 of the ReFusion paper).
    """
    _draw_losses(folder)
    for place in sorted((folder.path / "images").glob("pair*")):
        sheet = _learning_sheet(place)
        if sheet is not None:
            _write(folder.path / "figures" / f"learning_{place.name.removeprefix('pair')}.png", sheet)


def grey(image: Tensor) -> np.ndarray:
    """``(1, C, H, W)`` in [0, 1] as 8-bit ``(H, W)`` or ``(H, W, 3)`` BGR, rounded to the nearest."""
    pixels = (image[0].detach().cpu().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    return pixels[..., 0] if pixels.shape[2] == 1 else pixels[..., ::-1]


def _write(path: Path, pixels: np.ndarray) -> None:
    with written_aside(path) as aside:
        aside.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())


def _learning_sheet(place: Path) -> np.ndarray | None:
    steps = sorted({file.name.split("_", 1)[0] for file in place.glob("step-*.png")})
    if not steps:
        return None
    names = sorted({file.stem.split("_", 1)[1] for file in place.glob(f"{steps[0]}_*.png")})
    sources = sorted(place.glob("source_*.png"))
    first = [(file.stem.replace("_", " "), _read(file)) for file in sources]
    rows = [first] + [
        [
            (f"{name.replace('_', ' ')}, step {int(step.removeprefix('step-'))}", _read(place / f"{step}_{name}.png"))
            for name in names
        ]
        for step in steps
    ]
    height, width = first[0][1].shape[:2]
    scale = min(1.0, 240 / width)
    return np.concatenate([_strip(row, max(len(first), len(names)), height, width, scale) for row in rows])


def _strip(row: list[tuple[str, np.ndarray]], columns: int, height: int, width: int, scale: float) -> np.ndarray:
    h, w = max(int(height * scale), 1), max(int(width * scale), 1)
    strip = np.full((h + _LABEL + _MARGIN, columns * (w + _MARGIN), 3), 255, np.uint8)
    for k, (label, image) in enumerate(row):
        left = k * (w + _MARGIN)
        strip[_LABEL : _LABEL + h, left : left + w] = cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA)
        cv2.putText(strip, label, (left + 2, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return strip


def _read(file: Path) -> np.ndarray:
    image = cv2.imread(str(file), cv2.IMREAD_COLOR)
    assert image is not None, file
    return image


def _draw_losses(folder: RunFolder) -> None:
    from matplotlib.figure import Figure

    rows = list(folder.metrics())
    names = sorted({name for row in rows for name in row} - {"step", "seconds_per_step"})
    if not names:
        return
    figure = Figure(figsize=(4 * min(len(names), 3), 2.6 * -(-len(names) // 3)), layout="constrained")
    for k, name in enumerate(names):
        axes = figure.add_subplot(-(-len(names) // 3), min(len(names), 3), k + 1)
        points = [(row["step"], row[name]) for row in rows if name in row]
        axes.plot([x for x, _ in points], [y for _, y in points], linewidth=1)
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=7)
        if min(y for _, y in points) > 0:
            axes.set_yscale("log")
    figure.supxlabel("step", fontsize=9)
    stream = BytesIO()
    figure.savefig(stream, format="png", dpi=120)
    with written_aside(folder.path / "figures" / "losses.png") as aside:
        aside.write_bytes(stream.getvalue())
