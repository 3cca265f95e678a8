"""``fusionkit align``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from fusionkit.cli.notes import answer, say
from fusionkit.cli.source_options import (
    align_scope_option,
    aligner_option,
    match_option,
    more_sources_option,
    reference_option,
)

if TYPE_CHECKING:
    from fusionkit.fuse.aligning import Aligning

_PATH = click.Path(path_type=Path)


@click.command("align")
@click.option("-a", "first", type=_PATH, required=True, help="First source: a file or a folder.")
@click.option("-b", "second", type=_PATH, required=True, help="Second source.")
@more_sources_option
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write the aligned sources and their transforms to.",
)
@click.option(
    "--kind",
    type=click.Choice(["auto", "translation", "rigid", "affine", "homography"]),
    default="auto",
    show_default=True,
    help="Kind of transform; auto is the usual one of the aligner, such as affine.",
)
@aligner_option
@reference_option
@align_scope_option
@match_option
@click.option("--report", is_flag=True, help="Write nothing; print how far each pair is off.")
def command(
    first: Path,
    second: Path,
    more: tuple[Path, ...],
    out: Path | None,
    kind: str,
    aligner: str,
    reference: str,
    align_scope: Literal["pair", "folder"],
    match: str,
    report: bool,
) -> None:
    """Align images of one scene, of one modality or of two, or folders of them.

    Write the sources on the grid of the reference into one folder per source, a, b..., and transforms.json, which
    'fusionkit fuse --transform' takes. A pair whose alignment is not confident is named and not written.

    \b
    fusionkit align -a infrared.png -b visible.png -o aligned/
    fusionkit align -a ir/ -b vi/ -o aligned/ --align-scope folder
    fusionkit align -a ir/ -b vi/ --report
    """
    from fusionkit.errors import DataError, UsageError
    from fusionkit.fuse.aligning import Aligning, offset, write_transforms
    from fusionkit.fuse.batch import plan_jobs
    from fusionkit.fuse.reading import Reading, upright_where_they_differ
    from fusionkit.io.images import Image, write_image

    if (out is None) == (not report):
        raise UsageError("give the folder to write to, -o, or --report")
    aligning = Aligning(kind, reference_place(reference), align_scope, aligner=aligner)
    plan = plan_jobs([first, second, *more], f"{out or '.'}/", match=match, force=True)
    reading = Reading()
    aligning = aligning.over(plan.jobs, lambda job: upright_where_they_differ(reading.read(job.sources), note=False))
    refused = 0
    off = []
    found = None
    with nullcontext() if out is None else _new_folder(out):
        for job in plan.jobs:
            images = upright_where_they_differ(reading.read(job.sources))
            try:
                found = aligning.find(images)
            except DataError as error:
                refused += 1
                say(f"refused: {error}")
                continue
            for place, one in enumerate(found):
                if one is not None:
                    distance, (x, y) = offset(one, images[place], images[aligning.reference])
                    off.append(distance)
                    if report:
                        answer(
                            f"{job.target.stem}: source {place + 1} is off by {distance:.1f} pixels "
                            f"(centre {x:+.1f}, {y:+.1f}), confidence {one.confidence:.2f}"
                        )
            if out is not None:
                for place, (before, image) in enumerate(zip(images, aligning.apply(images, found), strict=True)):
                    target = out / "abcdefghijklmnopqrstuvwxyz"[place] / f"{job.target.stem}.png"
                    bits = min(before.bits, 16)
                    write_image(target, Image.from_tensor(image.tensor(), bits=bits, exif=before.exif, icc=before.icc))
                single = plan.folder is None or aligning.scope == "folder"
                name = "transforms.json" if single else f"transforms/{job.target.stem}.json"
                write_transforms(out / name, found, reference=aligning.reference)
    if not off:
        raise DataError(f"none of {len(plan.jobs)} scenes can be aligned")
    if report:
        middle = sorted(off)[len(off) // 2]
        answer(f"median {middle:.1f} pixels over {len(off)} alignments, {refused} refused")
        if middle >= 3:
            say("note: the pairs are off by 3 pixels or more: fuse them with --align")
    else:
        answer(out)


@contextmanager
def _new_folder(out: Path) -> Iterator[None]:
    """Make the folder of the first source, which only one of several processes can; remove it if it stays empty.

    Raises:
        fusionkit.errors.DataError: it cannot be written.
        fusionkit.errors.UsageError: something is there already.
    """
    from fusionkit.errors import DataError, UsageError

    was_there = out.exists()
    try:
        if was_there and any(out.iterdir()):
            raise FileExistsError
        out.mkdir(parents=True, exist_ok=True)
        (out / "a").mkdir()
    except FileExistsError:
        raise UsageError(f"{out}: is not empty; name another place") from None
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error.strerror}): choose another place") from None
    try:
        yield
    finally:
        with suppress(OSError):  # not empty
            (out / "a").rmdir()
            if not was_there:
                out.rmdir()


def reference_place(text: str) -> int:
    """Place of the reference, counted from 0, from a letter or a number.

    Raises:
        fusionkit.errors.UsageError: neither.
    """
    from fusionkit.errors import UsageError

    if len(text) == 1 and text.isascii() and text.islower():
        return ord(text) - ord("a")
    if text.isdigit() and int(text) >= 1:
        return int(text) - 1
    raise UsageError(f"--reference {text}: a, b... or a number from 1 is needed")


def chosen_aligning(
    kind: str,
    aligner: str,
    task: str,
    reference: str,
    scope: Literal["pair", "folder"],
    transform: Path | None,
    sources: int,
) -> Aligning | None:
    """Return the rules that the options of a command align sources by, or None.

    Raises:
        fusionkit.errors.UsageError: options that exclude each other, or a reference that is not there.
    """
    from fusionkit.errors import UsageError
    from fusionkit.fuse.aligning import PLACE, RESIZE, Aligning, default_aligner, read_transforms

    if aligner and kind in ("none", RESIZE, PLACE):
        raise UsageError("--aligner: say what it is to find, with --align auto or another kind")
    if transform is not None:
        if kind != "none":
            raise UsageError("--transform gives the alignment: leave --align out")
        place, given = read_transforms(transform)
        return Aligning("auto", place, "folder", given)
    if kind == "none":
        return None
    place = reference_place(reference)
    if place >= sources:
        raise UsageError(f"--reference {reference}: there are {sources} sources")
    stated = kind in (RESIZE, PLACE)
    return Aligning(kind, place, scope, aligner=aligner or ("" if stated else default_aligner(task)))
