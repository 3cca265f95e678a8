"""``fusionkit plugins``: list, check and create plugins."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fusionkit.cli.notes import answer, say
from fusionkit.errors import PluginError

if TYPE_CHECKING:
    from fusionkit.plugins.check import Findings


@click.group("plugins")
def command() -> None:
    """List, check and create plugins."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_command(as_json: bool) -> None:
    """List every plugin by kind and name, without importing any."""
    from fusionkit.plugins.check import list_plugins

    found = list_plugins()
    if as_json:
        _print_json(found)
        return
    _print_table(found)
    for fault in found.faults:
        say(f"note: {fault.distribution} {fault.version}: {fault.cause}")


@command.command("check")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check_command(name: str | None, as_json: bool) -> None:
    """Load every plugin, or those of one NAME (a plugin's or a distribution's), and report failures.

    Fusers and metrics of other packages are also called once, on small images.

    Exit with 3 if any cannot be used.
    """
    from fusionkit.plugins.check import called, check_plugins

    checked = check_plugins(name)
    if any(not finding.entry.built_in and finding.problem is None for finding in checked.findings):
        from fusionkit.fuse.trial import trial_fault

        checked = called(checked, trial_fault)
    if as_json:
        _print_json(checked)
    for finding in () if as_json else checked.findings:
        entry, problem = finding.entry, finding.problem
        verdict = f"FAILED at {problem}" if problem else "ok"
        answer(f"{finding.kind} {entry.name} ({entry.origin}): {verdict}")
    for fault in () if as_json else checked.faults:
        answer(f"{'FAILED' if fault.ours else 'note'}: {fault.distribution} {fault.version}: {fault.cause}")
    failed = [f.entry.name for f in checked.findings if f.problem] + [f.distribution for f in checked.faults if f.ours]
    if failed:
        total = len(checked.findings) + sum(fault.ours for fault in checked.faults)
        raise PluginError(f"{len(failed)} of {total} plugins cannot be used: {', '.join(failed)}")


@command.command("new")
@click.argument("name")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("."),
    help="Folder to write it into.  [default: the current one]",
)
@click.option(
    "--only",
    "kinds",
    multiple=True,
    metavar="KIND",
    help="Write this part alone: fuser, metric, aligner, dataset, outer-loss, downstream or profile. May be repeated.",
)
def new_command(name: str, folder: Path, kinds: tuple[str, ...]) -> None:
    """Write a plugin package called NAME: installable, trainable and tested, to start your own from."""
    from fusionkit.plugins.scaffold import create

    if "critic" in kinds:
        say("note: --only critic is called --only outer-loss now")
        kinds = tuple("outer-loss" if kind == "critic" else kind for kind in kinds)
    root = create(name, folder, only=kinds)
    answer(str(root))
    say(f"next: pip install -e {root} && pytest {root} && fusionkit plugins list")


def _print_json(found: Findings) -> None:
    faults = [{"distribution": f.distribution, "version": f.version, "cause": f.cause} for f in found.faults]
    click.echo(json.dumps({"plugins": [f.as_dict() for f in found.findings], "faults": faults}, indent=2))


def _print_table(found: Findings) -> None:
    """Print a table on a terminal, and aligned columns with one line per entry elsewhere."""
    head = ("kind", "name", "from", "target", "problem")
    rows = [(f.kind, f.entry.name, f.entry.origin, f.entry.target, str(f.problem or "-")) for f in found.findings]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        # The target is left to the other forms: names stay whole on a narrow terminal, and problems are wrapped.
        table = Table(box=None)
        for column in (0, 1, 2, 4):
            table.add_column(head[column], min_width=widths[column] if column < 4 else None)
        for row in rows:
            cells = (Text(row[column]) for column in (0, 1, 2, 4))
            table.add_row(*cells, style="red" if row[-1] != "-" else "")
        Console().print(table)
        return
    for row in (head, *rows):
        answer("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
