"""The command line: ``python -m benchmarks.paper table5 --data DIR --out DIR``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from benchmarks.paper.report import Report
    from benchmarks.paper.study import Study

F = TypeVar("F", bound=Callable[..., None])

_STUDY = (
    click.option(
        "--data",
        multiple=True,
        default=("sample",),
        show_default=True,
        help="Test pairs: folder, manifest, NAME:DIR of a data set, or sample; may be repeated.",
    ),
    click.option("--train", help="Training pairs, likewise.  [default: the first --data]"),
    click.option(
        "--out",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path("paper"),
        show_default=True,
        help="Folder of runs, benches and reports; what is done in it already is not done again.",
    ),
    click.option(
        "--schedule",
        default="quick",
        show_default=True,
        help="A preset of the trainer (quick, paper, ...), PRESET:STEPS to cut it, or STEPS of quick.",
    ),
    click.option("--seed", "seeds", type=int, multiple=True, default=(0,), show_default=True, help="May be repeated."),
    click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="An option of every training."),
    click.option(
        "--metric",
        "metrics",
        multiple=True,
        default=("SCD", "Qabf", "CC-a", "CC-b"),
        show_default=True,
        help="Metrics beside the paper's.",
    ),
    click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N pairs of each test set."),
    click.option(
        "--stretch",
        type=click.Choice(["full", "none"]),
        help="Range stretch of every result.  [default: as each method's authors do]",
    ),
    click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda."),
    click.option("--precision", default="fp32", show_default=True, help="fp32, tf32 or bf16."),
    click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: all cores]"),
    click.option("--quiet", is_flag=True, help="Only errors on standard error."),
)
_TASK = click.option("--task", help="Another task than the paper's.")


def _of(task: str) -> Callable[[F], F]:
    return click.option("--task", default=task, show_default=True)


_ROW = click.option("--row", "rows", multiple=True, help="Only this row and what it is compared with; may be repeated.")


def _study_options(command: F) -> F:
    for option in reversed(_STUDY):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Reproduce the tables and the learned-loss figures of ReFusion (IJCV 2025) with the data at hand.

    Every command trains and compares what it needs, goes on where it was stopped, prints the published numbers beside
    the measured ones and writes them to --out as Markdown and JSON.
    """


def _comparison(number: int, given: dict[str, Any]) -> None:
    from benchmarks.paper.tables import TASKS, comparison

    fusers, authors = given.pop("fusers"), given.pop("authors")
    study, command = _study(TASKS[number], given)
    _finish(study, comparison(number, study, fusers=fusers, authors=authors, command=command))


def _variations(number: int, given: dict[str, Any]) -> None:
    from benchmarks.paper.tables import TASKS, ablation, sweeps

    _trained(given.pop("task") or TASKS[number], given, ablation if number == 5 else sweeps)


def _trained(task: str, given: dict[str, Any], make: Callable[..., Report]) -> None:
    """A report of trainings, or of some rows of it."""
    rows = given.pop("rows")
    study, command = _study(task, given)
    _trains(study)
    _finish(study, make(study, rows=rows, command=command))


def _recipe(given: dict[str, Any]) -> None:
    from benchmarks.paper.controls import recipe

    _trained(given.pop("task"), given, recipe)


def _maps(given: dict[str, Any]) -> None:
    from benchmarks.paper.maps import maps

    _trained(given.pop("task"), given, maps)


def _add(name: str, title: str, run: Callable[[dict[str, Any]], None], *options: Callable[[F], F]) -> None:
    def body(**given: Any) -> None:
        run(given)

    body.__doc__ = title
    for option in reversed(options):
        body = option(body)  # type: ignore[arg-type]
    cli.command(name)(_study_options(body))


_FUSER = click.option(
    "--fuser", "fusers", multiple=True, metavar="[LABEL=]MODEL", help="As 'fusionkit bench'.  [default: all usable]"
)
_AUTHORS = click.option("--authors", metavar="FILE", help="Weights that the authors of ReFusion published.")
for _number, _title in (
    (1, "Table 1: infrared-visible fusion. --schedule none trains nothing."),
    (2, "Table 2: medical fusion. --schedule none trains nothing."),
    (3, "Table 3: multi-focus fusion. --schedule none trains nothing."),
    (4, "Table 4: multi-exposure fusion. --schedule none trains nothing."),
):
    _add(f"table{_number}", _title, partial(_comparison, _number), _FUSER, _AUTHORS)
_add("table5", "Table 5: ablations I to VIII, a training each.", partial(_variations, 5), _TASK, _ROW)
_add("table6", "Table 6: the weights of both losses, a training a value.", partial(_variations, 6), _TASK, _ROW)


_add("recipe", "What the paper leaves open: the recipe, and each choice made otherwise.", _recipe, _of("mif"), _ROW)
_add("maps", "What L_r thinks of maps made by hand, beside the learned ones.", _maps, _of("ivif"), _ROW)


@cli.command("table7")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("paper"), show_default=True)
def table7(out: Path) -> None:
    """Table 7: trainable parameters."""
    from benchmarks.paper.report import as_markdown, write_report
    from benchmarks.paper.tables import parameters

    report = parameters(command=_command())
    write_report(out, report)
    click.echo(as_markdown(report), nl=False)


@cli.command("figures")
@click.argument("numbers", type=click.IntRange(8, 14), nargs=-1)
@_study_options
def figures(numbers: tuple[int, ...], **given: Any) -> None:
    """Figs. 8 to 14, or those of these NUMBERS: w and v as training goes, of each task and for each alpha.

    8 to 11 are the four tasks, 12 their last maps side by side, 13 and 14 the sweeps of alpha1 and alpha2. They show
    training pairs that the runs follow.
    """
    from benchmarks.paper.figures import draw_figure

    studies: dict[str, Study] = {}

    def study(task: str) -> Study:
        if task not in studies:
            studies[task] = _study(task, dict(given))[0]
            _trains(studies[task])
        return studies[task]

    for number in numbers or range(8, 15):
        for path in draw_figure(number, study, given["out"]):
            click.echo(path)


def _study(task: str, given: dict[str, Any]) -> tuple[Study, str]:
    """What was asked for, and the command that repeats it."""
    from benchmarks.paper.schedules import parse_schedule
    from benchmarks.paper.study import Study
    from fusionkit.cli.progress import training_progress
    from fusionkit.config import parse_assignments
    from fusionkit.plugins import catalogue

    catalogue.tasks.get(task)
    if given["threads"]:
        import torch

        torch.set_num_threads(given["threads"])
    quiet = given["quiet"]
    study = Study(
        task=task,
        schedule=None if given["schedule"] == "none" else parse_schedule(given["schedule"]),
        train=given["train"] or given["data"][0],
        data=given["data"],
        out=given["out"],
        seeds=tuple(dict.fromkeys(given["seeds"])),
        options=parse_assignments(given["assignments"]),
        metrics=given["metrics"],
        limit=given["limit"],
        stretch=given["stretch"],
        device=given["device"],
        precision=given["precision"],
        say=(lambda line: None) if quiet else partial(click.echo, err=True),
        progress=lambda: training_progress(quiet),
    )
    return study, _command()


def _trains(study: Study) -> None:
    from fusionkit.errors import UsageError

    if study.schedule is None:
        raise UsageError("--schedule none: this trains, give a preset or a number of steps")


def _command() -> str:
    """The command as given, but for where things lie on this machine."""
    return " ".join(["python -m benchmarks.paper", *_placeless(click.get_current_context().find_root().obj)])


def _placeless(words: Sequence[str]) -> list[str]:
    places = {"--data": "DATA", "--train": "DATA", "--out": "OUT", "--authors": "WEIGHTS"}
    shown: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        option, equals, value = word.partition("=")
        if option in places and equals:
            shown.append(f"{option}={_placed(value, places[option])}")
        else:
            shown.append(_placed(word, places[before]) if before in places else word)
    return shown


def _placed(value: str, word: str) -> str:
    name, colon, _ = value.partition(":")
    return f"{name}:{word}" if colon else value if value == "sample" else word


def _finish(study: Study, report: Report) -> None:
    from benchmarks.paper.report import as_markdown, write_report

    files = write_report(study.out, report)
    click.echo(as_markdown(report), nl=False)
    study.say(f"written: {files[0]}, {files[1]}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; errors are one line on standard error, and the exit codes are fusionkit's."""
    from fusionkit.cli import report

    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = cli.main(list(given), standalone_mode=False, obj=given)
    except Exception as error:  # the top of the command line
        line, code = report(error)
        print(line, file=sys.stderr)
    return code or 0


if __name__ == "__main__":
    sys.exit(main())
