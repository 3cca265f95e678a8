"""F of TDFusion, which is ReFusion's network trained by another loss."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fusionkit.contracts import ShippedModel
from fusionkit.models.shipped import models_in
from fusionkit_restormer.fuser import RestormerFuser

__all__ = ["TDFusionFuser"]

_BIBTEX = """@inproceedings{tdfusion,
  author = {Bai, Haowen and Zhang, Jiangshe and Zhao, Zixiang and Wu, Yichen and Deng, Lilun and Cui, Yukun
            and Feng, Tao and Xu, Shuang},
  title = {Task-driven Image Fusion with Learnable Fusion Loss},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  pages = {7457--7468},
  year = {2025}
}"""


class TDFusionFuser(RestormerFuser):
    """F of TDFusion.

    Reference:
        Bai et al., Task-driven Image Fusion with Learnable Fusion Loss, CVPR 2025, section 3.6.
    """

    reference = "Bai et al., TDFusion, CVPR 2025"

    @classmethod
    def bibtex(cls) -> str:
        """Give the entry of the method's paper."""
        return _BIBTEX

    @classmethod
    def pretrained(cls) -> Sequence[ShippedModel]:
        """List the models that ship with the plugin."""
        return models_in(Path(__file__).parent / "models")
