"""F of TDFusion: ReFusion's network, trained by another loss."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fusionkit.contracts import ShippedModel
from fusionkit.models.shipped import models_in
from fusionkit_refusion.fuser import ReFusionFuser

__all__ = ["TDFusionFuser"]

MODELS = Path(__file__).parent / "models"


class TDFusionFuser(ReFusionFuser):
    """The fusion network of TDFusion, which is ReFusion's: two encoders, the AFM, a decoder.

    Reference:
        Bai et al., Task-driven Image Fusion with Learnable Fusion Loss, CVPR 2025, section 3.6.
    """

    reference = "Bai et al., TDFusion, CVPR 2025"
    default_for = ()

    @classmethod
    def pretrained(cls) -> Sequence[ShippedModel]:
        """List the models that ship with the plugin."""
        return models_in(MODELS)
