"""Fusion-quality metrics: pure functions of tensors, thin classes over them, and the profiles that fix conventions.

    from fusionkit.metrics import score_files
    print(score_files("fused.png", "infrared.png", "visible.png", profile="refusion"))

How to write a metric: :mod:`fusionkit.metrics.scene`.
"""

from __future__ import annotations

from fusionkit.metrics.image_files import read_luminance, score_files
from fusionkit.metrics.naming import build, conventions, resolve
from fusionkit.metrics.profiles import PROFILES, Profile, profiles
from fusionkit.metrics.scene import Once, Scene, SceneMetric, direct
from fusionkit.metrics.scoring import Scores, evaluate, score

__all__ = [
    "PROFILES",
    "Once",
    "Profile",
    "Scene",
    "SceneMetric",
    "Scores",
    "build",
    "conventions",
    "direct",
    "evaluate",
    "profiles",
    "read_luminance",
    "resolve",
    "score",
    "score_files",
]
