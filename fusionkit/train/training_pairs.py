"""Finds and checks the pairs of a training, and tells whether they are those that a run began with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fusionkit.contracts.label_types import LabelKind
from fusionkit.data.labels import find_labelled, verify_labels
from fusionkit.data.pair_finding import find_pairs, verify
from fusionkit.data.pair_set import PairSet
from fusionkit.plugins import catalogue
from fusionkit.train.run_folder import RunRecord

__all__ = ["absolute_place", "are_those_of", "find_training_pairs"]


def find_training_pairs(data: str, *, task: str, split: str, labels: LabelKind | None) -> PairSet:
    """Find pairs, with labels where a training needs them, and verify them.

    Raises:
        fusionkit.errors.UsageError: an unknown task or data set.
        fusionkit.errors.DataError: pairs or labels that cannot be used.
    """
    described = catalogue.tasks.get(task)
    if labels is None:
        pairs = find_pairs(data, described, split=split)
        verify(pairs)
    else:
        pairs = find_labelled(data, described, labels, split=split)
        verify(pairs)
        verify_labels(pairs)
    return pairs


def are_those_of(pairs: PairSet, record: RunRecord) -> bool:
    """Return whether the pairs are the run's, perhaps in a folder of another name, which is their data set's name."""
    if pairs.fingerprint() == record.fingerprint:
        return True
    former = Path(record.data).name
    renamed = replace(pairs, pairs=tuple(replace(pair, dataset=former) for pair in pairs))
    return renamed.fingerprint() == record.fingerprint


def absolute_place(data: str) -> str:
    """The place of pairs as it holds in any folder: an absolute path, ``NAME:PATH``, or a name alone."""
    name, colon, place = data.partition(":")
    if colon and not Path(data).exists():
        return f"{name}:{Path(place).resolve()}"
    return str(Path(data).resolve()) if Path(data).exists() else data
