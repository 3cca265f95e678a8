"""``fusionkit models``."""

from __future__ import annotations

from pathlib import Path

import click


@click.group("models", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """List the models that can fuse without training: training-free fusers and installed trained models.

    \b
    fusionkit models
    fusionkit models show refusion-ivif
    """
    if context.invoked_subcommand is not None:
        return
    import json

    from rich.console import Console
    from rich.table import Table

    from fusionkit.errors import PluginError
    from fusionkit.models.listing import list_models

    models, problems = list_models()
    columns = ("name", "task", "parameters", "trained", "reference")
    if as_json:
        rows = [
            {key: getattr(model, key) for key in ("fuser", *columns)}
            | {
                "file": str(model.file) if model.file else None,
                "card": model.card.model_dump(mode="json") if model.card else None,
            }
            for model in models
        ]
        click.echo(json.dumps(rows, indent=2))
    else:
        table = Table(*columns, box=None)
        for model in models:
            table.add_row(*(str(getattr(model, key)) for key in columns))
        Console(width=None if Console().is_terminal else 160).print(table)
    if problems:
        raise PluginError("; ".join(problems))


@command.command("show")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(name: str, as_json: bool) -> None:
    """Show the card of the model NAME: training data with licences, training, measured scores.

    NAME is one of 'fusionkit models'; the card is Markdown.
    """
    from fusionkit.errors import UsageError
    from fusionkit.models.card import as_markdown
    from fusionkit.models.listing import find_model
    from fusionkit.plugins import catalogue

    model = find_model(name)
    if model.card is None:
        why = "its plugin ships no card" if model.file else model.trained
        raise UsageError(f"{name}: has no model card: {why}")
    title = catalogue.tasks.get(model.task).title
    click.echo(model.card.model_dump_json(indent=2) if as_json else as_markdown(model.card, title=title), nl=as_json)


@command.command("export")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--to", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder to write into.")
@click.option(
    "--bench",
    type=click.Path(path_type=Path, file_okay=False),
    multiple=True,
    help="Folder of 'fusionkit bench' in which the run was compared; may be repeated.",
)
@click.option("--beside", multiple=True, metavar="NAME", help="Other methods to show in the card.  [default: all]")
@click.option("--data", help="Current place of the training pairs.  [default: as recorded in the run]")
@click.option("--force", is_flag=True, help="Replace an existing model.")
def export(
    run: Path, to: Path, bench: tuple[Path, ...], beside: tuple[str, ...], data: str | None, force: bool
) -> None:
    """Write the fuser of a finished RUN, and its card, as a plugin ships them: TASK.safetensors and TASK.toml.

    The card is computed from the run folder, the benchmark's records and the records of the data sets.

    \b
    fusionkit bench --task mif --fuser runs/refusion-mif-quick --fuser average --out bench
    fusionkit models export runs/refusion-mif-quick --bench bench --to models
    """
    from fusionkit.bench.model_package import export_model
    from fusionkit.models.card import card_path

    weights, _ = export_model(run, to, bench=bench, beside=beside, data=data, force=force)
    click.echo(f"{weights}\n{card_path(weights)}")
