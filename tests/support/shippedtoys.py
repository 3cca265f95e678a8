"""A fuser that ships what a test exported, as a plugin ships it in its package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from fusionkit_refusion.fuser import ReFusionFuser


def shipping(folder: Path) -> type[ReFusionFuser]:
    """ReFusion's fuser with another folder of models."""

    class Shipping(ReFusionFuser):
        """ReFusion with models in a test's folder."""

        folder: ClassVar[Path]

        @classmethod
        def pretrained(cls) -> Mapping[str, Path]:
            return {file.stem: file for file in sorted(cls.folder.glob("*.safetensors"))}

    Shipping.folder = folder
    return Shipping
