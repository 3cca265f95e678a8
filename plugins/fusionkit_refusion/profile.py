"""The conventions of ReFusion's tables."""

from __future__ import annotations

from math import nan

from fusionkit.metrics.profiles import CDDFUSE, Profile
from fusionkit.metrics.windows import Window

__all__ = ["PROFILE"]

PROFILE = Profile(
    name="refusion",
    title="the tables of ReFusion (IJCV 2025): CDDFuse's code with SSIM averaged, QCB and QNCIE of Zheng Liu",
    source="Bai et al., ReFusion, IJCV 2025; inferred from its tables",
    settings=CDDFUSE.with_changes(
        {
            "SSIM": {"window": Window(7), "sample": True, "data_range": 2.0, "rounding": "float32"},
            "QCB": {"undefined": nan},
            "QNCIE": {},
        }
    ),
)
