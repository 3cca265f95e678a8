"""The built-in samples: small pairs for each task, made by this code, most from photographs that scikit-image ships."""

from __future__ import annotations

from fusionkit.data.sample.labelled import LABELLED_TASKS, labelled_sample
from fusionkit.data.sample.sample_folder import SAMPLE_TASKS, sample_pairs

__all__ = ["LABELLED_TASKS", "SAMPLE_TASKS", "labelled_sample", "sample_pairs"]
