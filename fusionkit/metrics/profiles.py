"""Profiles: for every metric the convention that its value is computed under, as data.

One name means several numbers in this field, so a value is given with its profile. ``standard`` is every metric's
own defaults: as its paper defines it, bug-free, defined on every image. The others stand for published code, bugs
included. A published profile lists the metrics that its code has: name -> the fields of the metric's class that differ
from the defaults. The built-in profiles here are entry points in ``fusionkit.profiles``, as those of plugins are.

Where published code divides 0 by 0 the profile gives NaN as that code does; where it stops with an error (constant
images, in Zheng Liu's toolbox and MEFB) the profile gives the standard's value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import e, nan

from fusionkit.metrics.windows import Window
from fusionkit.plugins import catalogue
from fusionkit.plugins.declarations import Profile, Settings

__all__ = [
    "CDDFUSE",
    "IVIF_ZOO",
    "MEFB",
    "PROFILES",
    "STANDARD",
    "TANG",
    "VIFB",
    "Profile",
    "Settings",
    "find_profile",
    "profiles",
]

STANDARD = Profile(
    name="standard",
    title="every metric as its own paper defines it, defined on every image; SSIM and VIFp are means over sources",
    source="the papers that each metric names",
    settings=None,
)

CDDFUSE = Profile(
    name="cddfuse",
    title="the tables of CDDFuse (CVPR 2023) and much that follows it: sums over the sources, nats",
    source="github.com/Zhaozixiang1228/MMIF-CDDFuse, utils/Evaluator.py, with scikit-image 0.19",
    settings={
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
        # scikit-image 0.19 takes a data range of 2 for float images, whatever their values, and computes in float32.
        "SSIM": {
            "window": Window(7),
            "sample": True,
            "data_range": 2.0,
            "rounding": "float32",
            "reduction": "sum",
        },
    },
)

TANG = Profile(
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
)

VIFB = Profile(
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
)

MEFB = Profile(
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
)

IVIF_ZOO = Profile(
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
)


class _Profiles(Mapping[str, Profile]):
    """The registered profiles by name, ``standard`` first; one that cannot be used is left out when they are listed."""

    def __getitem__(self, name: str) -> Profile:
        if name not in catalogue.profiles.names():
            raise KeyError(name)
        return catalogue.profiles.get(name)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(catalogue.profiles.usable(), key=lambda name: (name != STANDARD.name, name)))

    def __len__(self) -> int:
        return len(catalogue.profiles.usable())


PROFILES: Mapping[str, Profile] = _Profiles()
"""Profile name -> profile, of every installed plugin; plugins are loaded on first use."""


def profiles() -> tuple[str, ...]:
    """The names of all profiles, ``standard`` first."""
    return tuple(PROFILES)


def find_profile(name: str) -> Profile:
    """Find a profile by its name.

    Raises:
        fusionkit.errors.UsageError: there is none.
        fusionkit.errors.PluginError: the plugin that brings it cannot be used.
    """
    return catalogue.profiles.get(name)
