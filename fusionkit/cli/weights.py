"""``fusionkit weights``."""

from __future__ import annotations

from pathlib import Path

import click


@click.group("weights")
def command() -> None:
    """Inspect weights files and import published ones."""


@command.command("show")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(file: Path, as_json: bool) -> None:
    """Describe the weights FILE: of a fusionkit file its fuser, options and training, of any other one its tensors.

    A file that is not fusionkit's is printed as a tree of names, shapes and types, with the keys that wrap the tensors,
    names of one tensor, and the network that it belongs to, if it is a known one. Nothing in it is run.
    """
    import json
    from dataclasses import asdict

    from fusionkit.models.contents import describe_file, is_own, tree_lines
    from fusionkit.models.weights import read_info

    if is_own(file):
        click.echo(json.dumps(asdict(read_info(file)), indent=2))
        return
    described = describe_file(file)
    click.echo(json.dumps(asdict(described), indent=2) if as_json else "\n".join(tree_lines(described)))


@command.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--fuser", default="", help="The fuser whose weights they are.  [default: recognised]")
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help=".safetensors file to write.")
@click.option("--task", default="", help="Task to use the weights for, where their options depend on it.")
@click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="Option of the fuser; may be repeated.")
def import_(files: tuple[Path, ...], fuser: str, out: Path, task: str, assignments: tuple[str, ...]) -> None:
    """Convert weights that a method's authors published to a fusionkit weights file.

    FILE is a .safetensors, .pth, .pt, .pkl, .model or .npy file; some networks have several. The network is recognised
    by the names and shapes of the tensors. No code in the files is run.

    \b
    fusionkit weights import student.model -o mmdrfuse.safetensors
    fusionkit weights import Encoder_weight_IJCAI.pkl Decoder_weight_IJCAI.pkl -o didfuse.safetensors
    """
    from fusionkit.config import parse_assignments
    from fusionkit.errors import UsageError
    from fusionkit.models.recognition import import_published
    from fusionkit.models.weights import save_fuser
    from fusionkit.plugins import catalogue

    if out.suffix != ".safetensors":
        raise UsageError(f"-o {out}: the name must end in .safetensors")
    if task:
        catalogue.tasks.get(task)
    first = str(files[0])
    if len(files) > 1 and not fuser and first in catalogue.fusers.names() and not files[0].exists():
        click.echo(f"note: the fuser is recognised, or named by --fuser {first}", err=True)
        fuser, files = first, files[1:]
    network, info, published = import_published(files, fuser=fuser, task=task, options=parse_assignments(assignments))
    save_fuser(out, network, info)
    click.echo(f"{out}: {sum(p.numel() for p in network.parameters()):,} parameters of {info.fuser}")
    if published is not None:
        exact = "; not the published file itself" if info.training["as_published"] is False else ""
        click.echo(f"{published.title}, {published.source}: {published.terms}{exact}", err=True)
