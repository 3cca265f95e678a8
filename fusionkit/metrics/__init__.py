"""Fusion-quality metrics: pure functions of tensors, thin classes over them, and the profiles that fix conventions.

How to write one: :mod:`fusionkit.metrics.scene`.
"""

from __future__ import annotations
