"""``fusionkit export``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import click

_SIZE = re.compile(r"(\d{1,6})x(\d{1,6})")


@click.command("export")
@click.argument("model")
@click.option("-o", "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The .onnx file.")
@click.option("--task", help="Fusion task, where MODEL is a fuser with models for several.")
@click.option("--size", default="dynamic", show_default=True, help="HEIGHTxWIDTH to make the file for, or dynamic.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16"]),
    default="fp32",
    show_default=True,
    help="Number type of the weights in the file.",
)
@click.option("--check/--no-check", default=True, show_default=True, help="Run the file and compare it with PyTorch.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
def command(
    model: str, out: Path, task: str | None, size: str, precision: Literal["fp32", "fp16"], check: bool, force: bool
) -> None:
    """Write the network of MODEL as an ONNX file, for programs without PyTorch.

    MODEL is a run folder, a weights file or a shipped model FUSER:TASK[@TAG]. The file takes the sources' luminance,
    one (1, 1, height, width) float32 input in [0, 1] per source, and gives the fused luminance; its metadata say what
    model it is, and which range stretch its authors apply. Before the file takes its place it is run in onnxruntime
    and compared with PyTorch; the largest difference is printed. Needs the extra: pip install 'image-fusionkit[export]'

    \b
    fusionkit export refusion:ivif -o fuser.onnx
    fusionkit export runs/refusion-mif-quick -o fuser.onnx --size 480x640 --precision fp16
    """
    from fusionkit.errors import DataError, UsageError
    from fusionkit.fuse.model import load
    from fusionkit.models.onnx import export_onnx

    if out.suffix.lower() != ".onnx":
        raise UsageError(f"--out {out}: give a name that ends in .onnx")
    if out.exists() and not force:
        raise DataError(f"{out}: exists; replace it with --force, or give another name")
    given = _SIZE.fullmatch(size)
    if given is None and size != "dynamic":
        raise UsageError(f"--size {size}: give HEIGHTxWIDTH such as 480x640, or dynamic")
    loaded = load(model, task, device="cpu")
    described = loaded.describe()
    kept = ("model", "fuser", "task", "tag", "weights_sha256")
    metadata = {key: str(described[key]) for key in kept} | {"version": described["versions"]["image-fusionkit"]}
    written = export_onnx(
        loaded.fuser,
        out,
        size=(int(given[1]), int(given[2])) if given else None,
        precision=precision,
        metadata=metadata,
        check=check,
    )
    if written.difference is not None:
        sizes = ", ".join(f"{height}x{width}" for height, width in written.sizes)
        click.echo(f"differs from PyTorch by at most {written.difference:.2g} on images in [0, 1] ({sizes})", err=True)
    click.echo(out)
