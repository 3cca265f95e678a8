"""Scores and metrics as text: aligned tables, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from typing import Any

from fusionkit.contracts import Metric, MetricInfo
from fusionkit.errors import PluginError
from fusionkit.metrics.inputs import unit_of
from fusionkit.metrics.naming import build, conventions, resolve
from fusionkit.metrics.profiles import PROFILES
from fusionkit.plugins import catalogue

__all__ = [
    "aligned",
    "describe",
    "explain",
    "facts",
    "overview",
    "scores_csv",
    "scores_json",
    "summary",
    "undefined_notes",
]

Rows = Mapping[str, Mapping[str, float]]
"""Image -> metric -> value."""


def summary(rows: Rows, profile: str) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Make head and rows of a table with one line per metric: mean, and for several images their spread."""
    several = len(rows) > 1
    head = (
        ("metric", "mean", "std", "min", "max", "unit", "better") if several else ("metric", "value", "unit", "better")
    )
    table = []
    for name in _metrics(rows):
        values = [row[name] for row in rows.values()]
        numbers = [_number(statistics.fmean(values))]
        if several:
            spread = statistics.pstdev(values) if all(map(math.isfinite, values)) else math.nan
            low, high = (min(values), max(values)) if not any(map(math.isnan, values)) else (math.nan, math.nan)
            numbers += [_number(spread), _number(low), _number(high)]
        metric = _metric(name, profile)
        table.append((name, *numbers, *((unit_of(metric), _better(metric.info)) if metric else ("", ""))))
    return head, table


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
        writer.writerow((image, profile, *(repr(row[name]) for name in names)))
    return text.getvalue()


def scores_json(rows: Rows, profile: str, skipped: Mapping[str, str]) -> str:
    """Format scores as JSON, with null for NaN and the strings ``"inf"`` and ``"-inf"``."""
    names = _metrics(rows)
    built = {name: metric for name in names if (metric := _metric(name, profile))}
    return json.dumps(
        {
            "profile": profile,
            "metrics": {
                name: {"higher_is_better": metric.info.higher_is_better, "unit": unit_of(metric)}
                for name, metric in built.items()
            },
            "images": [
                {"image": image, "values": {name: _json_number(row[name]) for name in names}}
                for image, row in rows.items()
            ],
            "mean": {name: _json_number(statistics.fmean(row[name] for row in rows.values())) for name in names},
            "skipped": dict(skipped),
        },
        indent=2,
    )


def undefined_notes(rows: Rows, profile: str, skipped: Mapping[str, str]) -> list[str]:
    """Make one line for every metric that is undefined on some image, so that no mean hides it."""
    notes = list(skipped.values())
    for name in _metrics(rows):
        missing = [image for image, row in rows.items() if math.isnan(row[name])]
        if name in skipped or not missing:
            continue
        example = f"{missing[0]}" + (", ..." if len(missing) > 1 else "")
        notes.append(f"{name}: not defined on {len(missing)} of {len(rows)} images ({example}) by profile {profile}")
    return notes


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
    lines = [f"{info.name}: {info.title}"]
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
