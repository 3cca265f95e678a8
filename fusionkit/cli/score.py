"""``fusionkit score``: score fused images."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from fusionkit.errors import DataError, UsageError


@click.command("score")
@click.option(
    "-f", "--fused", required=True, type=click.Path(path_type=Path), help="Fused image, or folder of fused images."
)
@click.option("-a", "first", type=click.Path(path_type=Path), help="First source, or folder of first sources.")
@click.option("-b", "second", type=click.Path(path_type=Path), help="Second source, or folder of second sources.")
@click.option("--truth", type=click.Path(path_type=Path), help="Known result, or folder of known results.")
@click.option(
    "-m", "--metric", "metrics", multiple=True, help="Metrics, separated by commas.  [default: all that apply]"
)
@click.option("-p", "--profile", default="standard", show_default=True, help="Convention, see 'fusionkit metrics'.")
@click.option("--precision", type=click.Choice(["float64", "float32"]), default="float64", show_default=True)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1...")
@click.option("--json", "form", flag_value="json", help="Print JSON, with one value per image.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV, one line per image.")
def command(
    fused: Path,
    first: Path | None,
    second: Path | None,
    truth: Path | None,
    metrics: tuple[str, ...],
    profile: str,
    precision: str,
    device: str,
    form: str | None,
) -> None:
    """Score fused images against their sources and, where given, against the known result.

    Files of folders are matched by name without suffix. Of colour images the luminance is scored.
    """
    if second and not first:
        raise UsageError("-b needs -a: give the first source too")
    names = [name for part in metrics for name in part.split(",") if name.strip()]
    if metrics and not names:
        raise UsageError("--metric: name at least one metric, as in --metric EN,SSIM")

    import torch

    from fusionkit.metrics.image_files import score_files
    from fusionkit.metrics.naming import resolve
    from fusionkit.metrics.profiles import find_profile
    from fusionkit.metrics.score_report import aligned, scores_csv, scores_json, summary, undefined_notes
    from fusionkit.runtime.devices import choose_device

    find_profile(profile)
    chosen = resolve(names) if names else None
    place = choose_device(device)
    rows: dict[str, dict[str, float]] = {}
    skipped: dict[str, str] = {}
    scenes = _scenes({"-f": fused, "-a": first, "-b": second, "--truth": truth})
    with click.progressbar(scenes, file=sys.stderr, hidden=not sys.stderr.isatty(), label="scoring") as bar:
        for image, files in bar:
            scores = score_files(
                files["-f"],
                *(files[option] for option in ("-a", "-b") if option in files),
                truth=files.get("--truth"),
                metrics=chosen,
                profile=profile,
                dtype=getattr(torch, precision),
                device=place,
            )
            (rows[image],) = scores.rows()
            skipped.update(scores.skipped)
    for note in undefined_notes(rows, profile, skipped):
        click.echo(f"note: {note}", err=True)
    if form == "json":
        click.echo(scores_json(rows, profile, skipped))
    elif form == "csv":
        click.echo(scores_csv(rows, profile), nl=False)
    else:
        click.echo(f"profile {profile}, {len(rows)} image{'s' if len(rows) != 1 else ''}")
        click.echo(aligned(*summary(rows, profile)))


def _scenes(places: dict[str, Path | None]) -> list[tuple[str, dict[str, Path]]]:
    """Return image names with one file per option, from single files or from matching files of folders."""
    from fusionkit.data.pairing import match_folders

    given = {option: path for option, path in places.items() if path is not None}
    for option, path in given.items():
        if not path.exists():
            raise DataError(f"{option} {path}: no such file or folder")
        if path.is_dir() != given["-f"].is_dir():
            kind, other = ("folder", "file") if path.is_dir() else ("file", "folder")
            raise UsageError(f"{option} {path} is a {kind} and -f {given['-f']} a {other}: give files or folders alone")
    if not given["-f"].is_dir():
        return [(given["-f"].stem, given)]
    pairs, problems = match_folders(list(given.values()))
    for problem in problems:
        click.echo(f"note: left out {problem}", err=True)
    if not pairs:
        raise DataError(f"-f {given['-f']}: no image has a partner in every folder")
    return [(pair.name, dict(zip(given, pair.files, strict=True))) for pair in pairs]
