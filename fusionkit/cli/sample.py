"""``fusionkit sample``: write the built-in pairs."""

from __future__ import annotations

from pathlib import Path

import click

from fusionkit.cli.notes import answer
from fusionkit.io.text import counted


@click.command("sample")
@click.argument("task")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Folder to write to, new or empty; gets one sub-folder per task for 'all'. Default: the user's cache.",
)
@click.option("--labelled", is_flag=True, help="Write the sample with masks and boxes instead (ivif).")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the pairs.")
def command(task: str, output: Path | None, labelled: bool, seed: int) -> None:
    """Write the built-in sample pairs of TASK (or of 'all' tasks) and print where they are.

    The pairs are generated, most from photographs that scikit-image ships; nothing is downloaded. The same seed gives
    the same files.
    """
    from fusionkit.data.sample import LABELLED_TASKS, SAMPLE_TASKS, labelled_sample, sample_pairs
    from fusionkit.plugins.catalogue import tasks

    known = LABELLED_TASKS if labelled else SAMPLE_TASKS
    for name in known if task == "all" else (task,):
        folder = output / name if output is not None and task == "all" else output
        if labelled:
            pairs = labelled_sample(tasks.get(name), "segmentation", folder, seed=seed)
        else:
            pairs = sample_pairs(tasks.get(name), folder, seed=seed)
        counts = ", ".join(f"{count} {split}" for split, count in pairs.splits.items())
        answer(f"{pairs[0].files[0].parent.parent}: {name}, {counted(len(pairs), 'pair')} ({counts})")
