"""Reads the sources of a scene as a user asks for: their ranges, and what stands for invalid values."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from fusionkit.errors import DataError, FusionNote, UsageError
from fusionkit.io.images import Image, decode_file, read_image, split_page
from fusionkit.io.ranges import AUTO, Range, Sampled, parse_range
from fusionkit.runtime.threads import in_threads

__all__ = ["Reading", "make_reading", "note_facts", "note_range", "pages_of", "upright_where_they_differ"]


@dataclass(frozen=True)
class Reading:
    """Rules to read the sources of scenes by.

    Attributes:
        ranges: one per source; sources beyond them are read by ``"auto"``.
        scope: ``"image"``, a range is found for each image; ``"folder"``, one for all images of a source.
        fill_invalid: replace invalid values, see :func:`fusionkit.io.ranges.fill_invalid`.
    """

    ranges: tuple[Range, ...] = ()
    scope: Literal["image", "folder"] = "image"
    fill_invalid: bool = False

    def range_of(self, place: int) -> Range:
        """Return the range of the source at a place, counted from 0."""
        return self.ranges[place] if place < len(self.ranges) else AUTO

    def read(self, files: Sequence[Path]) -> list[Image]:
        """Read one scene, one file per source.

        Raises:
            fusionkit.errors.DataError: a file cannot be read, or not by its range.
        """
        return [
            read_image(file, values=self.range_of(place), fill=self.fill_invalid) for place, file in enumerate(files)
        ]

    def fixed(self, scenes: Sequence[Sequence[Path]]) -> Reading:
        """Find one range per source over all scenes, so that equal values stay equal from image to image.

        Files that cannot be read are passed over: reading them says why.

        Raises:
            fusionkit.errors.DataError: all values of a source are equal.
        """
        if self.scope == "image" or not scenes:
            return self
        ranges = []
        for place in range(len(scenes[0])):
            rule = self.range_of(place)
            if rule.kind not in ("full", "fixed"):
                rule = _over_all([files[place] for files in scenes], rule)
            ranges.append(rule)
        return replace(self, ranges=tuple(ranges))

    def describe(self, sources: int) -> dict[str, Any]:
        """List the rules for a record."""
        return {
            "ranges": [self.range_of(place).text for place in range(sources)],
            "range_scope": self.scope,
            "fill_invalid": self.fill_invalid,
        }


def _over_all(files: Sequence[Path], rule: Range) -> Range:
    def sample(file: Path) -> Sampled | None:
        try:
            return Sampled().add(decode_file(file).pixels)
        except DataError:
            return None

    whole = Sampled()
    for sampled in in_threads(sample, files):
        if sampled is not None:
            whole.merge(sampled)
    try:
        limits = rule.limits(whole)
    except DataError as error:
        raise DataError(f"{files[0].parent}: {error}") from None
    return Range("full", text=rule.text) if limits is None else Range("fixed", *limits, text=rule.text)


def note_range(image: Image, rule: Range, *, option: str) -> None:
    """Say what the automatic range took, since it changes what is seen.

    Warns:
        FusionNote: the image's range was scaled by the rule ``auto``.
    """
    if rule.text != "auto" or image.limits is None:
        return
    low, high = image.limits
    warnings.warn(
        f"{image.name}: its values fill a small part of their range, or leave 0..1; {low:g} to {high:g} are scaled to "
        f"0..1 ({option} sets other values, or 'full')",
        FusionNote,
        stacklevel=3,
    )


def note_facts(image: Image) -> None:
    """Say what of the file is not read.

    Warns:
        FusionNote: for each of the image's notes.
    """
    for fact in image.notes:
        warnings.warn(f"{image.name}: {fact}", FusionNote, stacklevel=3)


def pages_of(file: Path) -> list[Path]:
    """List the pages of a file as sources, ``FILE[0]``, ``FILE[1]``...; the file alone if it has one page.

    Raises:
        fusionkit.errors.DataError: the file cannot be read.
    """
    count = 1 if file.is_dir() or split_page(file)[1] is not None else decode_file(file).pages
    return [file.with_name(f"{file.name}[{page}]") for page in range(count)] if count > 1 else [file]


def upright_where_they_differ(images: Sequence[Image], *, note: bool = True) -> tuple[Image, ...]:
    """Turn each image upright if the EXIF orientations differ.

    Aligned files of one camera share their orientation, and are aligned as stored; files that differ in it were written
    by devices that know which way is up.

    Args:
        images: one per source.
        note: say so.

    Warns:
        FusionNote: the orientations differ.
    """
    if len({image.orientation for image in images}) == 1:
        return tuple(images)
    listed = ", ".join(f"{image.name}: {image.orientation}" for image in images)
    if note:
        warnings.warn(
            f"EXIF orientations differ ({listed}); the sources are turned upright, and so is the result",
            FusionNote,
            stacklevel=3,
        )
    return tuple(image.upright() for image in images)


def make_reading(
    ranges: str | Sequence[str],
    *,
    sources: int,
    scope: Literal["image", "folder"] = "image",
    fill_invalid: bool = False,
) -> Reading:
    """Make the rules of one reading from what a caller names.

    Args:
        ranges: one rule for all sources, or one per source.
        sources: number of sources.
        scope: see :class:`Reading`.
        fill_invalid: see :class:`Reading`.

    Raises:
        fusionkit.errors.UsageError: an unknown rule, or another number of rules than sources.
    """
    given = [ranges] * sources if isinstance(ranges, str) else list(ranges)
    if len(given) != sources:
        raise UsageError(f"ranges: one per source is needed, got {len(given)} for {sources} sources")
    options = [f"range of source {place + 1}" for place in range(sources)]
    parsed = tuple(parse_range(text, option=option) for text, option in zip(given, options, strict=True))
    return Reading(parsed, scope, fill_invalid)
