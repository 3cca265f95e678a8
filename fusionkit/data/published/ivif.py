"""Infrared-visible data sets."""

from __future__ import annotations

from fusionkit.data.dataset_layout import Layout, Part
from fusionkit.data.named_dataset import NamedDataset, PublishedLabels
from fusionkit.data.pair_set import NONE_STATED

__all__ = ["FMB", "LLVIP", "M3FD", "MFNET", "MSRS", "ROADSCENE", "TNO"]

_ROAD_CLASSES = ("unlabelled", "car", "person", "bike", "curve", "car_stop", "guardrail", "color_cone", "bump")


def _msrs(masks: str) -> tuple[Part, ...]:
    return tuple(
        Part(
            split=split,
            sources=(f"{split}/ir/{{name}}", f"{split}/vi/{{name}}"),
            masks=f"{split}/{masks}/{{name}}",
            pairs=pairs,
        )
        for split, pairs in (("train", 1083), ("test", 361))
    )


MSRS = NamedDataset(
    name="MSRS",
    title="Multi-Spectral Road Scenarios",
    task="ivif",
    homepage="https://github.com/Linfeng-Tang/MSRS",
    licence=NONE_STATED,
    citation=(
        "Tang, Yuan, Zhang, Jiang, Ma: PIAFusion: a progressive infrared and visible image fusion network based on "
        "illumination aware. Information Fusion 83-84, 2022"
    ),
    layouts=(
        Layout(
            source="the authors' repository",
            parts=_msrs("Segmentation_labels"),
        ),
        Layout(
            source="the authors' repository (the pairs with boxes)",
            parts=(
                Part(
                    split="test",
                    sources=("detection/ir/{name}", "detection/vi/{name}"),
                    boxes="detection/labels/{name}",
                    pairs=80,
                ),
            ),
        ),
        Layout(source="TDFusion's loader", parts=_msrs("label")),
    ),
    labels=(
        PublishedLabels(
            kind="segmentation",
            classes=_ROAD_CLASSES,
            verified=(
                "folder and order of the classes from the script in the authors' repository that colours the masks; "
                "they are those of MFNet, from which the set is made"
            ),
        ),
        PublishedLabels(
            kind="detection",
            classes=("person", "bicycle", "car"),
            verified=(
                "the 80 YOLO files in the authors' repository; their README names no classes: the files that were read "
                "hold ids 0 and 2, which fit COCO's person, bicycle and car, the three classes of the labels that "
                "others publish for the whole set"
            ),
        ),
    ),
    images="480 x 640 PNG, 8 bit; infrared grey, visible RGB; 715 day (D) and 729 night (N) pairs",
    paper_split="the published one: ReFusion and TDFusion train on the 1083 and test on the 361",
    verified="folders and file names of the authors' repository; the number of test pairs counted there",
)

_ROADSCENE_NUMBERS = """
00211 00977 01130 04269 04424 04484 04512 04593 04688 04722 04943 05005 05064 05105 05857 05879 05893
05914 05955 06282 06325 06392 06430 06506 06570 06795 06974 06993 06995 07190 07206 07209 07555 07732
07786 07809 07968 07970 08021 08058 08094 08202 08248 08284 08526 08592 08721 08858 09465 video_02829
"""
_ROADSCENE_TEST = frozenset(f"FLIR_{number}" for number in _ROADSCENE_NUMBERS.split())

ROADSCENE = NamedDataset(
    name="RoadScene",
    title="RoadScene, aligned pairs from the FLIR video",
    task="ivif",
    homepage="https://github.com/hanna-xu/RoadScene",
    licence=NONE_STATED,
    citation=(
        "Xu, Ma, Le, Jiang, Guo: FusionDN: a unified densely connected network for image fusion. "
        "AAAI 2020, with the data set of 221 pairs"
    ),
    layouts=(
        Layout(
            source="the authors' repository",
            parts=(
                Part(
                    split="train",
                    sources=("cropinfrared/{name}", "crop_LR_visible/{name}"),
                    pairs=None,
                    without=_ROADSCENE_TEST,
                ),
                Part(
                    split="test",
                    sources=("cropinfrared/{name}", "crop_LR_visible/{name}"),
                    pairs=50,
                    only=_ROADSCENE_TEST,
                ),
            ),
        ),
        Layout(
            source="CDDFuse (github.com/Zhaozixiang1228/MMIF-CDDFuse, test_img)",
            parts=(Part(split="test", sources=("ir/{name}", "vi/{name}"), pairs=50),),
        ),
    ),
    images="about 300 x 500 JPEG of various sizes, 8 bit; infrared grey, visible RGB",
    paper_split=(
        "its authors publish 221 pairs without a split; test is the list of 50 that CDDFuse publishes, train the rest; "
        "ReFusion tests on 50 pairs that it does not name, without training on the set"
    ),
    verified=(
        "the authors' README names the folders; crop_HR_visible is the larger view that is not pixel-aligned; "
        "the test list was read in CDDFuse's repository"
    ),
)

TNO = NamedDataset(
    name="TNO",
    title="TNO Image Fusion Dataset",
    task="ivif",
    homepage="https://figshare.com/articles/dataset/TNO_Image_Fusion_Dataset/1008029",
    licence=(
        "free for research purposes and in publications with proper credit to TNO, Soesterberg, The Netherlands, and a "
        "reference to the figshare data set (its README)"
    ),
    citation="Toet: TNO Image Fusion Dataset. figshare, 2014, doi:10.6084/m9.figshare.1008029",
    layouts=(
        Layout(
            source="figshare",
            parts=tuple(
                Part(split="test", sources=(f"{folder}/{infrared}", f"{folder}/{visible}"), pairs=None, irregular=True)
                for folder, infrared, visible in (
                    ("Athena_images/{name}", "IR_*", "VIS_*"),
                    ("Athena_images/{name}", "ir", "vis"),
                    ("Athena_images/{name}/view_{view}", "IR_*", "VIS_*"),
                    ("DHV_images/{name}", "IR_*", "VIS_*"),
                    ("Triclobs_images/{name}", "*_IR", "*_Vis"),
                    ("Triclobs_images/{name}", "LWIR*", "VIS*"),
                    ("Triclobs_images/{name}", "IR*", "Vis*"),
                )
            ),
        ),
        Layout(
            source="CDDFuse (github.com/Zhaozixiang1228/MMIF-CDDFuse, test_img)",
            parts=(Part(split="test", sources=("ir/{name}", "vi/{name}"), pairs=25),),
        ),
    ),
    images="sizes from 280 x 360 to 768 x 576, BMP and TIFF (figshare) or PNG (CDDFuse), 8 bit grey",
    paper_split="neither paper uses it; CDDFuse and others test on 25 pairs in a renumbered copy",
    verified=(
        "figshare's file names follow no one rule; the templates were written from public listings of the archive and "
        "cover most of its long-wave infrared stills, not the image sequences; the archive itself was not at hand"
    ),
)


def _fmb(infrared: str, visible: str, masks: str) -> tuple[Part, ...]:
    return tuple(
        Part(
            split=split,
            sources=(f"{split}/{infrared}/{{name}}", f"{split}/{visible}/{{name}}"),
            masks=f"{split}/{masks}/{{name}}",
            pairs=pairs,
        )
        for split, pairs in (("train", 1220), ("test", 280))
    )


FMB = NamedDataset(
    name="FMB",
    title="Full-time Multi-modality Benchmark",
    task="ivif",
    homepage="https://github.com/JinyuanLiu-CV/SegMiF",
    licence=NONE_STATED,
    citation=(
        "Liu, Liu, Wu, Ma, Liu, Zhong, Luo, Fan: Multi-interactive feature learning and a full-time multi-modality "
        "benchmark for image fusion and segmentation. ICCV 2023"
    ),
    layouts=(
        Layout(
            source="the authors' archive",
            parts=_fmb("Infrared", "Visible", "Label"),
        ),
        Layout(source="TDFusion's loader", parts=_fmb("ir", "vi", "label")),
    ),
    labels=(
        PublishedLabels(
            kind="segmentation",
            classes=(
                *("background", "road", "sidewalk", "building", "lamp", "sign", "vegetation", "sky", "person", "car"),
                *("truck", "bus", "motorcycle", "bicycle", "pole"),
            ),
            verified=(
                "names and order from three public loaders that agree, up to the words for lamp (traffic light) and "
                "sign (traffic sign); some of them leave id 0 out of losses and scores: the authors do not say"
            ),
        ),
    ),
    images="600 x 800 PNG, 8 bit; with segmentation maps of 15 classes in Label/",
    paper_split="the published one: TDFusion trains on the 1220 and tests on the 280",
    verified="from three public loaders that agree; the authors' README does not describe the archive",
)

M3FD = NamedDataset(
    name="M3FD",
    title="Multi-scenario Multi-Modality Fusion and Detection",
    task="ivif",
    homepage="https://github.com/JinyuanLiu-CV/TarDAL",
    licence=NONE_STATED,
    citation=(
        "Liu, Fan, Huang, Wu, Liu, Zhong, Luo: Target-aware dual adversarial learning and a multi-scenario "
        "multi-modality benchmark to fuse infrared and visible for object detection. CVPR 2022"
    ),
    layouts=(
        Layout(
            source="the authors' archives M3FD_Detection and M3FD_Fusion",
            parts=(
                Part(
                    split="detection",
                    sources=("M3FD_Detection/Ir/{name}", "M3FD_Detection/Vis/{name}"),
                    boxes="M3FD_Detection/Annotation/{name}",
                    pairs=4200,
                ),
                Part(split="fusion", sources=("M3FD_Fusion/Ir/{name}", "M3FD_Fusion/Vis/{name}"), pairs=300),
            ),
        ),
        Layout(
            source="the authors' README (archive sorted by scenario)",
            parts=tuple(
                Part(split="detection", sources=(f"{scenario}/*/Ir/{{name}}", f"{scenario}/*/Vis/{{name}}"), pairs=None)
                for scenario in ("Challenge", "Daytime", "Night", "Overcast")
            ),
        ),
        Layout(
            source="TarDAL's code (data/README)",
            parts=tuple(
                Part(
                    split=split,
                    sources=("ir/{name}", "vi/{name}"),
                    boxes="labels/{name}",
                    listed=f"meta/{split}.txt",
                    pairs=None,
                )
                for split in ("train", "val")
            ),
        ),
    ),
    labels=(
        PublishedLabels(
            kind="detection",
            classes=("People", "Car", "Bus", "Lamp", "Motorcycle", "Truck"),
            verified=(
                "the names as three public converters read them from the XML files; their order, which YOLO files "
                "need, from the authors' loader: others use other orders"
            ),
        ),
    ),
    images="768 x 1024 (mostly) PNG, 24 bit, infrared with three equal channels; boxes of 6 classes in Annotation/",
    paper_split=(
        "no train and test split is published; the splits here are the two archives. TDFusion splits the 4200 into "
        "3150 / 1050 by a list that was not found, and counts the 300 of M3FD_Fusion among the 1050, so train on "
        "detection and test on fusion only after removing the repeated scenes"
    ),
    verified="the archives' inner folders from three public descriptions that agree; the sorted form from the README",
)

LLVIP = NamedDataset(
    name="LLVIP",
    title="Low-Light Visible-Infrared Paired dataset",
    task="ivif",
    homepage="https://bupt-ai-cz.github.io/LLVIP/",
    licence=(
        "free for non-commercial purposes such as research and teaching, with a reference to LLVIP; no commercial use "
        "of the data or of derivative works (Term of Use and License in the authors' repository)"
    ),
    citation="Jia, Zhu, Li, Tang, Zhou: LLVIP: a visible-infrared paired dataset for low-light vision. ICCVW 2021",
    layouts=(
        Layout(
            source="the authors' archive",
            parts=(
                Part(
                    split="train",
                    sources=("infrared/train/{name}", "visible/train/{name}"),
                    boxes="Annotations/{name}",
                    pairs=12025,
                ),
                Part(
                    split="test",
                    sources=("infrared/test/{name}", "visible/test/{name}"),
                    boxes="Annotations/{name}",
                    pairs=3463,
                ),
            ),
        ),
    ),
    labels=(
        PublishedLabels(
            kind="detection",
            classes=("person",),
            verified="folder and form from the authors' converters, which take the corners for edges counted from 0",
        ),
    ),
    images="1024 x 1280 JPEG, 8 bit; the version of 30976 images; boxes of pedestrians in Annotations/",
    paper_split=(
        "TDFusion keeps every tenth image of both splits (1203 / 347) and announces the list; "
        "every tenth by name, from the first, gives these numbers"
    ),
    verified="folders from the authors' README; the numbers of pairs from TDFusion, their sum from the README",
)


def _mfnet(infrared: str, visible: str, masks: str) -> tuple[Part, ...]:
    return tuple(
        Part(
            split=split,
            sources=(f"{infrared}/{{name}}", f"{visible}/{{name}}"),
            masks=f"{masks}/{{name}}",
            listed=f"{split}.txt",
            skip="*_flip",
            pairs=pairs,
        )
        for split, pairs in (("train", 784), ("val", 392), ("test", 393))
    )


MFNET = NamedDataset(
    name="MFNet",
    title="Multi-spectral Semantic Segmentation Dataset",
    task="ivif",
    homepage="https://www.mi.t.u-tokyo.ac.jp/static/projects/mil_multispectral/",
    licence=NONE_STATED,
    citation=(
        "Ha, Watanabe, Karasawa, Ushiku, Harada: MFNet: towards real-time semantic segmentation for autonomous "
        "vehicles with multi-spectral scenes. IROS 2017"
    ),
    layouts=(
        Layout(
            source="the authors' archive, once unpacked (fusionkit data unpack)",
            parts=_mfnet("ir", "vi", "labels"),
            packed="images/{name}",
        ),
        Layout(source="a public copy with the channels separated", parts=_mfnet("Thermal", "RGB", "Label")),
    ),
    labels=(
        PublishedLabels(
            kind="segmentation",
            classes=_ROAD_CLASSES,
            verified="names and order from three public loaders that agree; labels/ from the authors' loader",
        ),
    ),
    images="480 x 640 PNG, 8 bit, four channels: visible RGB and infrared; 820 day and 749 night pairs",
    paper_split="neither paper uses it; the published lists train, val and test; flipped copies are passed over",
    verified=(
        "folders, lists and the four channels from the authors' loader, the number of images from their README; the "
        "sizes of the lists, half and two quarters by day and by night, are the paper's; many pairs are misaligned, as "
        "MSRS's authors say, who made their set from it"
    ),
)
