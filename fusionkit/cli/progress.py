"""Progress: of a training, a bar on a terminal or a line every 15 seconds in a log; of other work, a bar."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Report = Callable[[int, int, Mapping[str, float]], None]

_LINE_SECONDS = 15.0


@contextmanager
def training_progress(quiet: bool) -> Iterator[Report | None]:
    """Yield a function that takes steps done, total steps and losses, or None if nothing is to be shown."""
    console = Console(stderr=True)
    if quiet:
        yield None
    elif console.is_terminal:
        columns = (
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console) as progress:
            bar = progress.add_task("starting", total=None)
            yield lambda done, steps, losses: progress.update(
                bar, completed=done, total=steps, description=_losses(losses)
            )
    else:
        yield _Lines(console)


class _Lines:
    """Print a line every 15 seconds, and one at the last step."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began: tuple[float, int] | None = None
        self._said = 0.0

    def __call__(self, done: int, steps: int, losses: Mapping[str, float]) -> None:
        now = time.monotonic()
        if self._began is None:
            self._began = now, done
        if done < steps and now - self._said < _LINE_SECONDS:
            return
        self._said = now
        began, first = self._began
        left = "" if done == first else f", {(now - began) / (done - first) * (steps - done):.0f} s left"
        self._console.print(
            f"step {done} of {steps}{left}: {_losses(losses)}", highlight=False, markup=False, soft_wrap=True
        )


def _losses(losses: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in losses.items() if name.count(".") == 1)


@contextmanager
def jobs_progress() -> Iterator[Callable[[str, int, int], None] | None]:
    """Yield a function that draws a bar per kind of work, with jobs per second; None if stderr is not a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        bars: dict[str, TaskID] = {}
        began: dict[str, float] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in bars:
                bars[what] = progress.add_task(what, total=total, speed="")
                began[what] = time.monotonic()
            passed = time.monotonic() - began[what]
            speed = f"{(done - 1) / passed:.1f} per s" if done > 1 and passed > 0 else ""
            progress.update(bars[what], completed=done, total=total, speed=speed)

        yield report
