"""``fusionkit train``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from fusionkit.cli.notes import answer
from fusionkit.cli.numbers import Number

_ALONGSIDE = {"resume", "extend", "data", "device", "threads", "checkpoint_every", "quiet", "tensorboard"}
"""Options that --resume takes; the others are fixed by the run."""


@click.command("train", context_settings={"show_default": True})
@click.argument("method", required=False)
@click.option("--task", help="Fusion task: ivif, mif, mfif, meif, or a plugin's.")
@click.option(
    "--downstream", metavar="NAME", help="Network that uses the fused image: segmentation, detection, or a plugin's."
)
@click.option("--data", default="sample", help="Folder of pairs, MANIFEST.csv, data set NAME:DIR, or 'sample'.")
@click.option("--split", default="train", help="Split of the data to train on; data without splits is taken whole.")
@click.option("--preset", help="Preset of the method; its first one if not given.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="TOML file of options.")
@click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="One option, e.g. trainer.lr=1e-4.")
@click.option("--out", type=click.Path(path_type=Path), help="Run folder; runs/METHOD-TASK-PRESET if not given.")
@click.option("--resume", type=click.Path(path_type=Path), help="Run folder to resume; add --data if its pairs moved.")
@click.option(
    "--extend",
    type=click.IntRange(1, 1_000_000),
    metavar="N",
    help="With --resume: train a finished run for N more epochs.",
)
@click.option("--device", default="auto", help="auto, cpu or cuda.")
@click.option("--precision", default="fp32", help="fp32, tf32 or bf16.")
@click.option("--seed", default=0, help="Seed of the initial weights and of all random draws.")
@click.option("--threads", type=click.IntRange(1, 1024), help="CPU threads.  [default: all cores]")
@click.option("--checkpoint-every", type=Number(min=0), default=60.0, help="Seconds between checkpoints.")
@click.option("--tensorboard", is_flag=True, help="Also write losses and pictures for TensorBoard, into tensorboard/.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
def command(method: str | None, **given: Any) -> None:
    """Train METHOD on pairs of images and print the run folder.

    \b
    fusionkit train refusion --task mif
    fusionkit train refusion --task ivif --data MSRS:/data/MSRS --preset paper
    fusionkit train tdfusion --task ivif --downstream detection --data LLVIP:/data/LLVIP
    fusionkit train --resume runs/refusion-mif-quick
    fusionkit train --resume runs/refusion-mif-quick --extend 10
    fusionkit train refusion --task ivif --preset bright --set trainer.init=refusion:ivif --data mine
    torchrun --nproc-per-node 2 -m fusionkit train refusion --task mif
    """
    from fusionkit.cli.progress import training_progress
    from fusionkit.config import parse_assignments, read_toml
    from fusionkit.errors import UsageError
    from fusionkit.train.run import TrainRequest, resume, start

    if given["threads"]:
        import torch

        torch.set_num_threads(given["threads"])
    # Under torchrun only the first process prints.
    first = os.environ.get("RANK", "0") == "0"
    with training_progress(given["quiet"] or not first) as report:
        settings = {
            "report": report,
            "checkpoint_seconds": given["checkpoint_every"],
            "tensorboard": given["tensorboard"],
        }
        if given["resume"] is not None:
            context = click.get_current_context()
            stated = [name for name in given if context.get_parameter_source(name) == ParameterSource.COMMANDLINE]
            fixed = [flag for flag, name in _flags(context) if name in stated and name not in _ALONGSIDE]
            if method or fixed:
                what = ", ".join([*(["the method"] if method else []), *fixed])
                raise UsageError(
                    f"--resume takes {what} from the run: leave it out, or start a new run without --resume"
                )
            device = None if given["device"] == "auto" else given["device"]
            data = given["data"] if "data" in stated else None
            folder = resume(given["resume"], device=device, data=data, extend=given["extend"] or 0, **settings)
        else:
            if given["extend"]:
                raise UsageError("--extend goes on with a finished run: name it by --resume RUN")
            if not method or not given["task"]:
                raise UsageError(
                    "give a method and --task: fusionkit train METHOD --task TASK; see 'fusionkit plugins list'"
                )
            request = TrainRequest(
                method=method,
                task=given["task"],
                data=given["data"],
                split=given["split"],
                preset=given["preset"],
                file=read_toml(given["config_file"]) if given["config_file"] else None,
                options=parse_assignments(given["assignments"]),
                downstream=given["downstream"],
                device=given["device"],
                precision=given["precision"],
                seed=given["seed"],
            )
            folder = start(request, given["out"], **settings)
    if first:
        answer(folder.path)


def _flags(context: click.Context) -> list[tuple[str, str]]:
    """Flag and name of every option."""
    return [(p.opts[0], p.name or "") for p in context.command.params if isinstance(p, click.Option)]
