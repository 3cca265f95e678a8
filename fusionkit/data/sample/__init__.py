"""The built-in samples: small synthetic pairs for each task, most made from photographs in scikit-image's wheel."""

from __future__ import annotations

from fusionkit.data.sample.labelled import LABELLED_TASKS, labelled_sample
from fusionkit.data.sample.sample_folder import SAMPLE_TASKS, sample_pairs

__all__ = ["LABELLED_TASKS", "SAMPLE_TASKS", "labelled_sample", "sample_pairs"]
