"""``fusionkit weights``."""

from __future__ import annotations

from pathlib import Path

import click

from fusionkit.cli.notes import answer


@click.group("weights")
def command() -> None:
    """Inspect weights files and import published ones."""


@command.command("show")
@click.argument("file", type=click.Path(path_type=Path))
def show(file: Path) -> None:
    """Print the description of the weights FILE as JSON: its fuser, options and training."""
    import json
    from dataclasses import asdict

    from fusionkit.models.weights import read_info

    click.echo(json.dumps(asdict(read_info(file)), indent=2))


@command.command("import")
@click.argument("fuser")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help=".safetensors file to write.")
@click.option("--task", default="", help="Task that the weights were trained for.")
def import_(fuser: str, file: Path, out: Path, task: str) -> None:
    """Convert weights that FUSER's authors published (FILE: .safetensors or .pth) to a fusionkit weights file.

    A .pth file is read without running code in it.
    """
    from fusionkit.errors import UsageError
    from fusionkit.models.weights import import_weights, save_fuser
    from fusionkit.plugins import catalogue

    if out.suffix != ".safetensors":
        raise UsageError(f"-o {out}: the name must end in .safetensors")
    if task:
        catalogue.tasks.get(task)
    network, info = import_weights(fuser, file, task=task)
    save_fuser(out, network, info)
    answer(f"{out}: {sum(p.numel() for p in network.parameters()):,} parameters of {fuser}")
