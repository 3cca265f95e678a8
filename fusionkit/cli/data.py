"""``fusionkit data``: list the named data sets, check and prepare data on disk."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fusionkit.cli.data_fuse import fuse_command, labels_command
from fusionkit.cli.data_label import label_command
from fusionkit.cli.data_prepare import prepare_command
from fusionkit.cli.notes import say
from fusionkit.errors import UsageError
from fusionkit.io.text import counted

if TYPE_CHECKING:
    from fusionkit.contracts.label_types import LabelKind
    from fusionkit.data.dataset_layout import Layout
    from fusionkit.data.pair_set import PairSet
    from fusionkit.plugins.declarations import Dataset


@click.group("data")
def command() -> None:
    """List, check and prepare data sets.

    SPEC is a folder with one sub-folder per source, a folder with a MANIFEST.csv, 'sample', or NAME:DIR for a data set
    of 'fusionkit data list'. Nothing is ever downloaded.
    """


command.add_command(fuse_command)
command.add_command(label_command)
command.add_command(labels_command)
command.add_command(prepare_command)


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_command(as_json: bool) -> None:
    """List the named data sets with task, published pairs and licence."""
    from fusionkit.plugins.catalogue import datasets

    records = [datasets.get(name) for name in datasets.names()]
    if as_json:
        click.echo(json.dumps([_as_dict(record) for record in records], indent=2))
        return
    rows = [(r.name, r.task, _counts(r.splits), r.licence) for r in records]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    for row in rows:
        click.echo("  ".join([*(cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)), row[3]]))


@command.command("show")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show_command(name: str, as_json: bool) -> None:
    """Show the record of the data set NAME: where it is published, its licence, layout and splits."""
    from fusionkit.plugins.catalogue import datasets

    record = datasets.get(name)
    if as_json:
        click.echo(json.dumps(_as_dict(record), indent=2))
        return
    click.echo(f"{record.name}: {record.title}")
    for label in ("task", "homepage", "licence", "citation", "images", "paper_split", "verified"):
        if getattr(record, label):
            click.echo(f"  {label.replace('_', ' ')}: {getattr(record, label)}")
    click.echo(f"  pairs: {_counts(record.splits)}")
    for layout in _layouts(record):
        click.echo(f"  layout ({layout.source}):")
        for part in layout.parts:
            beside = (("truth", part.truth), ("masks", part.masks), ("boxes", part.boxes), ("listed in", part.listed))
            more = "".join(f", {what} {place}" for what, place in beside if place)
            click.echo(f"    {part.split or 'all'}: {' with '.join(part.sources)}{more}")
    for labels in record.labels:
        click.echo(f"  labels for {labels.kind}: {', '.join(labels.classes)}")
        click.echo(f"    verified: {labels.verified}")


LABEL_KINDS: tuple[LabelKind, ...] = ("segmentation", "detection")


def _selection(wrapped: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--folders", help="Names of the source sub-folders, in the task's order, separated by commas."),
        click.option("--dataset", help="Take only this data set of a manifest."),
        click.option("--split", help="Take only this split."),
        click.option("--task", help="Fusion task; a named data set has its own."),
        click.option("--labels", type=click.Choice(LABEL_KINDS), help="Include labels of this kind."),
        click.argument("spec"),
    ):
        wrapped = option(wrapped)
    return wrapped


@command.command("verify")
@_selection
@click.option("--decode", is_flag=True, help="Decode every file to its end, and compare the splits with each other.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify_command(spec: str, decode: bool, as_json: bool, **choice: str | None) -> None:
    """Check the pairs of SPEC: partners, names, sizes, readable headers, known digests.

    With --labels, check also that every pair has a valid label: size, known classes, boxes inside the image. Print the
    number of pairs and a fingerprint of their content and names, among them that of the data set, which is the
    folder's where nothing else names it. If anything is wrong, name it and exit with 4.
    """
    from fusionkit.data import verify

    pairs = _find(spec, **choice)
    verify(pairs, decode=decode)
    if pairs.labels is not None:
        from fusionkit.data.labels import count_labels, verify_labels

        verify_labels(pairs)
        unit = "pixels" if pairs.labels.kind == "segmentation" else "boxes"
        counted_labels = count_labels(pairs)
        labelled = f", {unit}: {', '.join(f'{name} {count}' for name, count in counted_labels.items())}"
    else:
        labelled, counted_labels = "", {}
    known = sum(any(pair.sha256) for pair in pairs)
    if as_json:
        facts = {"origin": pairs.origin, "task": pairs.task.name, "pairs": len(pairs), "splits": pairs.splits}
        facts |= {"known_digests": known, "labels": counted_labels, "fingerprint": pairs.fingerprint()}
        click.echo(json.dumps(facts, indent=2))
        return
    splits = _counts(pairs.splits)
    click.echo(f"{pairs.origin}: {counted(len(pairs), 'pair')} ok ({splits}), {known} with known digests{labelled}")
    click.echo(f"fingerprint {pairs.fingerprint()}")


@command.command("manifest")
@_selection
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The CSV file to write.")
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
def manifest_command(spec: str, output: Path, force: bool, **choice: str | None) -> None:
    """Check the pairs of SPEC and write them, with their digests, as a manifest; with --labels, also the labels.

    File names are relative to the manifest. A manifest in the data's folder makes the folder a SPEC with digests.
    """
    from fusionkit.data import verify
    from fusionkit.data.manifest import write_manifest

    if output.exists() and not force:
        raise UsageError(f"{output}: is there already: choose another file or add --force")
    pairs = _find(spec, **choice)
    verify(pairs)
    if pairs.labels is not None:
        from fusionkit.data.labels import verify_labels

        verify_labels(pairs)
    write_manifest(output, pairs)
    click.echo(f"{output}: {counted(len(pairs), 'pair')} ({_counts(pairs.splits)})")


@command.command("unpack")
@click.argument("spec")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder to create.")
@click.option("--as-stored", is_flag=True, help="Leave photographs and temperatures at their sizes, not aligned.")
def unpack_command(spec: str, output: Path, as_stored: bool) -> None:
    """Separate the sources of files that hold both.

    SPEC is NAME:DIR for a data set that stores infrared as the fourth channel of the visible images, for example
    MFNet:ir_seg_dataset; or a folder, or a file, of radiometric JPEG of a FLIR camera (extra radiometric): its
    temperatures become float TIFF in degrees Celsius, and are aligned with the photograph by what the file says.
    """
    from fusionkit.data.unpack import unpack
    from fusionkit.plugins.catalogue import datasets, tasks

    name, colon, place = spec.partition(":")
    if not colon or Path(spec).exists():
        _unpack_thermal(spec, output, as_stored)
        return
    if as_stored:
        raise UsageError("--as-stored: is for radiometric JPEG, and the sources of this data set are aligned")
    record = datasets.get(name)
    pairs = unpack(record, Path(place).expanduser(), tasks.get(record.task), output)
    click.echo(f"{output}: {counted(len(pairs), 'pair')} ({_counts(pairs.splits)})")


def _unpack_thermal(spec: str, output: Path, as_stored: bool) -> None:
    from fusionkit.fuse.thermal_photos import thermal_photos_in, unpack_thermal

    place = Path(spec).expanduser()
    if not place.exists():
        raise UsageError(
            f"{spec}: no such folder of radiometric JPEG; for a data set write NAME:DIR, its name and its folder"
        )
    record = unpack_thermal(thermal_photos_in(place), output, as_stored=as_stored)
    for name, why in record["skipped"].items():
        say(f"skipped: {name}: {why}")
    ranges = [facts["celsius"] for facts in record["files"].values() if facts["celsius"]]
    if ranges:
        say(f"note: {min(low for low, _ in ranges):.1f} to {max(high for _, high in ranges):.1f} degrees Celsius")
    click.echo(f"{output}: {counted(len(record['files']), 'pair')}")


def _find(
    spec: str, *, task: str | None, split: str | None, dataset: str | None, folders: str | None, labels: str | None
) -> PairSet:
    from fusionkit.data import find_pairs
    from fusionkit.data.pair_finding import task_of
    from fusionkit.plugins.catalogue import tasks

    name = task or task_of(spec)
    if name is None:
        raise UsageError(f"--task: {spec} does not say its task; one of {', '.join(tasks.names())}")
    chosen = folders.split(",") if folders else None
    for kind in LABEL_KINDS:
        if kind == labels:
            from fusionkit.data.labels import find_labelled

            return find_labelled(spec, tasks.get(name), kind, split=split, dataset=dataset, folders=chosen)
    return find_pairs(spec, tasks.get(name), split=split, dataset=dataset, folders=chosen)


def _counts(splits: dict[str, int] | dict[str, int | None]) -> str:
    return ", ".join(f"{'?' if n is None else n} {split or 'in all'}" for split, n in splits.items())


def _layouts(record: Dataset) -> tuple[Layout, ...]:
    """The path templates of a data set; none where its pairs are found by another rule."""
    from fusionkit.data.named_dataset import NamedDataset

    return record.layouts if isinstance(record, NamedDataset) else ()


def _as_dict(record: Dataset) -> dict[str, Any]:
    facts = {
        name: getattr(record, name)
        for name in ("name", "title", "task", "homepage", "licence", "citation", "images", "paper_split", "verified")
    }
    layouts = [
        {
            "source": layout.source,
            "parts": [
                {"split": p.split, "sources": p.sources, "truth": p.truth, "masks": p.masks, "boxes": p.boxes}
                for p in layout.parts
            ],
        }
        for layout in _layouts(record)
    ]
    labels = [dataclasses.asdict(known) for known in record.labels]
    return {**facts, "layouts": layouts, "labels": labels, "splits": record.splits}
