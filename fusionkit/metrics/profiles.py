"""Profiles: for every metric the convention that its value is computed under, as data.

One name means several numbers in this field, so a value is given with its profile. ``standard`` is every metric's
own defaults: as its paper defines it, bug-free, defined on every image. The others stand for published code, bugs
included. A published profile lists the metrics that its code has: name -> the fields of the metric's class that differ
from the defaults.

Where published code divides 0 by 0 the profile gives NaN as that code does; where it stops with an error (constant
images, in Zheng Liu's toolbox and MEFB) the profile gives the standard's value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import e, nan
from types import MappingProxyType
from typing import Any

from fusionkit.errors import UsageError, did_you_mean
from fusionkit.metrics.windows import Window

__all__ = ["PROFILES", "Profile", "find_profile", "profiles"]

Settings = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A named set of conventions.

    Attributes:
        name: what results are labelled with.
        title: what it stands for.
        source: the code or paper it follows.
        settings: metric -> fields that differ from the defaults; None for "every metric, with its defaults".
    """

    name: str
    title: str
    source: str
    settings: Mapping[str, Settings] | None


_UNIFORM = {"window": Window(7), "sample": True}

# scikit-image 0.19 takes a data range of 2 for float images, whatever their values, and computes in float32 here.
_RANGE_OF_TWO = {**_UNIFORM, "data_range": 2.0, "rounding": "float32"}
_CDDFUSE: Mapping[str, Settings] = {
    "EN": {},
    "SD": {},
    "SF": {},
    "AG": {},
    "MI": {"base": e},
    "MSE": {},
    "PSNR": {"peak": "fused"},
    "CC": {"undefined": nan},
    "SCD": {"undefined": nan},
    "VIFp": {"reduction": "sum", "flat": "one"},
    "Qabf": {"undefined": nan},
    "SSIM": {**_RANGE_OF_TWO, "reduction": "sum"},
}

_ZHENG_LIU: Mapping[str, Settings] = {"QCB": {"undefined": nan}, "QNCIE": {}}

_PROFILES = (
    Profile(
        name="standard",
        title="every metric as its own paper defines it, defined on every image; SSIM and VIFp are means over sources",
        source="the papers that each metric names",
        settings=None,
    ),
    Profile(
        name="refusion",
        title="the tables of ReFusion (IJCV 2025): CDDFuse's code with SSIM averaged, QCB and QNCIE of Zheng Liu",
        source="Bai et al., ReFusion, IJCV 2025; inferred from its tables",
        settings={**_CDDFUSE, "SSIM": _RANGE_OF_TWO, **_ZHENG_LIU},
    ),
    Profile(
        name="tdfusion",
        title="the tables of TDFusion (CVPR 2025): CDDFuse's code with VIFp averaged and SSIM averaged, on 8 bits",
        source="Bai et al., TDFusion, CVPR 2025, and its public evaluation code",
        settings={**_CDDFUSE, "VIFp": {"flat": "one"}, "SSIM": _UNIFORM},
    ),
    Profile(
        name="cddfuse",
        title="the tables of CDDFuse (CVPR 2023) and much that follows it: sums over the sources, nats",
        source="github.com/Zhaozixiang1228/MMIF-CDDFuse, utils/Evaluator.py, with scikit-image 0.19",
        settings=_CDDFUSE,
    ),
    Profile(
        name="tang",
        title="Linfeng Tang's MATLAB evaluation",
        source="github.com/Linfeng-Tang/Evaluation-for-Image-Fusion",
        settings={
            "EN": {},
            "SD": {},
            "SF": {},
            "AG": {"per": "inner"},
            "MI": {"saturated": True},
            "MSE": {"peak": 1.0},
            "PSNR": {"error": "unit_mse"},
            "CC": {"undefined": nan},
            "SCD": {"undefined": nan},
            "VIFp": {"reduction": "sum", "flat": "nan"},
            "Qabf": {"undefined": nan},
            "Nabf": {},
            "SSIM": {"padding": "replicate", "data_range": 1.0},
            "MEF-SSIM": {},
            "FMI-dct": {},
            "FMI-wavelet": {},
        },
    ),
    Profile(
        name="vifb",
        title="the infrared-visible benchmark VIFB (CVPRW 2020), on grey images",
        source="github.com/xingchenzhang/VIFB, metrics/",
        settings={
            "AG": {"per": "inner"},
            "CE": {},
            "EI": {},
            "EN": {},
            "MI": {"base": e},
            "PSNR": {"error": "root_sse"},
            "Qabf": {"undefined": nan},
            "QCB": {"undefined": nan, "unit_range": False},
            "QCV": {"undefined": nan},
            "RMSE": {"per_size": True},
            "SF": {"per": "pixel"},
            "SSIM": {"reduction": "sum"},
            "SD": {},
        },
    ),
    Profile(
        name="mefb",
        title="the multi-exposure benchmark MEFB (Inf. Fusion 2021), on grey images; its TE is QTE, its VIF is VIFF",
        source="github.com/xingchenzhang/MEFB, metrics/, much of it Zheng Liu's toolbox",
        settings={
            "AG": {"per": "inner"},
            "CE": {},
            "EI": {},
            "EN": {},
            "NMI": {},
            "PSNR": {"error": "root_sse"},
            "QNCIE": {},
            "QTE": {"form": "cvejic", "q": 1.85, "transposed": True},
            "Qabf": {"undefined": nan},
            "QP": {"finite": False},
            "SD": {},
            "SF": {"per": "pixel"},
            "QC": {"rounding": "toolbox", "drop_undefined": True},
            "QW": {"images": "edges"},
            "QY": {"rounding": "toolbox", "drop_undefined": True},
            # Over three scales: its metricsMEF_SSIM.m calls mef_ms_ssim.m, not the mef_ssim.m beside it.
            "MEF-SSIM": {},
            "QCB": {"undefined": nan},
            "QCV": {"undefined": nan},
            "VIFF": {},
        },
    ),
    Profile(
        name="ivif_zoo",
        title="the Python evaluation of the IVIF survey's code zoo (TPAMI 2025), which computes in float32",
        source="github.com/RollingPlain/IVIF_ZOO, Metric/",
        settings={
            "EN": {"offset": 1e-7},
            "SD": {},
            "SF": {},
            "AG": {},
            "EI": {"padding": "zeros"},
            "CE": {"of": "sigmoids"},
            "MI": {},
            "NMI": {"by": "sources"},
            "MSE": {"peak": 1.0},
            "PSNR": {"error": "unit_mse"},
            "CC": {"undefined": nan},
            "SCD": {"undefined": nan},
            "QNCIE": {"by": "pearson", "undefined": nan},
            "QTE": {"form": "entropies"},
            "VIFp": {"reduction": "sum", "flat": "nan", "grid": "skewed"},
            "Qabf": {"undefined": nan},
            "Nabf": {"least_weight": 0.0, "undefined": nan},
            # It multiplies images of 0..255 by 255 and leaves L at 255, which is L = 1 on the images themselves.
            "SSIM": {"data_range": 1.0, "reduction": "sum"},
            "MS-SSIM": {"data_range": 1.0, "reduction": "sum"},
        },
    ),
)

PROFILES: Mapping[str, Profile] = MappingProxyType({profile.name: profile for profile in _PROFILES})


def profiles() -> tuple[str, ...]:
    """The names of all profiles, ``standard`` first."""
    return tuple(PROFILES)


def find_profile(name: str) -> Profile:
    """The profile of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in PROFILES:
        raise UsageError(f"unknown metric profile {name!r}: {did_you_mean(name, PROFILES)}")
    return PROFILES[name]
