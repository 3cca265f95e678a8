"""Downstream benchmarks: the same network trained afresh on each method's fused images, scored on the test split."""

from __future__ import annotations
