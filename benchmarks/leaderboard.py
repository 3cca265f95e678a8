"""Make the board of every method on every test set: one folder, one page, resumable.

    python -m benchmarks.leaderboard --data DATA --weights FOLDER --out OUT [--limit N] [--model LABEL=MODEL ...]

For each task of DATA and of the sample it fuses the test pairs by every fuser that needs no training (the controls are
among them), by the models that ship, by each --model (a run folder or weights file), and by the networks whose
published weights lie in FOLDER. All of these are stretched to the full range alike. The published networks are there
a second time as "NAME as published": the 8-bit image that their authors' program saves, not stretched again.

What is done is not done again: stop it at any time and give the same command to go on. --limit takes the first N pairs
of each data set, and a larger one later adds to what is there. --without FUSER:TASK leaves a published network out of a
task, for example one that needs more memory than there is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import click
import torch

from fusionkit.bench.benchmark import run_bench
from fusionkit.bench.datasets import find_datasets
from fusionkit.bench.methods import parse_fuser, usable
from fusionkit.bench.quality_scorer import QualityScorer
from fusionkit.bench.report.board import write_board
from fusionkit.bench.request import BenchRequest
from fusionkit.errors import FusionkitError
from fusionkit.models.recognition import import_published, read_files, recognise
from fusionkit.models.weights import save_fuser
from fusionkit.plugins import catalogue

_SUFFIXES = {".safetensors", ".pth", ".pt", ".pkl", ".model", ".npy"}

PROTOCOLS = {
    "ivif": {"refusion": "EN,SD,SF,AG,SCD,SSIM,VIFp,Qabf,MI,CC"},
    "mif": {"refusion": "EN,SD,SF,AG,SCD,SSIM,VIFp,Qabf,MI,CC"},
    "mfif": {"refusion": "EN,SD,SF,VIFp,QCB,QNCIE,SCD,SSIM,Qabf,MI,CC"},
    "meif": {"refusion": "EN,SD,SF,VIFp,QCB,QNCIE,SCD,SSIM,Qabf,MI,CC", "standard": "MEF-SSIM"},
}
"""The metrics of each task by profile: those of its protocol, which rank, and more that are shown beside them."""


def published_models(weights: Path, folder: Path, without: Sequence[str]) -> Iterator[tuple[str, str, bool, Path]]:
    """Import every file of ``weights`` for every task that it is for, as the toolkit fuses and as published.

    Yields:
        Task, fuser, whether as published, and the imported file in ``folder``.
    """
    for file in sorted(path for path in weights.iterdir() if path.suffix in _SUFFIXES):
        try:
            found = [candidate for candidate in recognise(read_files([file])) if not candidate.problem]
        except FusionkitError as error:
            click.echo(f"left out: {error}", err=True)
            continue
        for candidate in found:
            title, fuser = candidate.weights.title, candidate.fuser
            # Two sets of one architecture have the same tensors: the file's name tells which it is.
            if len({c.weights.title for c in found}) > 1 and title.casefold() != file.stem.casefold():
                continue
            for task in candidate.weights.tasks or catalogue.fusers.get(fuser).tasks or ():
                if f"{fuser}:{task}" in without:
                    continue
                for published in (False, True):
                    target = folder / f"{fuser}-{task}{'-published' * published}.safetensors"
                    if not target.is_file():
                        options = {**candidate.weights.options, "published": published}
                        network, info, _ = import_published((file,), fuser=fuser, task=task, options=options)
                        save_fuser(target, network, info)
                    yield task, fuser, published, target


@click.command(help=__doc__)
@click.option("--data", required=True, help="Folder of pairs with a MANIFEST.csv.")
@click.option("--weights", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Published weights.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of the board.")
@click.option("--model", "models", multiple=True, metavar="LABEL=MODEL", help="Trained model to add; may be repeated.")
@click.option("--task", "tasks", multiple=True, help="Only these tasks.")
@click.option("--without", multiple=True, metavar="FUSER:TASK", help="Published network to leave out of a task.")
@click.option("--limit", type=int, help="Only the first N pairs of each data set.")
@click.option("--threads", default=1, show_default=True)
def main(
    data: str,
    weights: Path | None,
    out: Path,
    models: tuple[str, ...],
    tasks: tuple[str, ...],
    without: tuple[str, ...],
    limit: int | None,
    threads: int,
) -> None:
    torch.set_num_threads(threads)
    imported = list(published_models(weights, out / "weights", without)) if weights else []
    failures = 0
    for task in tasks or tuple(PROTOCOLS):
        specs, problems = usable(task, device=torch.device("cpu"))
        for problem in problems:
            click.echo(f"note: {problem}", err=True)
        alike = [spec.model for spec in specs]
        alike += [text for text in models if (own := parse_fuser(text).tasks()) is None or task in own]
        alike += [f"{fuser}={file}" for of, fuser, published, file in imported if of == task and not published]
        saved = [f"{fuser} as published={file}" for of, fuser, published, file in imported if of == task and published]
        scorers = [
            QualityScorer(metrics=tuple(metrics.split(",")), profile=profile, maps=False)
            for profile, metrics in PROTOCOLS[task].items()
        ]
        # One data set after another, so that a board of some of them is there early.
        for spec in [*_places(data, task), "sample"]:
            for (fusers, stretch), scorer in product(((alike, "full"), (saved, "none")), scorers):
                if fusers:
                    request = BenchRequest(
                        tasks=(task,),
                        fusers=tuple(fusers),
                        data=(spec,),
                        limit=limit,
                        scorer=scorer,
                        device="cpu",
                        stretch=stretch,  # type: ignore[arg-type]
                    )
                    failures += run_bench(request, out, say=lambda line: click.echo(line, err=True)).failures
            click.echo(f"{task} {spec.partition(':')[0]}: {write_board(out).page}")
    click.echo(f"{failures} results or values are missing" if failures else "every result is there")


def _places(data: str, task: str) -> list[str]:
    """Name the data sets of a manifest that have test pairs of a task, with their place."""
    return [f"{found.name}:{data}" for found in find_datasets((data,), (task,))]


if __name__ == "__main__":
    main()
