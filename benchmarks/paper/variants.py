"""What Tables 5 and 6 vary: each row's options over those of the schedule."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.paper.schedules import TRAINER
from fusionkit.bench.published_tables import PublishedRow, PublishedTable, published_tables
from fusionkit.config import merged
from fusionkit.errors import UsageError, did_you_mean

PAPER = "refusion"


@dataclass(frozen=True)
class Variant:
    """One way to train.

    Attributes:
        key: short name, for folders and ``--row``.
        row: the paper's name of it, or "".
        options: over the schedule's.
        note: what else the row needs here.
        method: registered trainer.
    """

    key: str
    row: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    method: str = TRAINER


FULL = Variant("full", "Ours")

_SCHEMES = {"II": "refusion-joint", "III": "refusion-inner"}
"""Rows that train by a method of :mod:`benchmarks.paper.schemes`."""

_ABLATIONS: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "I": ({"proposal": "equal"}, ""),
    "II": ({"proposal": "equal", "trainer": {"freeze_fraction": 0}}, ""),
    "III": (
        {"trainer": {"hypergradient": "one_step", "warmup": 0, "freeze_fraction": 0}},
        "its inner steps are F's only steps: exact hypergradient, no epochs without, whatever the schedule says",
    ),
    "IV": ({"reconstructor": {"combine": "sum"}}, ""),
    "V": ({"fuser": {"output": "decision"}}, ""),
    "VI": ({"fuser": {"cross_attention": False, "gating": False}}, ""),
    "VII": ({"fuser": {"cross_attention": False}}, ""),
    "VIII": ({"fuser": {"gating": False}}, ""),
}


def halves(table: int) -> tuple[PublishedTable, ...]:
    """The published halves of a table of the paper."""
    return tuple(panel for panel in published_tables(PAPER) if panel.table == table)


def ablations() -> tuple[Variant, ...]:
    """The rows of Table 5, ``full`` last."""
    (panel,) = halves(5)
    found = []
    for row in panel.rows:
        number = row.method.partition(" ")[0]
        options, note = _ABLATIONS.get(number, ({}, ""))
        found.append(
            Variant(number, row.method, options, note, _SCHEMES.get(number, TRAINER)) if number in _ABLATIONS else FULL
        )
    return tuple(found)


def sweep(panel: PublishedTable, base: Mapping[str, Any]) -> tuple[Variant, ...]:
    """The rows of one half of Table 6.

    Args:
        panel: the half.
        base: the schedule's options; where both weights are 1 there already, that row is ``full``.
    """
    return tuple(_swept(row, base) for row in panel.rows)


def _swept(row: PublishedRow, base: Mapping[str, Any]) -> Variant:
    first, second = (float(number) for number in re.findall(r"= ([\d.]+)", row.method))
    options = {"proposer": {"alpha": first}, "reconstructor": {"alpha": second}}
    plain = merged({"proposer": {"alpha": 1.0}, "reconstructor": {"alpha": 1.0}}, base)
    if all(plain[part]["alpha"] == value["alpha"] for part, value in options.items()):
        return Variant(FULL.key, row.method)
    return Variant(f"alpha1-{first:g}" if second == 1 else f"alpha2-{second:g}", row.method, options)


def choose(variants: Sequence[Variant], keys: Sequence[str]) -> tuple[Variant, ...]:
    """The variants of these keys and ``full``, in order; all where no key is given.

    Raises:
        UsageError: no such row.
    """
    known = {variant.key for variant in variants}
    for key in keys:
        if key not in known:
            raise UsageError(f"--row {key}: {did_you_mean(key, known)}")
    return tuple(variant for variant in variants if not keys or variant.key in (*keys, FULL.key))
