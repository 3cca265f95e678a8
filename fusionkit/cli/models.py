"""``fusionkit models``."""

from __future__ import annotations

from pathlib import Path

import click

from fusionkit.cli.notes import answer, say


class _Models(click.Group):
    """A group that reads arguments without a sub-command as those of ``list``, and still answers to ``export``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or args[0] not in {*self.commands, "export", *ctx.help_option_names}:
            args = ["list", *args]
        return super().parse_args(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "export" and not ctx.resilient_parsing:
            say("note: 'models export' is now called 'models package'")
            cmd_name = "package"
        return super().get_command(ctx, cmd_name)


@click.group("models", cls=_Models)
def command() -> None:
    """List, show and package models. Without a sub-command: list.

    \b
    fusionkit models
    fusionkit models 'ref*'
    fusionkit models show refusion:ivif
    """


@command.command("list")
@click.argument("patterns", nargs=-1, metavar="[PATTERN]...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def listing(patterns: tuple[str, ...], as_json: bool) -> None:
    """List the models that can fuse without training: training-free fusers and installed trained models.

    A PATTERN selects by name or by fuser; *, ? and [...] are as in a shell. A model is called FUSER:TASK@TAG. The one
    that FUSER:TASK stands for is marked as current.

    \b
    fusionkit models list
    fusionkit models list 'ref*' laplacian
    """
    import json

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from fusionkit.errors import PluginError
    from fusionkit.io.text import printable
    from fusionkit.models.listing import list_models, select_models

    models, problems = list_models()
    models = select_models(models, patterns)
    columns = ("name", "task", "tag", "parameters", "trained", "reference")
    if as_json:
        keys = ("fuser", *columns, "current", "superseded_by")
        rows = [
            {key: getattr(model, key) for key in keys}
            | {
                "capabilities": model.capabilities.as_dict(),
                "file": str(model.file) if model.file else None,
                "card": model.card.model_dump(mode="json") if model.card else None,
            }
            for model in models
        ]
        click.echo(json.dumps(rows, indent=2))
    else:
        table = Table(*columns, box=None)
        for model in models:
            state = f"superseded by {model.superseded_by}" if model.superseded_by else "current" * model.current
            tag = f"{model.tag} ({state})" if model.tag and state else model.tag
            cells = {key: str(getattr(model, key)) for key in columns} | {"tag": tag}
            table.add_row(*(Text(printable(cell)) for cell in cells.values()))
        Console(width=None if Console().is_terminal else 160).print(table)
    if problems:
        raise PluginError("; ".join(problems))


@command.command("show")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(name: str, as_json: bool) -> None:
    """Show the card of the model NAME: training data with licences, training, measured scores.

    NAME is FUSER:TASK or FUSER:TASK@TAG, as 'fusionkit models' lists it; the card is Markdown.
    """
    from fusionkit.errors import UsageError
    from fusionkit.models.card import as_markdown
    from fusionkit.models.listing import find_model
    from fusionkit.models.weights import load_fuser
    from fusionkit.plugins import catalogue

    model = find_model(name)
    if name == model.old_name:
        say(f"note: {name} is now called {model.fuser}:{model.task}")
    if model.superseded_by:
        say(f"note: {model.name} is superseded by {model.fuser}:{model.task}@{model.superseded_by}")
    if model.card is None:
        why = "its plugin ships no card" if model.file else model.trained
        raise UsageError(f"{name}: has no model card: {why}")
    title = catalogue.tasks.get(model.task).title
    if as_json:
        click.echo(model.card.model_dump_json(indent=2))
        return
    stretch = load_fuser(model.file)[0].stretch if model.file else ""
    click.echo(as_markdown(model.card, title=title, stretch=stretch), nl=False)


@command.command("package")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--to", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder to write into.")
@click.option(
    "--tag", default="v1", show_default=True, help="Tag that distinguishes the model from others of its task."
)
@click.option("--supersedes", multiple=True, metavar="TAG", help="Model in the folder that it replaces; repeatable.")
@click.option(
    "--bench",
    type=click.Path(path_type=Path, file_okay=False),
    multiple=True,
    help="Folder of 'fusionkit bench' in which the run was compared; may be repeated.",
)
@click.option("--beside", multiple=True, metavar="NAME", help="Other methods to show in the card.  [default: all]")
@click.option("--data", help="Current place of the training pairs.  [default: as recorded in the run]")
@click.option("--force", is_flag=True, help="Replace a model that has the same tag.")
def package(
    run: Path,
    to: Path,
    tag: str,
    supersedes: tuple[str, ...],
    bench: tuple[Path, ...],
    beside: tuple[str, ...],
    data: str | None,
    force: bool,
) -> None:
    """Write the fuser of a finished RUN, and its card, as a plugin ships them.

    The files are TASK.safetensors and TASK.toml for the tag v1, else TASK@TAG.safetensors and TASK@TAG.toml. The card
    is computed from the run folder, the benchmark's records and the records of the data sets.

    \b
    fusionkit bench --task mif --fuser runs/refusion-mif-quick --fuser average --out bench
    fusionkit models package runs/refusion-mif-quick --bench bench --to models
    """
    from fusionkit.bench.model_package import package_model
    from fusionkit.models.card import card_path

    weights, _ = package_model(
        run, to, tag=tag, supersedes=supersedes, bench=bench, beside=beside, data=data, force=force
    )
    answer(f"{weights}\n{card_path(weights)}")
