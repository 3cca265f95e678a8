"""Multi-exposure data sets."""

from __future__ import annotations

from fusionkit.data.dataset_layout import Layout, Part
from fusionkit.data.named_dataset import NamedDataset
from fusionkit.data.pair_set import NONE_STATED

__all__ = ["MEFB", "SICE"]

SICE = NamedDataset(
    name="SICE",
    title="Single Image Contrast Enhancement, exposure stacks with reference",
    task="meif",
    homepage="https://github.com/csjcai/SICE",
    licence=NONE_STATED,
    citation=(
        "Cai, Gu, Zhang: Learning a deep single image contrast enhancer from multi-exposure images. "
        "IEEE Transactions on Image Processing 27(4), 2018"
    ),
    layouts=(
        Layout(
            source="the authors' archives Dataset_Part1 and Dataset_Part2",
            parts=(
                Part(
                    sources=("Dataset_Part{part:d}*/{scene:d}/*",),
                    pairs=None,
                    truth="Dataset_Part{part:d}*/Label/{scene:d}",
                ),
            ),
        ),
    ),
    images="high-resolution JPEG, 8 bit RGB; 589 stacks (360 and 229), mostly of 7 or 9 exposures from dark to bright",
    paper_split=(
        "ReFusion draws 300 images for training and 100 for testing and names neither them nor the two exposures; here "
        "a pair is the second and the last but one exposure of a stack, and there is no split"
    ),
    verified=(
        "folders from public programs that read both archives, as is the order of the exposures; the numbers of "
        "stacks from the authors' README; the archives were not at hand"
    ),
)

MEFB = NamedDataset(
    name="MEFB",
    title="Multi-Exposure Fusion Benchmark",
    task="meif",
    homepage="https://github.com/xingchenzhang/MEFB",
    licence=NONE_STATED,
    citation=("Zhang: Benchmarking and comparing multi-exposure image fusion algorithms. Information Fusion 74, 2021"),
    layouts=(
        Layout(
            source="the author's repository",
            parts=(Part(split="test", sources=("input/{name}/*_A", "input/{name}/*_B"), pairs=100),),
        ),
    ),
    images="TIFF, PNG and JPEG of various sizes, 8 bit RGB; A is the darker of the two wherever it was looked at",
    paper_split="ReFusion tests generalisation on 30 pairs that it does not name",
    verified="folders and names of the author's repository, where the number of pairs is stated",
)
