"""Multi-focus data sets."""

from __future__ import annotations

from fusionkit.data.dataset_layout import Layout, Part
from fusionkit.data.named_dataset import NamedDataset
from fusionkit.data.pair_set import NONE_STATED

__all__ = ["LYTRO", "MFFW", "MFI_WHU", "REALMFF"]

_MFIFB = "MFIFB (github.com/xingchenzhang/MFIFB)"

REALMFF = NamedDataset(
    name="RealMFF",
    title="Real-MFF, light-field pairs with ground truth",
    task="mfif",
    homepage="https://github.com/Zancelot/Real-MFF",
    licence=NONE_STATED,
    citation=(
        "Zhang, Liao, Liu, Ma, Yang, Xue: Real-MFF: a large realistic multi-focus image dataset with ground truth. "
        "Pattern Recognition Letters 138, 2020"
    ),
    layouts=(
        Layout(
            source="the authors' archive",
            parts=(Part(sources=("imageA/{name:d}_A", "imageB/{name:d}_B"), pairs=710, truth="Fusion/{name:d}_F"),),
        ),
        Layout(
            source="github.com/truth-zheng/RealMFF",
            parts=(Part(sources=("imageA/{name:d}", "imageB/{name:d}"), pairs=710, truth="Fusion/{name:d}"),),
        ),
    ),
    images="433 x 625 PNG, 8 bit RGB, with the all-in-focus image of every pair",
    paper_split="ReFusion selects 400 pairs for training and 200 for testing and does not name them; no split here",
    verified=(
        "the archive's folders and names from two public programs that read it; the second form from its repository; "
        "which of A and B is the nearer focus is not stated"
    ),
)

LYTRO = NamedDataset(
    name="Lytro",
    title="Lytro multi-focus dataset",
    task="mfif",
    homepage="https://mansournejati.ece.iut.ac.ir/content/lytro-multi-focus-dataset",
    licence=NONE_STATED,
    citation=(
        "Nejati, Samavi, Shirani: Multi-focus image fusion using dictionary-based sparse representation. "
        "Information Fusion 25, 2015"
    ),
    layouts=(
        Layout(
            source="the authors' archive",
            parts=(Part(split="test", sources=("lytro-{name:d}-A", "lytro-{name:d}-B"), pairs=20),),
        ),
        Layout(
            source=_MFIFB,
            parts=(
                Part(
                    split="test",
                    sources=("input/lytro_{name:d}/lytro_{name:d}_A", "input/lytro_{name:d}/lytro_{name:d}_B"),
                    pairs=20,
                ),
            ),
        ),
    ),
    images="520 x 520 JPEG, 8 bit RGB; four triple series beside the 20 pairs are not part of the test set",
    paper_split="ReFusion tests generalisation on all 20 pairs",
    verified="names of the archive from public programs that read it; the second form from MFIFB's repository",
)

MFI_WHU = NamedDataset(
    name="MFI-WHU",
    title="MFI-WHU, synthetic pairs with ground truth",
    task="mfif",
    homepage="https://github.com/HaoZhang1018/MFI-WHU",
    licence="none stated; its README says that the full-clear images come from public datasets",
    citation=(
        "Zhang, Le, Shao, Xu, Ma: MFF-GAN: an unsupervised generative adversarial network with adaptive and gradient "
        "joint constraints for multi-focus image fusion. Information Fusion 66, 2021"
    ),
    layouts=(
        Layout(
            source="the authors' archive",
            parts=(Part(sources=("source_1/{name}", "source_2/{name}"), pairs=120, truth="full_clear/{name}"),),
        ),
    ),
    images="JPEG of various sizes, 8 bit RGB, blurred by a mask from clear photographs",
    paper_split="neither paper uses it; no split is published",
    verified="folder names from public programs that read the archive; the number of pairs from the authors' README",
)

MFFW = NamedDataset(
    name="MFFW",
    title="Multi-Focus in the Wild",
    task="mfif",
    homepage="https://arxiv.org/abs/2002.04780",
    licence=NONE_STATED,
    citation="Xu, Wei, Zhang, Liu, Zhang: MFFW: a new dataset for multi-focus image fusion. arXiv:2002.04780, 2020",
    layouts=(
        Layout(
            source=_MFIFB,
            parts=(
                Part(
                    split="test",
                    sources=("input/mffw_{name:d}/mffw_{name:d}_A", "input/mffw_{name:d}/mffw_{name:d}_B"),
                    pairs=13,
                ),
            ),
        ),
    ),
    images="JPEG of various sizes, 8 bit RGB, with strong defocus spread",
    paper_split="neither paper uses it; all 13 two-source pairs are for testing",
    verified="the form of MFIFB's repository, read there; the layout of the authors' own archive could not be verified",
)
