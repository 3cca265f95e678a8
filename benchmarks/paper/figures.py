"""Maps the paper's Figs. 8 to 14 to run folders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.paper.pictures import Column, draw, final, learning
from benchmarks.paper.study import Cell, Study
from benchmarks.paper.variants import FULL, halves, sweep

TASKS = {8: "ivif", 9: "mif", 10: "mfif", 11: "meif"}
SWEEPS = {13: 0, 14: 1}


def draw_figure(number: int, study: Callable[[str], Study], out: Path) -> list[Path]:
    """Train what a figure shows, where it is not there yet, and draw it.

    Args:
        number: 8 to 14.
        study: gives the study of a task.
        out: folder of the pictures.

    Returns:
        The files: one a followed pair for Figs. 8 to 11, 13 and 14, one for Fig. 12.
    """
    if number in TASKS:
        (cell,) = _first(study(TASKS[number]).trained((FULL,)))
        return [draw(out / f"figure{number}-{k}.png", learning(cell.path, k)) for k in _followed(cell)]
    if number in SWEEPS:
        chosen = study("ivif")
        assert chosen.schedule is not None
        variants = sweep(halves(6)[SWEEPS[number]], chosen.schedule.options)
        cells = _first(chosen.trained(variants))
        titles = [variant.row.split(", ")[SWEEPS[number]].replace("α", "alpha") for variant in variants]
        return [
            draw(out / f"figure{number}-{k}.png", _swept(cells, titles, k))
            for k in (_followed(cells[0]) if cells else ())
        ]
    columns = [
        final(cell.path, k, f"{task} {k + 1}", sources=True)
        for task in TASKS.values()
        for cell in _first(study(task).trained((FULL,)))
        for k in _followed(cell)
    ]
    return [draw(out / f"figure{number}.png", columns)]


def _swept(cells: Sequence[Cell], titles: Sequence[str], pair: int) -> list[Column]:
    sources = learning(cells[0].path, pair)[0]
    return [sources, *(final(cell.path, pair, title) for cell, title in zip(cells, titles, strict=True))]


def _first(cells: Sequence[Cell]) -> list[Cell]:
    """The cells of the first seed; a run that diverged has its pictures up to there."""
    return [cell for cell in cells if cell.seed == cells[0].seed]


def _followed(cell: Cell) -> range:
    return range(len(list((cell.path / "images").glob("pair*"))))
