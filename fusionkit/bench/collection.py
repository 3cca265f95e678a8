"""Collections of results: the records of several benches and people in one folder, checked and merged.

A collection has the form of a bench's folder without its images, so that a board and tables are made from it as from a
bench. A digest shows that a record was changed; it does not show who made it. Nothing here imports torch.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fusionkit.bench.downstream.downstream_records import DOWNSTREAM, DownstreamRecord
from fusionkit.bench.paths import RESULTS, file_name
from fusionkit.bench.record_files import read_record, write_record
from fusionkit.bench.records import BenchRecord, Record
from fusionkit.bench.report.evidence import checked
from fusionkit.errors import DataError, UsageError, did_you_mean
from fusionkit.io.atomic import folder_written_aside
from fusionkit.io.text import counted

__all__ = ["Findings", "Part", "add_results", "examine", "merge_results", "sound_records"]

_TOLERANCE = 1e-6
"""Relative difference of two scores that is rounding on another machine."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Faults of a folder of records.

    Attributes:
        records: those that can be read.
        faults: file, relative to the folder, or table -> why it cannot be used, a few words each.
        notes: what a reader of a table should know, one line each.
    """

    records: tuple[BenchRecord, ...]
    faults: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Part:
    """Records of one person.

    Attributes:
        folder: where they are from.
        records: what to take.
        name: whose they are, or "".
    """

    folder: Path
    records: tuple[BenchRecord, ...]
    name: str = ""


def examine(folder: Path) -> Findings:
    """Check every record below a folder, and whether they can be read side by side.

    A record is refused that cannot be read, was changed after it was written, has no digest, stands in another place
    than its own, contradicts itself, or tells of another image than the one that lies beside it. A collection is
    refused that has two profiles in one task, or one metric under two settings in one table.

    Raises:
        fusionkit.errors.DataError: there is no such folder, or no record in it.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    faults: dict[str, list[str]] = defaultdict(list)
    records: list[BenchRecord] = []
    # Hidden files are those that another process is writing, or was when it was killed.
    for file in sorted(path for top in (RESULTS, DOWNSTREAM) for path in (folder / top).rglob("[!.]*.json")):
        place = file.relative_to(folder)
        form = _form_of(place)
        if form is None:
            faults[place.as_posix()].append("is in no place of a record")
            continue
        try:
            (record,) = checked(folder, [read_record(file, form)])
        except DataError as error:
            faults[place.as_posix()].append(str(error).removeprefix(f"{file}: "))
            continue
        records.append(record)
        faults[place.as_posix()] += record.faults
        if not record.sha256:
            faults[place.as_posix()].append("has no digest of its content: bench again")
    if not records and not faults:
        raise DataError(f"{folder}: holds no results: give the folder of a bench or of a collection")
    mixed = _mixed(records)
    found = {place: tuple(dict.fromkeys(why)) for place, why in {**faults, **mixed}.items() if why}
    return Findings(records=tuple(records), faults=found, notes=_notes(records))


def sound_records(folder: Path) -> tuple[BenchRecord, ...]:
    """Every record of a folder.

    Raises:
        fusionkit.errors.DataError: there is none, or one of them has a fault.
    """
    findings = examine(folder)
    _refuse_broken(folder, {place: why for place, why in findings.faults.items() if place.endswith(".json")})
    return findings.records


def _refuse_broken(folder: Path, broken: Mapping[str, Sequence[str]]) -> None:
    if broken:
        place, why = next(iter(broken.items()))
        more = f" (and {len(broken) - 1} more: fusionkit results verify {folder})" if len(broken) > 1 else ""
        remedy = "" if why[0].endswith("bench again") else ": restore it or bench again"
        raise DataError(f"{folder / place}: {why[0]}{remedy}{more}")


def add_results(
    bench: Path,
    to: Path,
    *,
    tasks: Sequence[str] = (),
    methods: Sequence[str] = (),
    profile: str | None = None,
    renamed: Mapping[str, str] | None = None,
    replace: bool = False,
) -> tuple[tuple[BenchRecord, ...], tuple[str, ...]]:
    """Add records of a bench to a collection, which may be new.

    Args:
        bench: folder of the bench.
        to: folder of the collection.
        tasks: only these tasks; all if empty.
        methods: only these methods, by the name in the bench; all if empty.
        profile: only results under this profile.
        renamed: name in the bench -> name in the collection.
        replace: whether a result takes the place of another one of its name.

    Returns:
        What was added, and lines on what was there already.

    Raises:
        fusionkit.errors.DataError: a record on either side has a fault, or cannot be written.
        fusionkit.errors.UsageError: nothing fits the choice, the collection has another result of that name, or it
            would mix profiles.
    """
    findings = examine(bench)
    given = findings.records
    for option, wanted, known in (
        ("--task", tasks, {record.task for record in given}),
        ("--method", methods, {record.method.name for record in given}),
        ("--as", list(renamed or {}), {record.method.name for record in given}),
        ("--profile", [profile] * bool(profile), {r.profile for r in given if isinstance(r, Record)}),
    ):
        for name in wanted if given else ():
            if name not in known:
                raise UsageError(f"{option} {name}: {bench} has no result of it: {did_you_mean(str(name), known)}")
    chosen = [
        record
        for record in given
        if (not tasks or record.task in tasks)
        and (not methods or record.method.name in methods)
        and (profile is None or not isinstance(record, Record) or record.profile == profile)
    ]
    _refuse_broken(bench, _faults_of(chosen, findings, tasks))
    named = tuple(_called(record, (renamed or {}).get(record.method.name, "")) for record in chosen)
    there = sound_records(to) if any((to / top).is_dir() for top in (RESULTS, DOWNSTREAM)) else ()
    parts = (Part(folder=to, records=there), Part(folder=bench, records=named))
    remedy = "give one another name by --as {label}=NAME, or --replace the former"
    combined, notes = _combined(parts, remedy=remedy, replace=replace)
    old = {record.sha256 for record in there}
    if again := sum(record.sha256 in old for record in named):
        notes = (*notes, f"{counted(again, 'result')} of these {'was' if again == 1 else 'were'} there already")
    return _write(to, [record for record in combined if record.sha256 not in old], combined), notes


def _faults_of(chosen: Sequence[BenchRecord], findings: Findings, tasks: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The faults of chosen records, and of files of these tasks that cannot be read: they may be what was asked for."""
    wanted, readable = ({str(r.place or r.home) for r in some} for some in (chosen, findings.records))
    folders = {file_name(task) for task in tasks}

    def may_be_wanted(place: str) -> bool:
        parts = PurePosixPath(place).parts
        at = parts.index(RESULTS) + 1 if RESULTS in parts else 0
        return not folders or parts[at] in folders

    return {
        place: why
        for place, why in findings.faults.items()
        if place.endswith(".json") and (place in wanted or (place not in readable and may_be_wanted(place)))
    }


def merge_results(parts: Sequence[tuple[str, Path]], to: Path) -> tuple[tuple[BenchRecord, ...], tuple[str, ...]]:
    """Merge several people's collections, or benches, into a new one.

    A result that two of them have with the same scores is taken once. Where two have different results under one name,
    both are called ``NAME (PERSON)`` in every table.

    Args:
        parts: who, or "", and the folder.
        to: the collection to write, which must not be there.

    Returns:
        Its records, and one line for each that was there twice or was renamed.

    Raises:
        fusionkit.errors.DataError: a record has a fault, or cannot be written.
        fusionkit.errors.UsageError: there is something at ``to``, two people without names, or with one name, have
            different results under one name, or profiles would be mixed.
    """
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise UsageError(f"--to {to}: is there already: choose a new folder")
    read = [Part(folder=folder, records=sound_records(folder), name=name) for name, folder in parts]
    combined, notes = _combined(read, remedy="name the people, each once, as PERSON=DIR")
    _refuse_mixed(to, combined)
    with folder_written_aside(to) as aside:
        written = tuple(write_record(aside, record) for record in combined)
    return written, notes


def _form_of(place: Path) -> type[BenchRecord] | None:
    forms: tuple[type[BenchRecord], ...] = (Record, DownstreamRecord)
    fitting = (form for form in forms if PurePosixPath(place.as_posix()).match(form.PATTERN))
    return next((form for form in fitting if len(place.parts) == len(Path(form.PATTERN).parts)), None)


def _mixed(records: Iterable[BenchRecord]) -> dict[str, list[str]]:
    """Task or table -> why its records cannot stand side by side."""
    found: dict[str, list[str]] = defaultdict(list)
    profiles: dict[str, set[str]] = defaultdict(set)
    uses: dict[tuple[str, str, str, str], Counter[str]] = defaultdict(Counter)
    for record in records:
        if not isinstance(record, Record):
            continue
        profiles[record.task].add(record.profile)
        for metric, use in record.metrics.items():
            rest = use.model_dump(exclude={"version"})
            uses[record.task, record.label, record.profile, metric][json.dumps(rest, sort_keys=True)] += 1
    for task, names in profiles.items():
        if len(names) > 1:
            listed = " and ".join(sorted(names))
            found[task].append(f"mixes the profiles {listed}: keep one per collection, by 'results add --profile NAME'")
    for (task, label, profile, metric), forms in uses.items():
        if len(forms) > 1:
            found[f"{task}, {label}, {profile}"].append(f"{metric} is computed in {len(forms)} ways")
    return dict(found)


def _notes(records: Iterable[BenchRecord]) -> tuple[str, ...]:
    sets: dict[str, set[str]] = defaultdict(set)
    versions: dict[str, set[str]] = defaultdict(set)
    places = 0
    for record in records:
        if isinstance(record, Record):
            sets[f"{record.task}, {record.label}"].add(record.data.fingerprint)
            for use in record.metrics.values():
                versions[record.task].add(use.version)
            places += any(Path(text).is_absolute() for text in (record.method.origin, record.data.origin))
    lines = [
        f"{where}: the methods were run on {len(found)} different sets of pairs"
        for where, found in sets.items()
        if len(found) > 1
    ]
    lines += [
        f"{task}: metrics are of several versions: {', '.join(sorted(found))}"
        for task, found in versions.items()
        if len(found) > 1
    ]
    if places:
        lines.append(f"{counted(places, 'record')} name folders of the machine that they were made on")
    return tuple(lines)


def _combined(
    parts: Sequence[Part], *, remedy: str, replace: bool = False
) -> tuple[list[BenchRecord], tuple[str, ...]]:
    """One record per place, of all parts."""
    notes: list[str] = []
    clashes = {} if replace else _clashes(parts)
    for label, why in clashes.items():
        names = [part.name for part in parts if any(r.method.name == label for r in part.records)]
        if "" in names or len(set(names)) < len(names):
            raise UsageError(f"{why}: {remedy.format(label=label)}")
        notes.append(f"{why}: they are called {' and '.join(f'{label} ({name})' for name in names)}")
    kept: dict[str, BenchRecord] = {}
    for part in parts:
        for record in part.records:
            own = _called(record, f"{record.method.name} ({part.name})" if record.method.name in clashes else "")
            place = str(own.home).casefold()
            other = kept.get(place)
            if other is None or replace:
                kept[place] = own
            elif other.sha256 != own.sha256:
                kept[place] = own if _size(own) > _size(other) else other
                notes.append(f"{own.method.name} on {own.label} is there twice with equal scores: one is kept")
    return list(kept.values()), tuple(dict.fromkeys(notes))


def _clashes(parts: Sequence[Part]) -> dict[str, str]:
    """Name of a method -> how two results under it differ, where they do."""
    seen: dict[str, tuple[Part, BenchRecord]] = {}
    found: dict[str, str] = {}
    for part in parts:
        for record in part.records:
            place = str(record.home).casefold()
            if place not in seen:
                seen[place] = part, record
                continue
            first, other = seen[place]
            if difference := _difference(other, record):
                label = record.method.name
                where = f"{first.folder} and {part.folder} have two results called {label!r} on {record.label}"
                found.setdefault(label, f"{where} ({difference})")
    return found


def _difference(one: BenchRecord, other: BenchRecord) -> str:
    """Say how two records of one place differ in what was measured; "" if by rounding, time or machine alone."""
    if one.sha256 == other.sha256:
        return ""
    if one.method.name != other.method.name:
        return f"{one.method.name!r} and {other.method.name!r} need one file"
    if isinstance(one, Record) and isinstance(other, Record):
        if one.data.fingerprint != other.data.fingerprint:
            return f"{counted(one.data.pairs, 'pair')} and {other.data.pairs} of other images"
        if set(one.failures) != set(other.failures):
            return "other pairs failed"
        theirs = {image.name: image.scores for image in other.images}
        for image in one.images:
            for metric, value in image.scores.items():
                if metric in theirs[image.name] and not _equal(value, theirs[image.name][metric]):
                    return f"{metric} of {image.name}: {value} and {theirs[image.name][metric]}"
        return ""
    if isinstance(one, DownstreamRecord) and isinstance(other, DownstreamRecord):
        same = all(_equal(value, other.scores.get(name)) for name, value in one.scores.items())
        return "" if same else "other scores"
    return "another kind of result"


def _equal(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=_TOLERANCE, abs_tol=1e-9)


def _size(record: BenchRecord) -> int:
    return len(record.metrics) if isinstance(record, Record) else 0


def _called(record: BenchRecord, name: str) -> BenchRecord:
    """The record under another name, not sealed yet; itself for ""."""
    if not name or name == record.method.name:
        return record
    return record.model_copy(update={"method": record.method.model_copy(update={"name": name}), "sha256": ""})


def _write(to: Path, records: Sequence[BenchRecord], whole: Sequence[BenchRecord]) -> tuple[BenchRecord, ...]:
    """Write records, where the collection that they become is not mixed."""
    _refuse_mixed(to, whole)
    return tuple(write_record(to, record) for record in records)


def _refuse_mixed(to: Path, records: Sequence[BenchRecord]) -> None:
    for where, why in _mixed(records).items():
        raise UsageError(f"{to}: {where}: {why[0]}")
