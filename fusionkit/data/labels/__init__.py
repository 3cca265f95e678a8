"""Pairs with labels: finding, checking, reading and storing class-id masks and boxes."""

from __future__ import annotations

from fusionkit.data.labels.label_checks import count_labels, verify_labels
from fusionkit.data.labels.label_files import read_boxes, read_mask
from fusionkit.data.labels.label_finding import find_labelled

__all__ = ["count_labels", "find_labelled", "read_boxes", "read_mask", "verify_labels"]
