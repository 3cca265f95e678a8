"""F of ReFusion, with its shipped weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from fusionkit.contracts import PublishedWeights, ShippedModel
from fusionkit.models.shipped import models_in
from fusionkit_restormer.fuser import RestormerFuser

__all__ = ["ReFusionFuser"]

_BIBTEX = """@article{refusion,
  author = {Bai, Haowen and Zhao, Zixiang and Zhang, Jiangshe and Wu, Yichen and Deng, Lilun and Cui, Yukun
            and Jiang, Baisong and Xu, Shuang},
  title = {{ReFusion}: Learning Image Fusion from Reconstruction with Learnable Loss via Meta-Learning},
  journal = {International Journal of Computer Vision},
  volume = {133},
  year = {2025}
}"""


class ReFusionFuser(RestormerFuser):
    """F of ReFusion.

    Reference:
        Bai et al., ReFusion: Learning Image Fusion from Reconstruction with Learnable Loss via Meta-Learning,
        IJCV 133 (2025), section 3.4.
    """

    reference = "Bai et al., ReFusion, IJCV 2025"
    default_for: ClassVar[tuple[str, ...]] = ("ivif", "mif", "meif")

    published_weights: ClassVar[tuple[PublishedWeights, ...]] = (
        PublishedWeights(
            title="ReFusion",
            source="https://github.com/HaowenBai/ReFusion",
            licence="none stated",
            # By its paper: one data set per task, and the parts of Harvard's atlas for medical images.
            trained_on=("MSRS", "Harvard_MRI_CT", "Harvard_MRI_PET", "Harvard_MRI_SPECT", "RealMFF", "SICE"),
            files=("ReFusion_IVF.pth", "ReFusion_MIF.pth", "ReFusion_MFF.pth", "ReFusion_MEF.pth"),
            parameters=59856,
        ),
    )

    @classmethod
    def bibtex(cls) -> str:
        """Give the entry of the method's paper."""
        return _BIBTEX

    @classmethod
    def pretrained(cls) -> Sequence[ShippedModel]:
        """List the models that ship with the plugin."""
        return models_in(Path(__file__).parent / "models")
