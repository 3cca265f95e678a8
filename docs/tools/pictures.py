"""Draw pictures of finished runs for the page on training: ``python docs/tools/pictures.py RUN...``.

For each run it writes small pictures into ``docs/images`` and its section into ``docs/training.md``. Everything that
the section says is read from the run's folder.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fusionkit.plugins import catalogue
from fusionkit.train.run_folder import RunFolder

DOCS = Path(__file__).parent.parent
PAGE = DOCS / "training.md"
_ROWS = 5
_WIDTH = 170
_LARGEST = 140_000
_SECTIONS = re.compile(r"(<!-- runs -->\n)(?P<body>.*?)(<!-- end of runs -->)", re.DOTALL)


def sheet(place: Path, sources: tuple[str, ...]) -> np.ndarray:
    """Draw the sources, then one row per snapshot: the fused image, w and v of source a."""
    steps = sorted({file.name.partition("_")[0] for file in place.glob("step-*_fused.png")})
    kept = [steps[round(k * (len(steps) - 1) / (_ROWS - 1))] for k in range(_ROWS)] if len(steps) > _ROWS else steps
    top = [(role, place / f"source_{letter}.png") for role, letter in zip(sources, "ab", strict=True)]
    rows = [top] + [
        [
            (f"{label}, step {int(step.removeprefix('step-'))}", place / f"{step}_{name}.png")
            for label, name in (("fused", "fused"), (f"w of {sources[0]}", "w_a"), (f"v of {sources[0]}", "v_a"))
        ]
        for step in kept
    ]
    return np.concatenate([_strip(row) for row in rows])


def _strip(row: list[tuple[str, Path]]) -> np.ndarray:
    tiles = []
    for label, file in row:
        image = cv2.imread(str(file), cv2.IMREAD_COLOR)
        height = round(image.shape[0] * _WIDTH / image.shape[1])
        image = cv2.resize(image, (_WIDTH, height), interpolation=cv2.INTER_AREA)
        tile = cv2.copyMakeBorder(image, 20, 6, 3, 3, cv2.BORDER_CONSTANT, value=(255, 255, 255))
        tiles.append(cv2.putText(tile, label, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA))
    strip = np.concatenate(tiles, 1)
    return cv2.copyMakeBorder(
        strip, 0, 0, 0, 3 * (_WIDTH + 6) - strip.shape[1], cv2.BORDER_CONSTANT, value=(255, 255, 255)
    )


def write_jpeg(path: Path, pixels: np.ndarray) -> None:
    """Write the picture with the best quality that keeps the file small."""
    for quality in range(92, 30, -6):
        data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(data) < _LARGEST:
            break
    path.write_bytes(data)


def command(record: Any) -> str:
    """Return the command that started a run, without the path of its data."""
    given = "".join(f" --set {name}={value}" for name, value in _flat(record.given))
    data = "sample" if record.data == "sample" else "DATA"
    return (
        f"fusionkit train {record.method} --task {record.task} --data {data} --preset {record.preset}{given} "
        f"--seed {record.seed}"
    )


def section(folder: RunFolder) -> str:
    """Write the page's section about a run."""
    record = folder.record
    task = catalogue.tasks.get(record.task)
    machine = record.environment
    rows = list(folder.metrics())
    fusion = [row["fusion.total"] for row in rows if "fusion.total" in row]
    # With the closed-form step R is trained in the meta steps.
    kind = "fusion" if any("fusion.outer" in row for row in rows) else "meta"
    term = "fusion.outer" if kind == "fusion" else "meta.outer"
    rebuilt = [row[term] for row in rows if term in row]
    pictures = []
    for place in sorted((folder.path / "images").glob("pair*")):
        name = f"learning_{record.task}_{place.name.removeprefix('pair')}.jpg"
        write_jpeg(DOCS / "images" / name, sheet(place, task.sources))
        pictures.append(
            f"![{task.title}: the fused image and the weights as training goes](images/{name}){{ .picture }}"
        )
    losses = cv2.imread(str(folder.path / "figures" / "losses.png"), cv2.IMREAD_COLOR)
    write_jpeg(DOCS / "images" / f"losses_{record.task}.jpg", losses)
    where = machine["accelerator"] or machine.get("processor", "")
    what = "the built-in sample" if record.data == "sample" else f"{record.pairs} real pairs"
    return "\n\n".join(
        (
            f"## {task.title[0].upper()}{task.title[1:]}",
            f"{rows[-1]['step']} steps on {what} (fingerprint `{record.fingerprint[:12]}`), on "
            f"{record.device}{f' ({where})' if where else ''} with torch {machine['versions']['torch']}"
            f"{', commit `' + machine['commit'][:10] + '`' if machine['commit'] else ''}:",
            f"```sh\n{command(record)}\n```",
            f"By `metrics.jsonl` the fusion loss went from {fusion[0]:.3g} to {fusion[-1]:.3g}, and the reconstruction "
            f"loss in the {kind} steps from {rebuilt[0]:.3g} to {rebuilt[-1]:.3g}.",
            *pictures,
            f"![The losses of the run](images/losses_{record.task}.jpg){{ .picture }}",
        )
    )


def _flat(values: Any, prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, dict):
            found += _flat(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", json.dumps(value) if isinstance(value, bool) else value))
    return found


def main() -> None:
    """Write the page's sections and pictures for the given runs."""
    runs = [RunFolder.open(Path(argument)) for argument in sys.argv[1:]]
    unfinished = [str(run.path) for run in runs if not run.model.is_file()]
    if unfinished or not runs:
        raise SystemExit(f"give finished runs; not finished: {', '.join(unfinished) or 'none'}")
    body = "\n\n".join(section(run) for run in runs)
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(_SECTIONS.sub(lambda match: f"{match[1]}\n{body}\n\n{match[3]}", text), encoding="utf-8")


if __name__ == "__main__":
    main()
