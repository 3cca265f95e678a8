"""``fusionkit data prepare``: raw pairs become plain aligned images that every command reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from fusionkit.cli.notes import answer, say
from fusionkit.cli.source_options import align_scope_option, aligner_option, reference_option, resize_option

if TYPE_CHECKING:
    from fusionkit.contracts.label_types import LabelKind

_RANGE = "Values of the {} source that become 0 and 1, as in 'fusionkit fuse'."


@click.command("prepare")
@click.argument("spec")
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="Folder to make.")
@click.option("--task", help="Fusion task; a named data set has its own.")
@click.option("--split", help="Take only this split.")
@click.option("--dataset", help="Take only this data set of a manifest.")
@click.option("--folders", help="Names of the source sub-folders, in the task's order, separated by commas.")
@click.option("--range-a", default="auto", show_default=True, help=_RANGE.format("first"))
@click.option("--range-b", default="auto", show_default=True, help=_RANGE.format("second"))
@click.option(
    "--range-scope",
    type=click.Choice(["image", "folder"]),
    default="folder",
    show_default=True,
    help="Find the range of each image, or one for all images of a source.",
)
@click.option("--fill-invalid", is_flag=True, help="Fill NaN, infinite values and stuck pixels from their neighbours.")
@click.option(
    "--align",
    "kind",
    type=click.Choice(["none", "auto", "translation", "rigid", "affine", "homography"]),
    default="none",
    show_default=True,
    help="Align the sources. Alignments that are not confident are refused.",
)
@aligner_option
@reference_option
@align_scope_option
@resize_option
@click.option(
    "--labels",
    type=click.Choice(["segmentation", "detection"]),
    help="Take labels of this kind along, see --labels-of.",
)
@click.option("--labels-of", metavar="SOURCE", help="Source that the labels were drawn on.  [default: --reference]")
@click.option("--skip-bad", is_flag=True, help="Leave out pairs that cannot be read or aligned.")
def prepare_command(
    spec: str,
    out: Path,
    task: str | None,
    split: str | None,
    dataset: str | None,
    folders: str | None,
    range_a: str,
    range_b: str,
    range_scope: Literal["image", "folder"],
    fill_invalid: bool,
    kind: str,
    aligner: str,
    reference: str,
    align_scope: Literal["pair", "folder"],
    resize: bool,
    labels: LabelKind | None,
    labels_of: str | None,
    skip_bad: bool,
) -> None:
    """Scale the ranges of raw pairs and align them, once, into plain PNG files that train, bench and score read.

    Labels go along; those drawn on a source that is moved are moved by the same transform. prepared.json records ranges
    and transforms.

    \b
    fusionkit data prepare thermal --task ivif -o pairs --range-a 27315,31315
    fusionkit data prepare thermal --task ivif -o pairs --align auto --align-scope folder
    fusionkit data prepare thermal --task ivif -o pairs --align auto --labels detection --labels-of a
    """
    from fusionkit.cli.align import reference_place
    from fusionkit.cli.progress import jobs_progress
    from fusionkit.data import find_pairs
    from fusionkit.data.labels import find_labelled
    from fusionkit.data.pair_finding import task_of
    from fusionkit.errors import UsageError
    from fusionkit.fuse.aligning import RESIZE, Aligning, default_aligner
    from fusionkit.fuse.prepared_dataset import Preparation, prepare_dataset
    from fusionkit.fuse.reading import Reading
    from fusionkit.io.ranges import parse_range
    from fusionkit.plugins.catalogue import tasks

    name = task or task_of(spec)
    if name is None:
        raise UsageError(f"--task: {spec} does not say its task; one of {', '.join(tasks.names())}")
    chosen = folders.split(",") if folders else None
    if labels is not None:
        pairs = find_labelled(spec, tasks.get(name), labels, split=split, dataset=dataset, folders=chosen)
    else:
        pairs = find_pairs(spec, tasks.get(name), split=split, dataset=dataset, folders=chosen)
    ranges = (parse_range(range_a, option="--range-a"), parse_range(range_b, option="--range-b"))
    stays, drawn_on = reference_place(reference), reference_place(labels_of) if labels_of else None
    count = min((len(pair.files) for pair in pairs), default=0)
    for option, place in (("--reference", stays), ("--labels-of", drawn_on or 0)):
        if place >= count:
            raise UsageError(f"{option}: source {place + 1} of {count} is asked for")
    if labels_of and labels is None:
        raise UsageError("--labels-of: say which labels go along, with --labels")
    if resize and kind != "none":
        raise UsageError("--resize: --align brings sources to one size already; leave one out")
    chosen_kind = RESIZE if resize else kind
    aligning = None
    if chosen_kind != "none":
        aligning = Aligning(chosen_kind, stays, align_scope, aligner=aligner or default_aligner(name))
    plan = Preparation(pairs, out, Reading(ranges, range_scope, fill_invalid), aligning, drawn_on, skip_bad)
    with jobs_progress() as report:
        record = prepare_dataset(plan, report=report)
    for key, why in record["skipped"].items():
        say(f"skipped: {key}: {why}")
    if record["boxes_outside"]:
        say(f"note: {record['boxes_outside']} boxes lie outside the aligned images, and were left out")
    say(f"note: {record['pairs']} pairs")
    answer(out)
