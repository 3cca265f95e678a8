"""``fusionkit sample``: the built-in pairs, to try everything with."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("sample")
@click.argument("task")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Folder to write to, new or empty; one folder a task below it for 'all'. Default: the user's cache.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Another seed, other pairs.")
def command(task: str, output: Path | None, seed: int) -> None:
    """Write the built-in sample pairs of TASK (or of 'all' tasks) and print where they are.

    They are made from photographs that scikit-image ships; nothing is downloaded. The same seed gives the same files.
    """
    from fusionkit.data.sample import SAMPLE_TASKS, sample_pairs
    from fusionkit.plugins.catalogue import tasks

    for name in SAMPLE_TASKS if task == "all" else (task,):
        folder = output / name if output is not None and task == "all" else output
        pairs = sample_pairs(tasks.get(name), folder, seed=seed)
        counts = ", ".join(f"{count} {split}" for split, count in pairs.splits.items())
        click.echo(f"{pairs[0].files[0].parent.parent}: {name}, {len(pairs)} pairs ({counts})")
