"""``fusionkit results``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from fusionkit.cli.notes import answer, say
from fusionkit.io.text import counted

_FOLDER = click.Path(path_type=Path, file_okay=False)
_TO = click.option("--to", type=_FOLDER, required=True, help="Folder of the collection.")


@click.group("results")
def command() -> None:
    """Share results: collect records of benches, check them, and make tables for papers.

    A collection is a folder of small JSON files, one per method and data set, that can be kept in git. 'fusionkit
    board DIR' makes a board of it.

    \b
    fusionkit results add bench --to ours
    fusionkit results verify ours
    fusionkit results merge alice=theirs bob=ours --to together
    fusionkit results table together --format latex -o table.tex
    fusionkit results cite together -o used.bib
    """


@command.command("add")
@click.argument("bench", type=_FOLDER)
@_TO
@click.option("--task", "tasks", multiple=True, help="Only this task; may be repeated.")
@click.option("--method", "methods", multiple=True, metavar="NAME", help="Only this method; may be repeated.")
@click.option("-p", "--profile", help="Only results under this profile of metrics.")
@click.option("--as", "renamed", multiple=True, metavar="OLD=NEW", help="Another name for a method; may be repeated.")
@click.option("--replace", is_flag=True, help="Take the place of results of the same name.")
def add(
    bench: Path,
    to: Path,
    tasks: tuple[str, ...],
    methods: tuple[str, ...],
    profile: str | None,
    renamed: tuple[str, ...],
    replace: bool,
) -> None:
    """Copy the records of BENCH, a folder of 'fusionkit bench', into a collection.

    Nothing is copied if a record was changed after it was written, or if the collection would mix profiles.
    """
    from fusionkit.bench.collection import add_results
    from fusionkit.errors import UsageError

    names = dict(text.partition("=")[::2] for text in renamed)
    for text, (old, new) in zip(renamed, names.items(), strict=False):
        if not old.strip() or not new.strip():
            raise UsageError(f"--as {text}: write OLD=NEW, as in --as ours='ours, 2 x data'")
    added, notes = add_results(bench, to, tasks=tasks, methods=methods, profile=profile, renamed=names, replace=replace)
    for note in notes:
        say(f"note: {note}")
    say(f"{to}: {counted(len(added), 'result')} added")


@command.command("merge")
@click.argument("parts", nargs=-1, required=True, metavar="[PERSON=]DIR...")
@_TO
def merge(parts: tuple[str, ...], to: Path) -> None:
    """Merge the collections of several people into a new one.

    A result that two of them have with the same scores is taken once. Where two have different results under one name,
    both are called 'NAME (PERSON)'.
    """
    from fusionkit.bench.collection import merge_results

    records, notes = merge_results([_part(text) for text in parts], to)
    for note in notes:
        say(f"note: {note}")
    said = f"{to}: {counted(len(records), 'result')} of {counted(len(parts), 'folder')}"
    say(f"{said}; 'fusionkit board {to}' makes the board")


@command.command("verify")
@click.argument("folders", nargs=-1, required=True, metavar="DIR...", type=_FOLDER)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(folders: tuple[Path, ...], as_json: bool) -> None:
    """Check every record in DIR, and whether they can be read side by side.

    Refused are records that were changed after they were written, stand in another place than their own or contradict
    themselves, images that lie beside them and are not those that were scored, and two profiles in one task.
    """
    from fusionkit.bench.collection import examine
    from fusionkit.errors import DataError

    broken = 0
    found = []
    for folder in folders:
        findings = examine(folder)
        broken += len(findings.faults)
        if as_json:
            faults = {str(place): list(reasons) for place, reasons in findings.faults.items()}
            kept = {"folder": str(folder), "results": len(findings.records)}
            found.append({**kept, "faults": faults, "notes": list(findings.notes)})
            continue
        for place, reasons in findings.faults.items():
            say(f"{folder / place if place.endswith('.json') else f'{folder}: {place}'}: {'; '.join(reasons)}")
        for note in findings.notes:
            say(f"note: {folder}: {note}")
        if not findings.faults:
            answer(f"{folder}: {counted(len(findings.records), 'result')}, all as they were written")
    if as_json:
        click.echo(json.dumps(found, indent=2))
    if broken:
        verb = "is" if broken == 1 else "are"
        raise DataError(f"{counted(broken, 'fault')} {verb} named above: restore these files, or bench again")


@command.command("table")
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option("-f", "--format", "form", type=click.Choice(["latex", "markdown", "csv"]), default="latex",
              show_default=True, help="Form of the tables.")  # fmt: skip
@click.option("--task", help="Only the tables of this task.")
@click.option("-m", "--metric", "metrics", multiple=True, help="Metrics, separated by commas.  [default: the task's]")
@click.option("--intervals", is_flag=True, help="LaTeX: add half of the 95 % interval to each mean.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="File to write, not stdout.")
def table(
    folder: Path, form: str, task: str | None, metrics: tuple[str, ...], intervals: bool, output: Path | None
) -> None:
    """Write the tables of DIR, a collection or bench, for a paper: the best value in bold, the second underlined.

    LaTeX needs \\usepackage{booktabs}. CSV has a line per method and metric.
    """
    from fusionkit.bench.report.board import load_results
    from fusionkit.bench.report.formats import as_csv, as_markdown
    from fusionkit.bench.report.latex import as_latex
    from fusionkit.errors import UsageError

    if intervals and form != "latex":
        raise UsageError(f"--intervals: is for LaTeX; {form} has the intervals always: leave it out")
    tables = load_results(folder, task=task)
    names = [name.strip() for part in metrics for name in part.split(",") if name.strip()]
    if names:
        tables = tuple(found.with_scores(names) for found in tables)
    text = (
        as_latex(tables, intervals=intervals)
        if form == "latex"
        else as_csv(tables)
        if form == "csv"
        else as_markdown(tables, "Results")
    )
    _give(text, output)


@command.command("cite")
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="File to write, not stdout.")
def cite(folder: Path, output: Path | None) -> None:
    """Write BibTeX of the methods, metrics and data sets that the records in DIR tell of."""
    from fusionkit.bench.collection import sound_records
    from fusionkit.bench.report.citations import as_bibtex

    _give(as_bibtex(sound_records(folder)), output)


def _part(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    return (name.strip(), Path(folder)) if equals and not Path(text).exists() else ("", Path(text))


def _give(text: str, output: Path | None) -> None:
    from fusionkit.io.atomic import write_text

    if output is None:
        answer(text.rstrip("\n"))
    else:
        write_text(output, text)
        say(f"written: {output}")
