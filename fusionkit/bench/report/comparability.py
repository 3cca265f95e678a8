"""Comparability of the rows of a table: marks for rows and notes for tables that depart from the protocol."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from fusionkit.bench.published_tables import protocol_profile
from fusionkit.bench.records import MetricUse, Record
from fusionkit.errors import FusionkitError
from fusionkit.io.text import counted
from fusionkit.plugins import catalogue
from fusionkit.tasks import Task

__all__ = [
    "departures",
    "find_task",
    "is_ranked",
    "is_trusted",
    "table_notes",
    "usual_images",
    "usual_stretch",
    "usual_use",
]


def installed_use(metric: str, profile: str) -> MetricUse | None:
    """Describe the installed metric of a name, if there is one."""
    # Imported here: metrics need torch, which reading records does not.
    from fusionkit.bench.image_scores import present_use

    return present_use(metric, profile)


def find_task(name: str) -> Task | None:
    """The task of that name; None where its plugin is not installed or fails: the records are shown all the same."""
    try:
        return catalogue.tasks.get(name)
    except FusionkitError:
        return None


def usual_images(records: Sequence[Record]) -> tuple[str, int]:
    """Fingerprint and number of pairs of the image set that most records have; of equally frequent ones the largest."""
    often = Counter((record.data.fingerprint, record.data.pairs) for record in records)
    return max(often, key=lambda found: (often[found], found[1], found[0]))


def usual_stretch(records: Sequence[Record]) -> str:
    """The range stretch of most records, ``"none"`` before ``"full"``; "" where no record knows its own."""
    often = Counter(record.method.stretch for record in records if record.method.stretch)
    return max(often, key=lambda found: (often[found], found), default="")


def usual_gamut(records: Sequence[Record]) -> str:
    """The gamut rule of most records that were fused here, ``"keep-luminance"`` before ``"clip"``."""
    often = Counter(record.method.gamut for record in records if record.method.stretch)
    return max(often, key=lambda found: (often[found], found), default="")


def usual_use(records: Sequence[Record], metric: str) -> MetricUse:
    """Convention by which most records compute a metric; its direction and unit are the installed metric's, if any."""
    found = [record.metrics[metric] for record in records if metric in record.metrics]
    often = Counter(use.model_dump_json() for use in found)
    usual = max(found, key=lambda use: often[use.model_dump_json()])
    installed = installed_use(metric, records[0].profile)
    if installed is None:
        return usual
    return usual.model_copy(update={"higher_is_better": installed.higher_is_better, "unit": installed.unit})


def _contradicted(record: Record) -> list[str]:
    """List where a record and the installed metrics say different things of a metric, a short phrase each."""
    found = []
    for metric, use in record.metrics.items():
        installed = installed_use(metric, record.profile)
        if installed and use.higher_is_better != installed.higher_is_better:
            found.append(f"{metric} said to be better {_ways(use)}, and is better {_ways(installed)}")
        elif installed and use.unit != installed.unit:
            found.append(f"{metric} said to be in {use.unit}, and is in {installed.unit}")
    return found


def _ways(use: MetricUse) -> str:
    return "when higher" if use.higher_is_better else "when lower"


def is_trusted(record: Record, records: Sequence[Record]) -> bool:
    """Return whether nothing contradicts a record: neither its files, nor installed metrics, nor one of its method."""
    return not (_is_there_twice(record, records) or record.faults or record.contradictions() or _contradicted(record))


def _is_there_twice(record: Record, records: Sequence[Record]) -> bool:
    return sum(other.method.name == record.method.name and not other.faults for other in records) > 1


def is_ranked(record: Record, records: Sequence[Record], usual: tuple[str, int], ranking: Sequence[str]) -> bool:
    """Return whether a record can be ranked with its table: whole, of the table's images, and not contradicted."""
    return (
        record.data.fingerprint == usual[0]
        and not record.failures
        and bool(record.images)
        and all(metric in record.metrics for metric in ranking)
        and is_trusted(record, records)
    )


def departures(
    record: Record, records: Sequence[Record], usual: tuple[str, int], ranking: Sequence[str]
) -> tuple[str, ...]:
    """Departures of a record from its table, one short phrase each.

    Args:
        record: one of the records.
        records: those of the table.
        usual: what :func:`usual_images` gives for them.
        ranking: the metrics that rank.
    """
    marks = [*dict.fromkeys((*record.faults, *record.contradictions())), *_contradicted(record)]
    if _is_there_twice(record, records):
        marks.append("a method that is there twice")
    if record.data.fingerprint != usual[0]:
        marks.append(f"other images ({counted(record.data.pairs, 'pair')}, the table's are {usual[1]})")
    if record.failures:
        marks.append(f"{len(record.failures)} of {record.data.pairs} pairs failed")
    if not record.images:
        marks.append("no results")
    if lacking := [metric for metric in ranking if metric not in record.metrics]:
        marks.append(f"without {', '.join(lacking)}")
    stretch = usual_stretch(records)
    if record.method.stretch != stretch:
        own = {"full": "stretched to the full range", "none": "not stretched", "": "stretch not known"}
        marks.append(f"{own[record.method.stretch]}, the other rows: {own[stretch]}")
    gamut = usual_gamut(records)
    if record.method.stretch and record.method.gamut != gamut:
        marks.append(f"colours outside RGB by {record.method.gamut}, the other rows: {gamut}")
    for metric, use in record.metrics.items():
        common = usual_use(records, metric)
        if (use.version, use.settings) != (common.version, common.settings):
            marks.append(f"{metric} by {use.version}, with other settings or of another version than the table's")
    return tuple(marks)


def table_notes(
    records: Sequence[Record],
    task: Task | None,
    ranking: Sequence[str],
    images: Mapping[str, int],
    pairs: int,
    ranked: int,
) -> tuple[str, ...]:
    """Notes on a whole table: departures from its task's protocol, and what its ranks leave out.

    Args:
        records: those of the table.
        task: their task, if it is known.
        ranking: the metrics that rank.
        images: metric -> number of images that the ranks by it rest on.
        pairs: of the table's image set.
        ranked: number of ranked rows.
    """
    head = records[0]
    notes = []
    if task is None:
        notes.append(f"task {head.task} is not installed here: nothing is known of its protocol")
    else:
        usual = protocol_profile(task)
        if head.profile != usual:
            notes.append(f"profile {head.profile}: the protocol of {task.name} is profile {usual}")
        if head.split not in ("test", ""):
            notes.append(f"split {head.split}: the protocol of {task.name} is the split test")
        if absent := [metric for metric in task.metrics if metric not in ranking]:
            notes.append(f"not measured: {', '.join(absent)}, of the protocol of {task.name}")
    if ranked:
        if left_out := [metric for metric in ranking if not images[metric]]:
            notes.append(f"no rank by {', '.join(left_out)}: no image has a value for every ranked method")
        if fewer := [f"{metric} ({images[metric]})" for metric in ranking if 0 < images[metric] < pairs]:
            notes.append(
                f"ranked on fewer than {pairs} images, those with a value for every method: {', '.join(fewer)}"
            )
    if unsealed := sum(not record.sha256 for record in records if record.place):
        notes.append(f"without a digest of their content, as records had none before: {unsealed} of {len(records)}")
    notes += _stretch_notes(records)
    notes += [
        f"{record.method.name}: fused from shrunk sources, at speed {record.method.speed}"
        for record in records
        if record.method.speed != "exact"
    ]
    devices = sorted({image.cost.device for record in records for image in record.images if image.cost})
    if len(devices) > 1:
        notes.append(f"times are of different machines: {', '.join(devices)}")
    return tuple(notes)


def _stretch_notes(records: Sequence[Record]) -> list[str]:
    """Note that a table mixes stretched and unstretched results, or uses another stretch than methods' authors."""
    often = Counter(record.method.stretch for record in records if record.method.stretch)
    if len(often) > 1:
        return [
            f"stretched to the full range: {often['full']}; not stretched: {often['none']}; EN, SD, SF and AG "
            "reward it: bench with --stretch full, or none, to compare like with like"
        ]
    unlike = sum(bool(r.method.own_stretch) and r.method.own_stretch != r.method.stretch for r in records)
    if not unlike:
        return []
    done, do = (
        ("every result is stretched to its full range", "do not")
        if often["full"]
        else ("no result is stretched to its full range", "do")
    )
    return [f"{done}, by --stretch; the authors of {unlike} of these methods {do}"]
