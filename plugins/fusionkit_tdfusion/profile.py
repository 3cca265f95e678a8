"""The conventions of TDFusion's tables."""

from __future__ import annotations

from fusionkit.metrics.profiles import CDDFUSE, Profile
from fusionkit.metrics.windows import Window

__all__ = ["PROFILE"]

PROFILE = Profile(
    name="tdfusion",
    title="the tables of TDFusion (CVPR 2025): CDDFuse's code with VIFp averaged and SSIM averaged, on 8 bits",
    source="Bai et al., TDFusion, CVPR 2025, and its public evaluation code",
    settings=CDDFUSE.with_changes({"VIFp": {"flat": "one"}, "SSIM": {"window": Window(7), "sample": True}}),
)
