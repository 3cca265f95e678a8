"""The built-in sample: small pairs for each task, made by this code from photographs that scikit-image ships."""

from __future__ import annotations

from fusionkit.data.sample.making import SAMPLE_TASKS, sample_pairs

__all__ = ["SAMPLE_TASKS", "sample_pairs"]
