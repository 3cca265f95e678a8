"""``fusionkit models``."""

from __future__ import annotations

import click


@click.command("models")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """List the fusion methods that can be used right away: those without weights, and the trained models."""
    import json

    from rich.console import Console
    from rich.table import Table

    from fusionkit.errors import PluginError
    from fusionkit.models import list_models

    models, problems = list_models()
    if as_json:
        click.echo(json.dumps(models, indent=2))
    else:
        table = Table("fuser", "task", "parameters", "trained", "reference", box=None)
        for model in models:
            table.add_row(*(str(model[key]) for key in ("fuser", "task", "parameters", "trained", "reference")))
        Console(width=None if Console().is_terminal else 160).print(table)
    if problems:
        raise PluginError("; ".join(problems))
