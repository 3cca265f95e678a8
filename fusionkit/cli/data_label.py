"""``fusionkit data label``: label pairs by a network that is trained already."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fusionkit.cli.notes import answer, say
from fusionkit.cli.numbers import Number

if TYPE_CHECKING:
    from fusionkit.fuse.automatic_labels import LabelForm

_PATH = click.Path(path_type=Path)


@click.command("label")
@click.argument("spec")
@click.option("--weights", type=_PATH, required=True, help="A run's downstream.safetensors, or torchvision's.")
@click.option("--network", default="", metavar="NAME", help="torchvision's name of the network, unless it is a run's.")
@click.option("--classes", type=_PATH, help="List of the classes that it was trained with, one per line.")
@click.option("--keep", default="", metavar="NAMES", help="Classes to keep, separated by commas.  [default: all]")
@click.option("--confidence", type=Number(0, 1), default=0.5, show_default=True, help="Least confidence.")
@click.option("--on", "seen", default="b", show_default=True, help="Image that the network sees: a, b..., or fused.")
@click.option("-m", "--model", help="Fuse with this for --on fused.  [default: the one shipped for --task]")
@click.option("--task", help="Fusion task; a named data set has its own.")
@click.option("--split", help="Take only this split.")
@click.option("--folders", help="Names of the source sub-folders, in the task's order, separated by commas.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["yolo", "coco", "voc", "mask"]),
    help="Files of the labels.  [default: yolo for boxes, mask for masks]",
)
@click.option("-o", "--out", type=_PATH, help="Folder of the labels.  [default: label beside the source folders]")
def label_command(
    spec: str,
    weights: Path,
    network: str,
    classes: Path | None,
    keep: str,
    confidence: float,
    seen: str,
    model: str | None,
    task: str | None,
    split: str | None,
    folders: str | None,
    form: LabelForm | None,
    out: Path | None,
) -> None:
    """Label the pairs of SPEC by a trained network, so that TDFusion can be trained on them.

    The network is the downstream network of a run, or one of torchvision's detectors and segmenters with weights that
    you have. Nothing is downloaded. confidence.csv says how sure the network is: look at the labels before you train.

    \b
    fusionkit data label mine --task ivif --weights runs/tdfusion-ivif-quick/downstream.safetensors --on fused
    fusionkit data label mine --task ivif --network fcos_resnet50_fpn --weights fcos.pth --keep person,car
    """
    from fusionkit.cli.align import reference_place
    from fusionkit.cli.progress import jobs_progress
    from fusionkit.data import find_pairs
    from fusionkit.data.pair_finding import task_of
    from fusionkit.errors import DataError, UsageError
    from fusionkit.fuse.automatic_labels import LabelPlan, label_pairs
    from fusionkit.fuse.model import load
    from fusionkit.models.labelling import load_labeller
    from fusionkit.models.listing import default_fuser
    from fusionkit.plugins.catalogue import tasks

    name = task or task_of(spec)
    if name is None:
        raise UsageError(f"--task: {spec} does not say its task; one of {', '.join(tasks.names())}")
    if model is not None and seen != "fused":
        raise UsageError("--model: is for --on fused")
    pairs = find_pairs(spec, tasks.get(name), split=split, folders=folders.split(",") if folders else None)
    place = None if seen == "fused" else reference_place(seen)
    if place is not None and place >= len(tasks.get(name).sources):
        raise UsageError(f"--on {seen}: there are {len(tasks.get(name).sources)} sources")
    names: tuple[str, ...] = ()
    if classes is not None:
        try:
            lines = classes.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{classes}: cannot be read as a list of classes ({error})") from None
        names = tuple(line.strip() for line in lines if line.strip())
    labeller = load_labeller(weights, network=network, classes=names)
    loaded = load(model or default_fuser(name), name) if place is None else None
    wanted = tuple(one.strip() for one in keep.split(",") if one.strip())
    default: LabelForm = "mask" if labeller.kind == "segmentation" else "yolo"
    plan = LabelPlan(pairs, labeller, form or default, out, place, loaded, confidence, wanted)
    with jobs_progress() as report:
        counts = label_pairs(plan, report=report)
    what = f"{counts['boxes']} boxes" if "boxes" in counts else f"{counts['pixels']} pixels"
    say(f"note: {what} in {counts['images']} images, nothing in {counts['nothing']}, by {labeller.name}")
    answer(out or pairs.origin)
