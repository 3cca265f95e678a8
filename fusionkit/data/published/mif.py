"""Medical data sets: slices of the Whole Brain Atlas (AANLIB), by modality."""

from __future__ import annotations

from fusionkit.data.dataset_layout import Layout, Part
from fusionkit.data.named_dataset import NamedDataset
from fusionkit.data.pair_set import NONE_STATED

__all__ = ["HARVARD_MRI_CT", "HARVARD_MRI_PET", "HARVARD_MRI_SPECT"]


def _atlas(modality: str, pairs: int, images: str) -> NamedDataset:
    return NamedDataset(
        name=f"Harvard_MRI_{modality}",
        title=f"AANLIB brain slices, {modality} and MRI",
        task="mif",
        homepage="http://www.med.harvard.edu/AANLIB/home.html",
        licence=NONE_STATED,
        citation="Johnson, Becker: The Whole Brain Atlas. Harvard Medical School, www.med.harvard.edu/AANLIB",
        layouts=(
            Layout(
                source="CDDFuse (github.com/Zhaozixiang1228/MMIF-CDDFuse, test_img)",
                parts=(
                    Part(
                        split="test",
                        sources=(f"MRI_{modality}/{modality}/{{name}}", f"MRI_{modality}/MRI/{{name}}"),
                        pairs=pairs,
                    ),
                ),
            ),
            Layout(
                source="github.com/xianming-gu/Havard-Medical-Image-Fusion-Datasets",
                parts=(
                    Part(sources=(f"{modality}-MRI/{modality}/{{name}}", f"{modality}-MRI/MRI/{{name}}"), pairs=None),
                ),
            ),
            Layout(
                source="either of these repositories, without the upper folder",
                parts=(Part(sources=(f"{modality}/{{name}}", "MRI/{name}"), pairs=None),),
            ),
        ),
        images=images,
        paper_split=(
            "ReFusion uses 158 pairs for training and 50 for testing over all three modalities and names none of them; "
            "CDDFuse publishes the pairs it tests on"
        ),
        verified=(
            "the atlas publishes web pages, not files: the layouts are those of two repositories that collected "
            "slices, read there; their numbering differs"
        ),
    )


HARVARD_MRI_CT = _atlas("CT", 21, "256 x 256 PNG, 8 bit grey")
HARVARD_MRI_PET = _atlas("PET", 42, "256 x 256 PNG, 8 bit; PET in false colour (RGB), MRI grey")
HARVARD_MRI_SPECT = _atlas("SPECT", 73, "256 x 256 PNG, 8 bit; SPECT in false colour (RGB), MRI grey")
