"""``fusionkit fuse``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from fusionkit.cli.fuse_series import fuse_clip, fuse_volume
from fusionkit.cli.notes import answer, say
from fusionkit.cli.numbers import Number
from fusionkit.cli.source_options import (
    align_scope_option,
    aligner_option,
    match_option,
    more_sources_option,
    reference_option,
    resize_option,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fusionkit.fuse.batch import Plan
    from fusionkit.fuse.model import Model
    from fusionkit.io.volumes import Plane

_SHOWN = 3
_RANGE_HELP = (
    "Values of the first source that become 0 and 1: auto, full, minmax, percentile:LO,HI, LO,HI, or window:NAME of CT "
    "(brain, bone, lung...). auto scales 16-bit images that fill little of their range, signed integers, and floats "
    "outside 0..1."
)
_PATH = click.Path(path_type=Path)


@click.command("fuse")
@click.option(
    "-m",
    "--model",
    help="Run folder, weights file, fuser, or shipped model FUSER:TASK[@TAG].  [default: the one shipped for --task]",
)
@click.option("--task", help="Fusion task: ivif, mif, mfif, meif, or a plugin's.")
@click.argument("given", metavar="[SOURCES]...", nargs=-1, type=_PATH)
@click.option("-a", "first", type=_PATH, help="First source: infrared, CT/PET/SPECT, near, under.")
@click.option("-b", "second", type=_PATH, help="Second source: visible, MRI, far, over.")
@more_sources_option
@click.option("-o", "--out", required=True, help="File or folder to write.")
@click.option(
    "--stretch",
    type=click.Choice(["full", "none"]),
    help="Stretch each fused luminance to its full range, or not.  [default: as the model's authors do]",
)
@click.option(
    "--gamut",
    type=click.Choice(["keep-luminance", "clip"]),
    default="keep-luminance",
    show_default=True,
    help="Where a fused colour leaves RGB, reduce its chroma, or clip each channel as the papers' code does.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option(
    "--backend",
    type=click.Choice(["auto", "torch", "native"]),
    default="auto",
    show_default=True,
    help="On a CPU: the method's compiled form where there is one, PyTorch, or the compiled form alone.",
)
@click.option(
    "--speed",
    type=click.Choice(["exact", "half", "quarter", "eighth"]),
    default="exact",
    show_default=True,
    help="Fuse all pixels, or approximate that from two sources shrunk 2, 4 or 8 times.",
)
@click.option(
    "--balance",
    type=Number(-1, 1),
    default=0.0,
    show_default=True,
    help="Move the result towards the first source (-1) or the second (1).",
)
@click.option(
    "--bits", type=click.Choice(["8", "16", "32"]), help="Bits per sample.  [default: the most of any source]"
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["png", "tif", "jpg", "bmp"]),
    default="png",
    show_default=True,
    help="Format of results in a folder.",
)
@click.option("--range-a", default="auto", show_default=True, help=_RANGE_HELP)
@click.option("--range-b", default="auto", show_default=True, help="The same of the second source.")
@click.option("--range-s", multiple=True, help="The same of a further source, in the order of -s; may be repeated.")
@click.option(
    "--range-scope",
    type=click.Choice(["image", "folder"]),
    default="image",
    show_default=True,
    help="Find the range of each image, or one for all images of a source.",
)
@click.option("--fill-invalid", is_flag=True, help="Fill NaN, infinite values and stuck pixels from their neighbours.")
@click.option(
    "--align",
    "kind",
    type=click.Choice(["none", "auto", "translation", "rigid", "affine", "homography", "place"]),
    default="none",
    show_default=True,
    help="Align the sources first; auto is the usual kind of the aligner, place goes by the tags of GeoTIFF. Unsure "
    "alignments are refused. Where neither this nor none is given, a shift of the sources is noted.",
)
@aligner_option
@reference_option
@align_scope_option
@resize_option
@click.option("--transform", type=_PATH, help="Align by the transforms in a file that 'fusionkit align' wrote.")
@match_option
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="Option of a method without weights, as in --set base_radius=8; may be repeated.",
)
@click.option(
    "--maps",
    is_flag=True,
    help="Also write the weight of each source at each pixel, beside the result or in maps/ of a folder.",
)
@click.option(
    "--spacing",
    type=Number(min=0, min_open=True),
    metavar="DISTANCE",
    help="Distance between the frames of a focus stack: also write the depth, in the same unit, and a picture of it.",
)
@click.option(
    "--plane",
    type=click.Choice(["axial", "coronal", "sagittal"]),
    help="Cut volumes along this plane to fuse them.  [default: axial]",
)
@click.option(
    "--colormap", metavar="NAME", help="Show the first volume in one of Matplotlib's colour maps: hot, jet..."
)
@click.option("--lossless", is_flag=True, help="Write a fused video without loss (FFV1), into .mkv.")
@click.option("--force", is_flag=True, help="Replace existing results.")
@click.option("--skip-bad", is_flag=True, help="Fuse the good pairs of folders and leave the others out.")
def command(
    model: str | None,
    task: str | None,
    given: tuple[Path, ...],
    first: Path | None,
    second: Path | None,
    more: tuple[Path, ...],
    out: str,
    stretch: Literal["full", "none"] | None,
    gamut: Literal["keep-luminance", "clip"],
    device: str,
    backend: Literal["auto", "torch", "native"],
    speed: Literal["exact", "half", "quarter", "eighth"],
    balance: float,
    bits: str | None,
    form: str,
    range_a: str,
    range_b: str,
    range_s: tuple[str, ...],
    range_scope: Literal["image", "folder"],
    fill_invalid: bool,
    kind: str,
    aligner: str,
    reference: str,
    align_scope: Literal["pair", "folder"],
    resize: bool,
    transform: Path | None,
    match: str,
    assignments: tuple[str, ...],
    maps: bool,
    spacing: float | None,
    plane: Plane | None,
    colormap: str | None,
    lossless: bool,
    force: bool,
    skip_bad: bool,
) -> None:
    """Fuse aligned images, folders of images whose files are matched by name, videos, or volumes.

    Print the path of the result. For folders, read every source first: if any pair cannot be fused, name all such pairs
    and write nothing, unless --skip-bad is given. Keep existing results unless --force is given. Record the model and
    the settings of a folder in its fusion.json.

    Sources are named by -a, -b and -s, or as arguments in the task's order. FILE[2] is the third page of a TIFF file or
    animation; one file with several pages, given alone as argument, is fused as a stack of its pages.

    \b
    fusionkit fuse --task mfif shot-*.jpg -o fused.png
    fusionkit fuse --task ivif -a infrared.png -b visible.png -o fused.png
    fusionkit fuse -m refusion:ivif@v1 -a infrared.png -b visible.png -o fused.png
    fusionkit fuse -m runs/refusion-mif-quick -a pet.png -b mri.png -o fused.png
    fusionkit fuse -m laplacian -a near/ -b far/ -o fused/
    fusionkit fuse -m gff --set base_radius=8 -a near.png -b far.png -o fused.png
    fusionkit fuse --task ivif -a thermal/ -b rgb/ -o fused/ --range-a 27315,31315 --match number
    fusionkit fuse --task ivif -a infrared.mp4 -b visible.mp4 -o fused.mp4
    fusionkit fuse --task mif -a ct.nii.gz -b mri.nii.gz -o fused.nii.gz --range-a window:brain
    """
    from click.core import ParameterSource

    from fusionkit.cli.align import chosen_aligning, reference_place
    from fusionkit.cli.progress import jobs_progress
    from fusionkit.config import parse_assignments
    from fusionkit.errors import DataError, UsageError
    from fusionkit.fuse.aligning import RESIZE
    from fusionkit.fuse.batch import check_jobs, plan_jobs, run_jobs
    from fusionkit.fuse.model import load
    from fusionkit.fuse.reading import Reading
    from fusionkit.fuse.source_maps import MapWriter
    from fusionkit.fuse.video import VideoPlan
    from fusionkit.fuse.volume import VolumePlan
    from fusionkit.io.ranges import parse_range
    from fusionkit.io.videos import VIDEO_SUFFIXES
    from fusionkit.io.volumes import is_volume

    if model is None and task is None:
        raise UsageError("say what to fuse with: --task for the model that ships for it, or --model")
    depth = int(bits) if bits else None
    options = parse_assignments(assignments)
    sources, stack = _named_sources(given, first, second, more)
    if len(range_s) > max(len(sources) - 2, 0):
        raise UsageError(f"--range-s is given {len(range_s)} times: one per source after the second at most")
    named = {"--range-a": range_a, "--range-b": range_b, **{f"--range-s ({k})": t for k, t in enumerate(range_s, 1)}}
    ranges = tuple(parse_range(text, option=option) for option, text in named.items())
    if stack:
        ranges = ranges[:1] * len(sources)
    reading = Reading(ranges, range_scope, fill_invalid)
    if resize and (kind != "none" or transform is not None):
        raise UsageError("--resize: --align and --transform bring sources to one size already; leave one out")
    chosen = RESIZE if resize else kind
    aligning = chosen_aligning(chosen, aligner, task or "", reference, align_scope, transform, len(sources))

    def load_model() -> Model:
        named = model
        if named is None:
            from fusionkit.models.listing import default_fuser

            named = default_fuser(task or "")
        return load(
            named,
            task,
            device=device,
            stretch=stretch,
            gamut=gamut,
            options=_with_reference(options, named, reference, used=aligning is not None),
            backend=backend,
            speed=speed,
            balance=balance,
        )

    asked = click.get_current_context().get_parameter_source("kind") is not ParameterSource.DEFAULT
    look_for_shift = not asked and aligning is None
    if any(is_volume(source) for source in sources):
        if maps or spacing is not None or lossless or aligning is not None:
            raise UsageError("--maps, --spacing, --lossless, --align, --resize and --transform are not for volumes")
        grid = reference_place(reference)
        fuse_volume(
            VolumePlan(tuple(sources), Path(out), reading, grid, plane or "axial", colormap, depth, force), load_model()
        )
        return
    if plane is not None or colormap is not None:
        raise UsageError("--plane and --colormap are for volumes: NIfTI files and folders of DICOM slices")
    if any(source.suffix.lower() in VIDEO_SUFFIXES for source in sources):
        if maps or spacing is not None or bits is not None:
            raise UsageError("--maps, --spacing and --bits are for images, not for videos")
        clip = VideoPlan(tuple(sources), Path(out), reading, aligning, lossless, force, look_for_shift)
        fuse_clip(clip, load_model)
        return
    if lossless:
        raise UsageError("--lossless is for videos: images are written without loss as PNG and TIFF")
    plan = plan_jobs(
        sources, out, suffix=f".{form}", bits=depth, force=force, match=match, reading=reading, aligning=aligning
    )
    plan = replace(plan, look_for_shift=look_for_shift)
    if maps or spacing is not None:
        if balance:
            raise UsageError("--maps and --spacing show what the method does by itself: leave --balance out")
        plan = replace(plan, maps=MapWriter(inside=plan.folder is not None, spacing=spacing, force=force))
    if plan.folder is not None and match != "stem":
        _print_matches(plan, match)
    loaded = load_model()
    with jobs_progress() as report:
        if plan.folder is not None:
            plan = check_jobs(plan, model=loaded, report=report)
        for problem in plan.problems:
            say(f"{'skipped' if skip_bad else 'problem'}: {problem}")
        if plan.problems and not (skip_bad and plan.jobs):
            remedy = "none is left" if skip_bad else "correct them, or leave them out with --skip-bad"
            total = len(plan.problems) + len(plan.jobs)
            raise DataError(f"{len(plan.problems)} of {total} scenes cannot be fused: {remedy}")
        run_jobs(loaded, plan, bits=depth, report=report)
    answer(plan.jobs[0].target if plan.folder is None else plan.folder)


def _with_reference(options: Mapping[str, Any], model: str, reference: str, *, used: bool) -> Mapping[str, Any]:
    """Add a reference that was given to the options of a method that has one; else say where it is of no use."""
    from dataclasses import fields

    from click.core import ParameterSource

    from fusionkit.models.shipped import split_name
    from fusionkit.plugins import catalogue

    if click.get_current_context().get_parameter_source("reference") is ParameterSource.DEFAULT:
        return options
    named = split_name(model)
    if named is not None and "reference" in {field.name for field in fields(catalogue.fusers.get(named[0]).Config)}:
        return {"reference": reference, **options}
    if not used:
        say(f"note: --reference {reference} changes nothing: nothing is aligned, and {model} has no option reference")
    return options


def _named_sources(
    given: tuple[Path, ...], first: Path | None, second: Path | None, more: tuple[Path, ...]
) -> tuple[list[Path], bool]:
    """Sources from arguments or options, and whether they are the pages of one file."""
    from fusionkit.errors import UsageError
    from fusionkit.fuse.reading import pages_of

    by_option = [source for source in (first, second, *more) if source is not None]
    if given and by_option:
        raise UsageError("name the sources as arguments, or with -a, -b and -s, not both")
    if not given and (first is None or second is None):
        raise UsageError("two or more sources are needed: name them with -a, -b and -s, or as arguments")
    if len(given) == 1 and given[0].is_file():
        pages = pages_of(given[0])
        return pages, len(pages) > 1
    return list(given) or by_option, False


def _print_matches(plan: Plan, match: str) -> None:
    shown = [" + ".join(source.name for source in job.sources) for job in plan.jobs[:_SHOWN]]
    more = f", and {len(plan.jobs) - _SHOWN} more" if len(plan.jobs) > _SHOWN else ""
    say(f"note: matched by {match}: {', '.join(shown)}{more}")
