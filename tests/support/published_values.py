"""Values that published code gave on real images, read from the folder FUSIONKIT_METRIC_REFERENCE names."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from torch import Tensor

from fusionkit.metrics import read_luminance


def folder() -> Path:
    path = Path(os.environ.get("FUSIONKIT_METRIC_REFERENCE", ""))
    if not (path / "reference.csv").is_file():
        pytest.skip("set FUSIONKIT_METRIC_REFERENCE to a folder with reference.csv and triples/ to run this test")
    return path


def triple(name: str) -> tuple[Tensor, Tensor, Tensor]:
    fused, a, b = (read_luminance(folder() / "triples" / name / f"{role}.png") for role in "fab")
    return fused.double(), a.double(), b.double()


def published(metric: str, code: str) -> dict[str, float]:
    """Triple -> value, NaN where the code gave none."""
    with (folder() / "reference.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == metric and code in row["implementation"]]
    values = {row["triple_id"]: float(row["value"] or "nan") for row in rows}
    assert values, f"no value of {metric} by {code}"
    return values


def disagreements(
    function: Callable[..., Tensor], values: dict[str, float], tolerance: float, *, only: Iterable[str] | None = None
) -> dict[str, tuple[float, float]]:
    """Triple -> (ours, published) where they differ by more than the relative tolerance, or one alone is NaN."""
    found = {}
    for name in values if only is None else only:
        ours, theirs = float(function(*triple(name))), values[name]
        if math.isnan(theirs) != math.isnan(ours) or abs(ours - theirs) > tolerance * abs(theirs) + 1e-15:
            found[name] = (ours, theirs)
    return found
