"""Fuses files and folders: plans the results, checks the sources before anything is written, and records it."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fusionkit.contracts import Alignment
from fusionkit.data.pairing import match_folders
from fusionkit.errors import DataError, FusionNote, UsageError
from fusionkit.fuse.adapter import check_size
from fusionkit.fuse.aligning import Aligning
from fusionkit.fuse.model import Model
from fusionkit.fuse.offset_note import SCENES, note_offset
from fusionkit.fuse.reading import Reading, note_facts, note_range, upright_where_they_differ
from fusionkit.fuse.source_maps import MapWriter, check_maps
from fusionkit.io.atomic import write_text
from fusionkit.io.images import Image, deepest, split_page
from fusionkit.runtime.threads import in_threads

__all__ = ["RECORD", "Job", "Plan", "check_jobs", "plan_jobs", "run_jobs"]

RECORD = "fusion.json"
"""Name of the record beside the results of a folder."""

Report = Callable[[str, int, int], None]
"""Called with the step that is running, how many jobs it has done and how many there are."""

_CHUNK = 64
_SHOWN = 3


@dataclass(frozen=True)
class Job:
    """Sources that are fused into one file."""

    sources: tuple[Path, ...]
    target: Path


@dataclass(frozen=True)
class Plan:
    """All jobs of one call.

    Attributes:
        jobs: the jobs, in order.
        problems: one line per scene that cannot be fused, with its name.
        origins: the files or folders as they were given.
        folder: the folder of results and record; None for single files, which have no record.
        force: whether existing results are replaced.
        match: the rule that the files of folders were matched by.
        reading: how the sources are read.
        aligning: how the sources are aligned, or None.
        alignments: the alignments that were found, by the result they are for.
        maps: writes the weights of the sources beside each result; None where they are not wanted.
        look_for_shift: say so if the sources of the first scenes are shifted against each other.
    """

    jobs: tuple[Job, ...]
    problems: tuple[str, ...]
    origins: tuple[Path, ...]
    folder: Path | None
    match: str = "stem"
    force: bool = False
    reading: Reading = field(default_factory=Reading)
    aligning: Aligning | None = None
    alignments: dict[Path, tuple[Alignment | None, ...]] = field(default_factory=dict)
    maps: MapWriter | None = None
    look_for_shift: bool = False


def plan_jobs(
    sources: Sequence[Path],
    out: str | Path,
    *,
    suffix: str = ".png",
    bits: int | None = None,
    force: bool = False,
    match: str = "stem",
    reading: Reading | None = None,
    aligning: Aligning | None = None,
) -> Plan:
    """Plan the result of every pair of sources.

    Files of folders are matched by ``match``, and every result is called ``out/NAME.png``. Single
    files are fused into ``out``, or into ``out/NAME.png`` with the first source's name if ``out`` is a folder or ends
    in a slash.

    Args:
        sources: two or more files, or two or more folders.
        out: the file or folder of the results.
        suffix: format of results whose name is not given.
        bits: bits per sample of the results; None for those of the sources.
        force: replace existing results.
        match: rule to match files of folders by, see :func:`fusionkit.data.pairing.match_folders`.
        reading: how the sources are read; by the automatic range where None.
        aligning: how the sources are aligned; not where None.

    Raises:
        fusionkit.errors.UsageError: fewer than two sources, files and folders mixed, an unknown suffix, more bits
            than it holds, existing results, or a result that would replace a source.
        fusionkit.errors.DataError: a source is missing, or folders have nothing in common.
    """
    if len(sources) < 2:
        raise UsageError(f"two or more sources are needed to fuse, got {len(sources)}")
    for source in sources:
        if not split_page(source)[0].exists():
            raise DataError(f"{source}: no such file or folder; check the name")
    folders = [source for source in sources if source.is_dir()]
    if folders and len(folders) < len(sources):
        others = ", ".join(str(source) for source in sources if source not in folders)
        raise UsageError(f"all sources are files or all are folders: {folders[0]} is a folder and {others} is not")
    place = Path(out)
    if folders:
        if place.exists() and not place.is_dir():
            raise UsageError(f"{place}: is a file, and folders are fused into a folder; name another")
        if place.resolve() in {source.resolve() for source in sources}:
            raise UsageError(f"{place}: is a folder of sources; name another for the results")
        pairs, faults = match_folders(sources, by=match)
        jobs = tuple(Job(pair.files, place / f"{pair.name}{suffix}") for pair in pairs)
        plan = Plan(jobs, tuple(str(fault) for fault in faults), tuple(sources), place, match)
    else:
        inside = place.is_dir() or str(out).endswith("/")
        target = place / f"{sources[0].stem}{suffix}" if inside else place
        plan = Plan((Job(tuple(sources), target),), (), tuple(sources), None)
    plan = replace(plan, reading=reading or Reading(), aligning=aligning)
    for job in plan.jobs[:1]:
        most = deepest(job.target)
        if bits is not None and bits > most:
            raise UsageError(f"{job.target}: {job.target.suffix} holds at most {most} bits a sample, not {bits}")
    plan = replace(plan, force=force)
    _check_targets(plan)
    return plan


def _check_targets(plan: Plan) -> None:
    originals = {source.resolve() for job in plan.jobs for source in job.sources}
    for job in plan.jobs:
        if job.target.resolve() in originals:
            raise UsageError(f"{job.target}: the result would replace a source; name another place")
    there = [job.target for job in plan.jobs if job.target.exists()]
    if plan.folder is not None and (plan.folder / RECORD).exists():
        there.append(plan.folder / RECORD)
    if there and not plan.force:
        named = ", ".join(path.name for path in there[:_SHOWN]) + (", ..." if len(there) > _SHOWN else "")
        where = f"{plan.folder}: has results already ({named})" if plan.folder else f"{there[0]}: is there already"
        raise UsageError(f"{where}; name another place, or replace what is there with --force")


def check_jobs(plan: Plan, *, model: Model | None = None, report: Report | None = None) -> Plan:
    """Read every source, so that all scenes that cannot be fused are known before the first result is written.

    Sources are decoded to the end here and decoded again by :func:`run_jobs`: only decoding finds a file that was cut
    off, and keeping the pixels of a whole folder would take too much memory. Decoding takes a few milliseconds per
    image; most models take far longer to fuse it.

    Args:
        plan: what to check.
        model: what will fuse; its smallest size is checked as well.
        report: called after every chunk of jobs.

    Returns:
        The plan with the jobs that can be done; the others are among its problems.

    Raises:
        fusionkit.errors.UsageError: the model does not take this number of sources.
    """
    if model is not None and plan.jobs:
        model.check_count(len(plan.origins))
    reading = plan.reading.fixed([job.sources for job in plan.jobs])
    aligning = plan.aligning and plan.aligning.over(plan.jobs, lambda job: _read(job, reading, note=False))
    plan = replace(plan, reading=reading, aligning=aligning)
    good: list[Job] = []
    problems = list(plan.problems)
    for start in range(0, len(plan.jobs), _CHUNK):
        jobs = plan.jobs[start : start + _CHUNK]
        for job, fault in zip(jobs, in_threads(lambda job: _fault(job, plan, model), jobs), strict=True):
            if fault:
                problems.append(f"{job.target.stem}: {fault}")
            else:
                good.append(job)
        if report:
            report("checking", min(start + _CHUNK, len(plan.jobs)), len(plan.jobs))
    return replace(plan, jobs=tuple(good), problems=tuple(sorted(problems)))


def _fault(job: Job, plan: Plan, model: Model | None) -> str:
    """Why a job cannot be done, in one line; "" if it can."""
    sizes = []
    try:
        images = _read(job, plan.reading, note=False)
        if plan.aligning is not None:
            plan.alignments[job.target] = plan.aligning.find(images)
            images = (images[plan.aligning.reference],) * len(images)
        for source, image in zip(job.sources, images, strict=True):
            sizes.append(image.size)
            if model is not None:
                check_size(model.fuser, image.pixels.shape[:2], name=model.name, image=str(source))
    except DataError as error:
        return str(error)
    if len(set(sizes)) > 1:
        listed = ", ".join(f"{source} {size}" for source, size in zip(job.sources, sizes, strict=True))
        return f"sources differ in size ({listed}): --align or --resize brings them to one"
    return ""


def _read(job: Job, reading: Reading, *, note: bool) -> Sequence[Image]:
    return upright_where_they_differ(reading.read(job.sources), note=note)


def run_jobs(model: Model, plan: Plan, *, bits: int | None = None, report: Report | None = None) -> None:
    """Fuse every job. Results are written whole or not at all.

    In a folder the record is written before the first result and marked complete after the last. One process at a time
    writes into a folder.

    Args:
        model: what to fuse with.
        plan: what to fuse.
        bits: bits per sample of the results; see :meth:`fusionkit.fuse.model.Model.fuse`.
        report: called after every result.

    Raises:
        fusionkit.errors.UsageError: another process is fusing into the folder, or did since the plan was made; maps
            are asked for, and the model has none.
        fusionkit.errors.DataError: a source cannot be read or a result cannot be written; earlier results stay.
    """
    if plan.maps is not None:
        check_maps(model, len(plan.origins), spacing=plan.maps.spacing)
    taken: dict[str, list[tuple[float, float] | None]] = {}
    noted: set[tuple[int, str]] = set()
    _claim(plan)
    written = _write_record(model, plan, bits, taken, complete=False)
    if plan.look_for_shift and plan.aligning is None:
        some = plan.jobs[:: max(len(plan.jobs) // SCENES, 1)][:SCENES]
        note_offset([_read(job, plan.reading, note=False) for job in some], task=model.task or "")
    for done, job in enumerate(plan.jobs, start=1):
        images: Sequence[Image] = plan.reading.read(job.sources)
        taken[job.target.name] = [image.limits for image in images]
        _note_ranges(images, plan, noted)
        depth = bits or max(image.bits for image in images)
        if plan.aligning is not None:
            images = upright_where_they_differ(images)
            if job.target not in plan.alignments:
                plan.alignments[job.target] = plan.aligning.find(images)
            images = plan.aligning.apply(images, plan.alignments[job.target])
        fused = model.fuse(*images, bits=depth)
        _check_record(plan, written)
        if plan.maps is not None:
            plan.maps.write(model, upright_where_they_differ(images, note=False), job.target)
        del images  # their memory is needed to write a large result
        fused.save(job.target, bits=bits)
        if report:
            report("fusing", done, len(plan.jobs))
    _check_record(plan, written)
    _write_record(model, plan, bits, taken, complete=True)


def _note_ranges(images: Sequence[Image], plan: Plan, noted: set[tuple[int, str]]) -> None:
    """Say once per source what of a file is not read and what the automatic range took, and what was filled."""
    for place, image in enumerate(images):
        option = f"--range-{'abs'[min(place, 2)]}"
        rule = plan.reading.range_of(place)
        if not noted & {(place, fact) for fact in image.notes}:
            note_facts(image)
            noted |= {(place, fact) for fact in image.notes}
        if (place, "range") not in noted and rule.text == "auto" and image.limits is not None:
            noted.add((place, "range"))
            note_range(image, rule, option=option)
            if len(plan.jobs) > 1 and plan.reading.scope == "image":
                warnings.warn(
                    f"the other images of {image.name} and its like are scaled each by its own values, listed in "
                    f"{RECORD}; --range-scope folder gives all of a source one range",
                    FusionNote,
                    stacklevel=2,
                )
        if image.filled:
            warnings.warn(f"{image.name}: {image.filled} invalid values are filled", FusionNote, stacklevel=2)


def _claim(plan: Plan) -> None:
    """Create the record of a folder, which only one of several processes can."""
    if plan.folder is None or plan.force:
        return
    try:
        plan.folder.mkdir(parents=True, exist_ok=True)
        os.close(os.open(plan.folder / RECORD, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        _check_targets(plan)
    except OSError as error:
        raise DataError(f"{plan.folder}: cannot be written ({error.strerror}): choose another place") from None


def _check_record(plan: Plan, written: os.stat_result | None) -> None:
    """Refuse to write beside another process that replaces results, too."""
    if plan.folder is None or written is None:
        return
    try:
        there = (plan.folder / RECORD).stat()
    except FileNotFoundError:
        there = None
    if there is None or (there.st_ino, there.st_mtime_ns) != (written.st_ino, written.st_mtime_ns):
        raise DataError(
            f"{plan.folder}: another process has replaced {RECORD} meanwhile; fuse again, into another place"
        )


def _write_record(
    model: Model,
    plan: Plan,
    bits: int | None,
    taken: Mapping[str, Sequence[tuple[float, float] | None]],
    *,
    complete: bool,
) -> os.stat_result | None:
    if plan.folder is None:
        return None
    record = {
        **model.describe(),
        "bits": bits or "as the sources",
        "sources": [str(origin) for origin in plan.origins],
        **plan.reading.describe(len(plan.origins)),
        "limits": taken,
        "align": _alignment_record(plan),
        "match": plan.match,
        "files": {job.target.name: [source.name for source in job.sources] for job in plan.jobs},
        "results": [job.target.name for job in plan.jobs],
        "skipped": list(plan.problems),
        "complete": complete,
    }
    write_text(plan.folder / RECORD, json.dumps(record, indent=2) + "\n")
    return (plan.folder / RECORD).stat()


def _alignment_record(plan: Plan) -> dict[str, Any] | None:
    """Settings of the alignment, and the transform and confidence of each source of each result."""
    if plan.aligning is None:
        return None
    found = {
        target.name: [
            one and {"matrix": one.matrix.tolist(), "confidence": round(one.confidence, 4)} for one in alignments
        ]
        for target, alignments in plan.alignments.items()
    }
    return {**plan.aligning.describe(), "transforms": found}
