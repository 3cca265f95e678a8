"""``fusionkit score``: score fused images."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Literal

import click

from fusionkit.cli.notes import answer, say
from fusionkit.cli.source_options import match_option, more_sources_option
from fusionkit.errors import DataError, UsageError
from fusionkit.io.text import counted


@click.command("score")
@click.option(
    "-f", "--fused", required=True, type=click.Path(path_type=Path), help="Fused image, or folder of fused images."
)
@click.option("-a", "first", type=click.Path(path_type=Path), help="First source, or folder of first sources.")
@click.option("-b", "second", type=click.Path(path_type=Path), help="Second source, or folder of second sources.")
@more_sources_option
@click.option("--truth", type=click.Path(path_type=Path), help="Known result, or folder of known results.")
@click.option(
    "-m", "--metric", "metrics", multiple=True, help="Metrics, separated by commas.  [default: all that apply]"
)
@click.option("-p", "--profile", default="standard", show_default=True, help="Convention, see 'fusionkit metrics'.")
@click.option(
    "--precision",
    type=click.Choice(["float64", "float32"]),
    default="float64",
    show_default=True,
    help="Number type that metrics are computed in.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1...")
@match_option
@click.option(
    "--crop-to-fused",
    "crop",
    type=click.Choice(["center", "topleft"]),
    help="Cut larger sources to the size of the fused image, which its method cropped.",
)
@click.option("--json", "form", flag_value="json", help="Print JSON, with one value per image.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV, one line per image.")
def command(
    fused: Path,
    first: Path | None,
    second: Path | None,
    more: tuple[Path, ...],
    truth: Path | None,
    metrics: tuple[str, ...],
    profile: str,
    precision: str,
    device: str,
    match: str,
    crop: Literal["center", "topleft"] | None,
    form: str | None,
) -> None:
    """Score fused images against their sources and, where given, against the known result.

    Colour images are scored by their luminance. An image that cannot be scored, or is too small for a metric, is named
    and left out of the means of the values that it lacks; the exit code is then 4 if you asked for that value by name.
    The table gives mean and standard deviation over the n images that have a value.

    \b
    fusionkit score -f fused.png -a infrared.png -b visible.png
    fusionkit score -f fused -a near -b middle -s far --metric EN,Qabf
    fusionkit score -f theirs -a ir -b vi --match 'pattern:{name}_fused' --crop-to-fused center --json
    """
    places = {"-f": fused, "-a": first, "-b": second, **{f"-s {path}": path for path in more}, "--truth": truth}
    if (second or more) and not first:
        raise UsageError(f"{'-b' if second else '-s'} needs -a: give the first source too")
    names = [name for part in metrics for name in part.split(",") if name.strip()]
    if metrics and not names:
        raise UsageError("--metric: name at least one metric, as in --metric EN,SSIM")

    import torch

    from fusionkit.metrics.image_files import read_inputs
    from fusionkit.metrics.inputs import lacking
    from fusionkit.metrics.naming import build, resolve
    from fusionkit.metrics.profiles import find_profile
    from fusionkit.metrics.score_report import aligned, missing_notes, scores_csv, scores_json, summary
    from fusionkit.metrics.scoring import applicable_metrics, evaluate_each
    from fusionkit.runtime.devices import choose_device

    find_profile(profile)
    given = {option: path for option, path in places.items() if path is not None}
    sources = [option for option in given if option not in ("-f", "--truth")]
    unusable: dict[str, str] = {}
    if names:
        chosen = {name: build(name, profile) for name in resolve(names)}
    else:
        chosen, unusable = applicable_metrics(profile, sources=len(sources), truth=truth is not None)
    for metric in chosen.values():
        if problem := lacking(metric, sources=len(sources), truth=truth is not None):
            raise UsageError(problem)
    place = choose_device(device)
    rows: dict[str, dict[str, float]] = {}
    reasons: dict[str, dict[str, str]] = {}
    failed: dict[str, str] = {}
    scenes = _scenes(given, match)
    with click.progressbar(scenes, file=sys.stderr, hidden=not sys.stderr.isatty(), label="scoring") as bar:
        for image, files in bar:
            try:
                inputs = read_inputs(
                    files["-f"],
                    *(files[option] for option in sources),
                    truth=files.get("--truth"),
                    dtype=getattr(torch, precision),
                    device=place,
                    crop=crop,
                )
            except DataError as error:
                failed[image] = str(error)
                continue
            values, reasons[image] = evaluate_each(inputs, chosen, profile=profile)
            rows[image] = {name: values.get(name, math.nan) for name in chosen}
    if not any(reasons[image].keys() < chosen.keys() for image in rows):
        # Nothing has a score: the first cause is the answer.
        image, files = scenes[0]
        cause = next(iter(reasons.get(image, {}).values()), "no metric applies")
        raise DataError(failed.get(image) or f"{files['-f']}: {cause}")
    for image, cause in failed.items():
        say(f"left out {image}: {cause}")
    for note in (*unusable.values(), *missing_notes(rows, profile, reasons)):
        say(f"note: {note}")
    facts = {"match": match if fused.is_dir() else None, "crop_to_fused": crop}
    if form == "json":
        click.echo(scores_json(rows, profile, reasons, failed=failed, unusable=unusable, facts=facts))
    elif form == "csv":
        click.echo(scores_csv(rows, profile), nl=False)
    else:
        cut = f", sources cut to the fused image ({crop})" if crop else ""
        answer(f"profile {profile}, {counted(len(rows), 'image')}{cut}")
        answer(aligned(*summary(rows, profile)))
    lost = sum(len(missing) for missing in reasons.values()) if names else 0
    if failed or lost:
        what = f"{len(failed)} of {len(failed) + len(rows)} images" if failed else f"{lost} of the values asked for"
        raise DataError(f"{what} could not be scored (named above)")


def _scenes(given: dict[str, Path], match: str) -> list[tuple[str, dict[str, Path]]]:
    """Return image names with one file per option."""
    from fusionkit.data.pairing import match_folders

    for option, path in given.items():
        name = option if option.endswith(str(path)) else f"{option} {path}"
        if not path.exists():
            raise DataError(f"{name}: no such file or folder")
        if path.is_dir() != given["-f"].is_dir():
            kind, other = ("folder", "file") if path.is_dir() else ("file", "folder")
            raise UsageError(f"{name} is a {kind} and -f {given['-f']} a {other}: give files or folders alone")
    if not given["-f"].is_dir():
        return [(given["-f"].stem, given)]
    pairs, problems = match_folders(list(given.values()), by=match)
    if not pairs:
        raise DataError(f"-f {given['-f']}: no image has a partner in every folder")
    for problem in problems:
        say(f"note: left out {problem}")
    return [(pair.name, dict(zip(given, pair.files, strict=True))) for pair in pairs]
