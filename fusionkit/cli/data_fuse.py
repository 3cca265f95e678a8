"""``fusionkit data fuse`` and ``fusionkit data labels``: data sets that detectors and segmenters train on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fusionkit.cli.notes import answer, say
from fusionkit.io.text import counted

if TYPE_CHECKING:
    from fusionkit.contracts.label_types import LabelKind
    from fusionkit.fuse.fused_dataset import DatasetForm

_PATH = click.Path(path_type=Path)
_DEFAULT_FORM: dict[str, DatasetForm] = {"detection": "yolo", "segmentation": "mask"}


@click.command("fuse")
@click.argument("spec")
@click.option("-o", "--out", type=_PATH, required=True, help="Folder to make.")
@click.option("--task", help="Fusion task; a named data set has its own.")
@click.option(
    "-m",
    "--model",
    help="Run folder, weights file, fuser, or shipped model FUSER:TASK[@TAG].  [default: the one shipped for --task]",
)
@click.option("--stack", is_flag=True, help="Do not fuse: write all channels of all sources as pages of one TIFF.")
@click.option(
    "--labels",
    "kind",
    type=click.Choice(["detection", "segmentation"]),
    default="detection",
    show_default=True,
    help="Labels to carry along.",
)
@click.option(
    "--label-folder",
    "label_folders",
    multiple=True,
    metavar="NAME",
    help="Folder of labels beside the source folders. Given twice, the boxes of both are united.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["yolo", "coco", "voc", "mask"]),
    help="Layout and format of the labels.  [default: yolo for boxes, mask for masks]",
)
@click.option("--split", help="Take only this split.")
@click.option("--dataset", help="Take only this data set of a manifest.")
@click.option("--folders", help="Names of the source sub-folders, in the task's order, separated by commas.")
@click.option("--shard", default="1/1", show_default=True, metavar="I/N", help="Do the I-th of N shares of the pairs.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
def fuse_command(
    spec: str,
    out: Path,
    task: str | None,
    model: str | None,
    stack: bool,
    kind: LabelKind,
    label_folders: tuple[str, ...],
    form: DatasetForm | None,
    split: str | None,
    dataset: str | None,
    folders: str | None,
    shard: str,
    device: str,
) -> None:
    """Fuse the labelled pairs of SPEC into a data set that a detector or segmenter trains on.

    Splits are kept. YOLO's layout has the data.yaml that Ultralytics reads. Check all pairs and labels first; go on
    where an interrupted call stopped. Of several processes with a share each, the last one to end writes data.yaml,
    COCO's annotations, the list of images and the record.

    \b
    fusionkit data fuse streets --task ivif -o streets-fused
    fusionkit data fuse M3FD:/data/M3FD -m refusion:ivif -o m3fd-coco --format coco
    fusionkit data fuse streets --task ivif --stack -o streets-channels
    fusionkit data fuse mine --task ivif --label-folder label_ir --label-folder label_vi -o mine-fused
    """
    from fusionkit.cli.progress import jobs_progress
    from fusionkit.data import verify
    from fusionkit.data.labels import find_labelled, verify_labels
    from fusionkit.data.pair_finding import task_of
    from fusionkit.errors import UsageError
    from fusionkit.fuse.fused_dataset import FusedDataset, fuse_dataset
    from fusionkit.fuse.model import load
    from fusionkit.models.listing import default_fuser
    from fusionkit.plugins.catalogue import tasks

    name = task or task_of(spec)
    if name is None:
        raise UsageError(f"--task: {spec} does not say its task; one of {', '.join(tasks.names())}")
    if stack and model is not None:
        raise UsageError("--stack writes the sources as they are: leave --model out")
    chosen = folders.split(",") if folders else None
    labelled = tuple(
        find_labelled(
            spec, tasks.get(name), kind, split=split, dataset=dataset, folders=chosen, label_folder=label_folder
        )
        for label_folder in label_folders or (None,)
    )
    verify(labelled[0])
    for pairs in labelled:
        verify_labels(pairs)
    loaded = None if stack else load(model or default_fuser(name), name, device=device)
    plan = FusedDataset(labelled, loaded, out, form or _DEFAULT_FORM[kind], folders=label_folders, shard=_share(shard))
    with jobs_progress() as report:
        record = fuse_dataset(plan, report=report)
    if not record["complete"]:
        say(f"note: share {shard} is done; other shares are missing")
    else:
        _say_what_was_made(record, label_folders)
    answer(out)


def _say_what_was_made(record: dict[str, object], label_folders: tuple[str, ...]) -> None:
    splits = record["splits"]
    assert isinstance(splits, dict)
    listed = ", ".join(f"{count} {split or 'train'}" for split, count in splits.items())
    say(f"note: {record['images']} images ({listed})" + (f", {record['boxes']} boxes" if record["boxes"] else ""))
    if len(label_folders) > 1:
        say(f"note: {record['duplicates']} boxes marked what an earlier folder's boxes mark, and were left out")
    if record["format"] == "yolo" and "val" not in splits:
        which = "test" if "test" in splits else "train"
        say(f"note: there is no split 'val', which data.yaml needs: it names {which} there")


def _share(text: str) -> tuple[int, int]:
    from fusionkit.errors import UsageError

    first, slash, second = text.partition("/")
    if slash and first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second):
        return int(first), int(second)
    raise UsageError(f"--shard {text}: write I/N with 1 <= I <= N, such as 1/4")


@click.command("labels")
@click.argument("file", type=_PATH)
@click.option("-o", "--out", type=_PATH, required=True, help="Folder to make.")
def labels_command(file: Path, out: Path) -> None:
    """Write the boxes of the COCO file FILE as YOLO text, one file per image, with the class names beside them.

    A folder of such files beside the source folders, called label, makes them labelled pairs.

    \b
    fusionkit data labels annotations/instances_train.json -o mine/train/label
    """
    from fusionkit.data.labels.coco_files import coco_to_yolo

    images, boxes = coco_to_yolo(file, out)
    say(f"note: {boxes} box{'' if boxes == 1 else 'es'} of {counted(images, 'image')}")
    answer(out)
