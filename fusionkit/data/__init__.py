"""What is fused and trained on: pairs of files, named data sets, the built-in sample."""

from __future__ import annotations

from fusionkit.data.checks import verify
from fusionkit.data.pairs import find_pairs
from fusionkit.data.pairset import Pair, PairSet

__all__ = ["Pair", "PairSet", "find_pairs", "verify"]
