"""Pairs of image files to fuse and train on: folders, manifests, named data sets, the built-in sample."""

from __future__ import annotations

from fusionkit.data.pair_checks import verify
from fusionkit.data.pair_finding import find_pairs
from fusionkit.data.pair_set import Pair, PairSet

__all__ = ["Pair", "PairSet", "find_pairs", "verify"]
