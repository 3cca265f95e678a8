"""Scores and metrics as text: aligned tables, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any

from fusionkit.contracts import Metric, MetricInfo
from fusionkit.errors import PluginError
from fusionkit.io.text import as_csv_cell
from fusionkit.metrics.inputs import unit_of
from fusionkit.metrics.naming import build, conventions, resolve
from fusionkit.metrics.profiles import PROFILES
from fusionkit.plugins import catalogue

__all__ = [
    "aligned",
    "describe",
    "explain",
    "facts",
    "missing_notes",
    "overview",
    "scores_csv",
    "scores_json",
    "summary",
]

Rows = Mapping[str, Mapping[str, float]]
"""Image -> metric -> value; NaN if it has none."""

Reasons = Mapping[str, Mapping[str, str]]
"""Image -> metric -> why it has no value."""

_NAMED = 3


def summary(rows: Rows, profile: str) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Make head and rows of a table with one line per metric.

    For several images: mean, standard deviation (of the population, divided by n), least and greatest value, and the
    number n of images that have a finite value, over which they are taken.
    """
    several = len(rows) > 1
    head = ("metric", "mean", "std", "min", "max", "n") if several else ("metric", "value")
    table = []
    for name in _metrics(rows):
        found = _statistics(rows, name)
        if several:
            numbers = [_number(value) for value in (found.mean, found.std, found.low, found.high)] + [str(found.count)]
        else:
            numbers = [_number(row[name]) for row in rows.values()]
        metric = _metric(name, profile)
        table.append((name, *numbers, *((unit_of(metric), _better(metric.info)) if metric else ("", ""))))
    return (*head, "unit", "better"), table


@dataclass(frozen=True)
class _Statistics:
    count: int
    mean: float
    std: float
    low: float
    high: float


def _statistics(rows: Rows, name: str) -> _Statistics:
    values = [row[name] for row in rows.values() if math.isfinite(row[name])]
    if not values:
        return _Statistics(0, *[math.nan] * 4)
    return _Statistics(len(values), statistics.fmean(values), statistics.pstdev(values), min(values), max(values))


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a table with aligned columns."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def scores_csv(rows: Rows, profile: str) -> str:
    """Format scores as CSV: one line per image with name, profile and values to 17 digits, ``nan`` where undefined."""
    names = _metrics(rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("image", "profile", *names))
    for image, row in rows.items():
        writer.writerow((as_csv_cell(image), profile, *(repr(row[name]) for name in names)))
    return text.getvalue()


def scores_json(
    rows: Rows,
    profile: str,
    reasons: Reasons,
    *,
    failed: Mapping[str, str] | None = None,
    unusable: Mapping[str, str] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> str:
    """Format scores as JSON, with null for NaN and the strings ``"inf"`` and ``"-inf"``.

    Mean and standard deviation (of the population) are over the ``count`` images that have a finite value.

    Args:
        rows: the values.
        profile: their convention.
        reasons: why values are missing.
        failed: image -> why it has no values at all.
        unusable: metric -> why it could not be computed for any image.
        facts: how files were matched and cut, to be kept with the scores.
    """
    names = _metrics(rows)
    built = {name: metric for name in names if (metric := _metric(name, profile))}
    found = {name: _statistics(rows, name) for name in names}
    return json.dumps(
        {
            "profile": profile,
            **(facts or {}),
            "metrics": {
                name: {"higher_is_better": metric.info.higher_is_better, "unit": unit_of(metric)}
                for name, metric in built.items()
            },
            "images": [
                {
                    "image": image,
                    "values": {name: _json_number(row[name]) for name in names},
                    **({"reasons": dict(reasons[image])} if reasons.get(image) else {}),
                }
                for image, row in rows.items()
            ],
            "mean": {name: _json_number(found[name].mean) for name in names},
            "std": {name: _json_number(found[name].std) for name in names},
            "count": {name: found[name].count for name in names},
            "failed": dict(failed or {}),
            "skipped": dict(unusable or {}),
        },
        indent=2,
    )


def missing_notes(rows: Rows, profile: str, reasons: Reasons) -> list[str]:
    """Make one line per metric and cause of missing values, which names images: so no mean hides them."""
    causes: dict[tuple[str, str], list[str]] = {}
    for image, row in rows.items():
        for name, value in row.items():
            if math.isnan(value):
                cause = reasons.get(image, {}).get(name, f"not defined by profile {profile}")
            elif math.isinf(value):
                cause = "infinite"
            else:
                continue
            causes.setdefault((name, cause), []).append(image)
    return [
        f"{name}: {cause.removeprefix(f'{name} ')} "
        f"({len(images)} of {len(rows)} images: {', '.join(images[:_NAMED])}{', ...' if len(images) > _NAMED else ''})"
        for (name, cause), images in causes.items()
    ]


def overview(profile: str | None = None) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Make head and rows of a table of all metrics, or of a profile's metrics with its settings."""
    head = ("name", "title", "better", "range", "unit", "needs", "loss", "settings" if profile else "profiles")
    table = []
    for name in catalogue.metrics.names():
        where = conventions(name)
        if profile is not None and profile not in where:
            continue
        try:
            metric = build(name)
        except PluginError as error:
            table.append((name, f"cannot be used: {error}", *[""] * 6))
            continue
        info = metric.info
        last = _settings(where[profile]) if profile else ", ".join(p for p in where if p != "standard") or "-"
        needs = f"{info.needs} ({info.sources})" if info.needs == "sources" else info.needs
        loss = "yes" if info.differentiable else "no"
        table.append((name, info.title, _better(info), _range(info), info.unit, needs, loss, last))
    return head, table


def explain(name: str) -> str:
    """Describe a metric as text: its facts and its convention under every profile that has it."""
    (name,) = resolve([name])
    metric = build(name)
    info = metric.info
    also = f" (also {', '.join(info.aliases)})" if info.aliases else ""
    lines = [f"{info.name}: {info.title}{also}"]
    for key, value in (
        ("measures", info.measures),
        ("formula", info.equation),
        ("better", _better(info)),
        ("range", _range(info)),
        ("unit", info.unit),
        ("needs", f"{info.needs} ({info.sources})" if info.needs == "sources" else info.needs),
        ("order", f"of the sources {'does not matter' if info.symmetric else 'matters'}"),
        ("size", f"at least {info.min_size}x{info.min_size} pixels"),
        ("0/0", info.undefined),
        ("as a loss", "differentiable" if info.differentiable else "not differentiable"),
        ("paper", info.paper),
        ("settings", _settings(describe(metric)) or "none"),
        *(("note", note) for note in info.notes if note != "none"),
    ):
        lines.append(f"  {key:9}  {value}")
    where = conventions(name)
    lines.append("  under each profile")
    for profile in PROFILES:
        said = _settings(where[profile]) or "the settings above" if profile in where else "-"
        lines.append(f"    {profile:9}  {said}")
    return "\n".join(lines)


def facts(name: str) -> dict[str, Any]:
    """Describe a metric as data for JSON: its info, its settings, and those of every profile."""
    (name,) = resolve([name])
    metric = build(name)
    return {
        **{key: _plain(value) for key, value in asdict(metric.info).items()},
        "settings": {key: _plain(value) for key, value in describe(metric).items()},
        "profiles": {
            profile: {key: _plain(value) for key, value in settings.items()}
            for profile, settings in conventions(name).items()
        },
    }


def describe(metric: Metric) -> dict[str, Any]:
    """Return the fields of a metric and their values; empty for metrics that are not dataclasses."""
    if not is_dataclass(metric):
        return {}
    return {field.name: getattr(metric, field.name) for field in fields(metric)}


def _metric(name: str, profile: str) -> Metric | None:
    """Build a metric; None where its plugin is broken, which the notes report."""
    try:
        return build(name, profile)
    except PluginError:
        return None


def _metrics(rows: Rows) -> list[str]:
    return list(next(iter(rows.values()), {}))


def _settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} = {_setting(value)}" for key, value in settings.items())


def _setting(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return "e" if value == math.e else f"{value:g}"


def _better(info: MetricInfo) -> str:
    return "higher" if info.higher_is_better else "lower"


def _range(info: MetricInfo) -> str:
    return f"{info.range[0]:g} to {info.range[1]:g}"


def _number(value: float) -> str:
    return f"{value:.6g}"


def _json_number(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else str(value)


def _plain(value: Any) -> Any:
    """Convert a value for JSON: finite floats as numbers, other objects as text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    return value if isinstance(value, str | int | bool | None) else str(value)
