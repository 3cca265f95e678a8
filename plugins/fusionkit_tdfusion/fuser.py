"""F of TDFusion, which is ReFusion's network trained by another loss."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fusionkit.contracts import ShippedModel
from fusionkit.models.shipped import models_in
from fusionkit_restormer.fuser import RestormerFuser

__all__ = ["TDFusionFuser"]


class TDFusionFuser(RestormerFuser):
    """F of TDFusion.

    Reference:
        Bai et al., Task-driven Image Fusion with Learnable Fusion Loss, CVPR 2025, section 3.6.
    """

    reference = "Bai et al., TDFusion, CVPR 2025"

    @classmethod
    def pretrained(cls) -> Sequence[ShippedModel]:
        """List the models that ship with the plugin."""
        return models_in(Path(__file__).parent / "models")
