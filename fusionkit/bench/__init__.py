"""Benchmarks: methods on data sets, scored by fusion quality or by a network that uses their images."""

from __future__ import annotations
