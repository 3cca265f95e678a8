"""Which outer loss asks for which picture: P and R taught at the minimiser of L_f, and the minimiser scored.

No F takes part. Each row is the preset ``bright`` with some of its parts as they were before it. The rows without a
seed need no training: maps by a rule, the maximum and the average of the sources::

    python -m benchmarks.outer_loss --data DATA --task ivif --limit 6 --seed 0 --seed 1 --seed 2 --out OUT
    python -m benchmarks.outer_loss --data DATA --task ivif --limit 6 --run runs/refusion-ivif-bright

The second scores what a run's P asks for and, once the run is done, what its F gives.
What is done in OUT already is not done again. The table is printed as Markdown.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor

from benchmarks.paper.maps import HandMaps, HandOptions, asked_for, taught
from fusionkit.config import merged, parse_assignments, read_toml, resolve
from fusionkit.contracts import LossProposer
from fusionkit.data.pair_finding import find_pairs
from fusionkit.data.pair_store import PairStore, decode_source
from fusionkit.fuse.tensors import stretch_range
from fusionkit.metrics import score
from fusionkit.models.recognition import import_published
from fusionkit.models.weights import load_fuser
from fusionkit.plugins import catalogue
from fusionkit.tasks import Task
from fusionkit.train.checkpoints import load_checkpoint
from fusionkit.train.run_folder import OPTIONS, RunFolder

PRESET = "bright"
COLUMNS = ("SCD", "Qabf", "VIFp", "SD")
PROFILE = "refusion"
DONE = "outer-loss.jsonl"

Fuse = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Row:
    """One outer loss.

    Attributes:
        key: for ``--row``.
        title: in the table.
        options: over those of the preset.
    """

    key: str
    title: str
    options: Mapping[str, Any] = field(default_factory=dict)


_NOISE_1 = {"trainer": {"outer_loss_noise": {"pixel": 1.0, "patch": 1.0}}}
_NOISE_3 = {"trainer": {"outer_loss_noise": {"pixel": 3.0, "patch": 3.0}}}
_WIDE_1 = {"trainer": {"outer_loss_noise": {"patch": 1.0}}}
_LINEAR = {"reconstructor": {"brightness_power": 1.0}}
_UNWEIGHTED = {"reconstructor": {"brightness": "off"}}
_PAPER_FORM = {"reconstructor": {"brightness": "off", "combine": "max", "alpha": 1.0}}

LEARNED = (
    Row("bright", "brightness squared, sum, noise 2 (the preset)"),
    Row("linear", "brightness, sum, noise 2", _LINEAR),
    Row("before", "no weight, maximum, noise 1 (the preset `optimum`)", merged(_PAPER_FORM, _NOISE_1)),
    Row("noise", "no weight, maximum, noise 2", _PAPER_FORM),
    Row("sum", "no weight, sum, noise 2", _UNWEIGHTED),
    Row("weight", "brightness squared, sum, noise 1", _NOISE_1),
    Row("wide", "brightness squared, sum, noise 2 of pixels, 1 of patches", _WIDE_1),
    Row("strong", "brightness squared, sum, noise 3", _NOISE_3),
    Row(
        "relative",
        "brightness over the mean, sum, noise 2",
        merged(_LINEAR, {"reconstructor": {"brightness": "relative"}}),
    ),
)
FIXED: Mapping[str, tuple[str, Fuse]] = {
    "half": ("w = v = 1/2", lambda a, b: _by_rule("half", "half", a, b)),
    "rule": ("w the brighter, v the stronger", lambda a, b: _by_rule("brighter", "stronger", a, b)),
    "maximum": ("maximum", torch.maximum),
    "average": ("average", lambda a, b: (a + b) / 2),
}


def _by_rule(w: str, v: str, a: Tensor, b: Tensor) -> Tensor:
    return asked_for(HandMaps(HandOptions(w=w, v=v)), (a, b))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Tests:
    """Pairs of one test set, decoded."""

    dataset: str
    pairs: Sequence[Sequence[Tensor]]

    def floats(self, number: int) -> tuple[Tensor, Tensor]:
        """Both sources of a pair, ``(1, 1, H, W)`` in [0, 1]."""
        a, b = (x[None].float() / (255 if x.dtype == torch.uint8 else 1) for x in self.pairs[number])
        return a, b


def evenly(count: int, limit: int | None) -> list[int]:
    """Numbers of at most ``limit`` of ``count`` pairs, evenly spread, the first and the last among them.

    >>> evenly(42, 6)
    [0, 8, 16, 25, 33, 41]
    """
    if limit is None or limit >= count:
        return list(range(count))
    return [round(k * (count - 1) / max(limit - 1, 1)) for k in range(limit)]


def measured(fuse: Fuse, tests: Sequence[Tests]) -> dict[str, dict[str, float]]:
    """Mean scores of stretched results by data set."""
    found: dict[str, dict[str, float]] = {}
    for test in tests:
        rows = []
        for number in range(len(test.pairs)):
            a, b = test.floats(number)
            with torch.no_grad():
                fused = (255 * stretch_range(fuse(a, b))).round()
            rows.append(score(fused, 255 * a, 255 * b, metrics=COLUMNS, profile=PROFILE).mean())
        found[test.dataset] = {name: statistics.fmean(float(row[name]) for row in rows) for name in COLUMNS}
    return found


def options_of(row: Row, assignments: Sequence[str]) -> Any:
    """The options of a row's training, those given on the command line over them."""
    kind = catalogue.trainers.get("refusion")
    layers = ("preset", kind.presets[PRESET]), ("row", row.options), ("--set", parse_assignments(assignments))
    return resolve(kind.Config, *layers)


def as_table(results: Sequence[Mapping[str, Any]], datasets: Sequence[str]) -> str:
    """Markdown: a line a row, mean and standard deviation over its seeds."""
    names = " | ".join(f"{dataset}: {', '.join(COLUMNS)}" for dataset in datasets)
    lines = [f"| outer loss | seeds | {names} |"]
    lines.append("| --- " * (len(datasets) + 2) + "|")
    for title in dict.fromkeys(str(r["title"]) for r in results):
        own = [r for r in results if r["title"] == title]
        cells = [_cell([r["scores"][d] for r in own]) for d in datasets]
        seeds = ", ".join(str(r["seed"]) for r in own if r["seed"] is not None) or "-"
        lines.append(f"| {title} | {seeds} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(scores: Sequence[Mapping[str, float]]) -> str:
    words = []
    for name in COLUMNS:
        values = [row[name] for row in scores]
        digits = 1 if name == "SD" else 3
        spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
        words.append(f"{statistics.fmean(values):.{digits}f}{spread}")
    return ", ".join(words)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--data", required=True, help="Folder of pairs with train and test splits.")
@click.option("--task", default="ivif", show_default=True)
@click.option("--steps", default=300, show_default=True, help="Meta steps of a training.")
@click.option("--limit", type=click.IntRange(min=1), help="Only so many pairs of each test set, evenly spread.")
@click.option("--seed", "seeds", type=int, multiple=True, default=(0,), show_default=True)
@click.option("--row", "rows", multiple=True, type=click.Choice([row.key for row in LEARNED] + list(FIXED)))
@click.option("--run", type=click.Path(path_type=Path, file_okay=False), help="Score this run instead; no training.")
@click.option("--model", "models", multiple=True, metavar="LABEL=FILE", help="With --run: these weights beside it.")
@click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="An option of every training.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("outer-loss"))
def main(
    data: str,
    task: str,
    steps: int,
    limit: int | None,
    seeds: Sequence[int],
    rows: Sequence[str],
    run: Path | None,
    models: Sequence[str],
    assignments: Sequence[str],
    out: Path,
) -> None:
    """Teach P and R by each outer loss and score what L_f then asks for."""
    torch.set_num_threads(1)
    kind = catalogue.tasks.get(task)
    crop = options_of(LEARNED[0], assignments).trainer.crop
    tests = read_tests(data, kind, limit)
    if run is not None:
        _print(_of_run(run, models, tests), tests)
        return
    out.mkdir(parents=True, exist_ok=True)
    file = out / DONE
    done = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    store: list[PairStore] = []
    results = []
    for key, seed in _jobs(rows, seeds):
        place = {"key": key, "seed": seed, "task": task, "steps": steps, "limit": limit, "set": list(assignments)}
        entry = next((d for d in done if all(d[name] == value for name, value in place.items())), None)
        if entry is None:
            if key in FIXED:
                title, fuse = FIXED[key]
            else:
                row = next(row for row in LEARNED if row.key == key)
                if not store:
                    pairs = find_pairs(data, kind, split="train")
                    store.append(PairStore.from_pairs(pairs, device=torch.device("cpu"), smallest=crop))
                proposer, _ = taught(options_of(row, assignments), {}, store[0], steps, seed or 0)
                title, fuse = row.title, partial(_asked, proposer.eval())
            entry = {**place, "title": title, "scores": measured(fuse, tests)}
            with file.open("a") as stream:
                stream.write(json.dumps(entry) + "\n")
            click.echo(f"{title}, seed {seed}: {entry['scores']}", err=True)
        results.append(entry)
    _print(results, tests)


def _print(results: Sequence[Mapping[str, Any]], tests: Sequence[Tests]) -> None:
    click.echo(f"`python -m benchmarks.outer_loss {without_places(sys.argv[1:])}`\n")
    click.echo(as_table(results, [test.dataset for test in tests]))


def _of_run(run: Path, models: Sequence[str], tests: Sequence[Tests]) -> list[dict[str, Any]]:
    """Score the minimiser under the P of a run's last checkpoint, and the images of its F."""
    folder = RunFolder.open(run)
    record, checkpoint = folder.record, load_checkpoint(run)
    kind = catalogue.trainers.get(record.method)
    proposer = kind.proposer_of(
        resolve(kind.Config, ("run", read_toml(run / OPTIONS))), checkpoint.state if checkpoint else {}
    )
    rows: dict[str, Fuse] = {"F of the run": load_fuser(folder.model)[0]} if folder.model.is_file() else {}
    if proposer is not None:
        rows["minimiser of the run's L_f"] = partial(_asked, proposer.eval())
    for label, _, file in (spec.partition("=") for spec in models):
        rows[label] = _loaded(file)
    results = []
    for title, fuse in rows.items():
        results.append({"title": title, "seed": None, "scores": measured(fuse, tests)})
        click.echo(f"{title}: {results[-1]['scores']}", err=True)
    return results


def _loaded(file: str) -> Fuse:
    """Weights of a fuser, or ``refusion:FILE`` as the authors published them."""
    published = file.removeprefix("refusion:")
    return load_fuser(Path(file))[0] if published == file else import_published((Path(published),), fuser="refusion")[0]


def _asked(proposer: LossProposer, a: Tensor, b: Tensor) -> Tensor:
    return asked_for(proposer, (a, b))


def _jobs(rows: Sequence[str], seeds: Sequence[int]) -> list[tuple[str, int | None]]:
    chosen = [row.key for row in LEARNED if not rows or row.key in rows]
    fixed = [key for key in FIXED if not rows or key in rows]
    # Seed by seed: what is there after half the time compares all rows.
    return [*((key, seed) for seed in seeds for key in chosen), *((key, None) for key in fixed)]


def read_tests(data: str, task: Task, limit: int | None) -> list[Tests]:
    """The test split, decoded, by data set."""
    pairs = find_pairs(data, task, split="test")
    found = []
    for dataset in dict.fromkeys(pair.dataset for pair in pairs):
        own = [pair for pair in pairs if pair.dataset == dataset]
        chosen = [own[k] for k in evenly(len(own), limit)]
        found.append(Tests(dataset, [[decode_source(f, "luminance") for f in pair.files] for pair in chosen]))
    return found


def without_places(words: Sequence[str]) -> str:
    """A command line without the names of this machine's folders."""
    places = {"--data": "DATA", "--out": "OUT", "--run": "RUN"}
    shown = [places.get(before, word) for before, word in zip(["", *words], words, strict=False)]
    return " ".join(
        f"{label}=FILE" if equals and "/" in rest else label + equals + rest
        for label, equals, rest in (word.partition("=") for word in shown)
    )


if __name__ == "__main__":
    main()
