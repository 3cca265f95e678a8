"""Fusing of videos and volumes, as ``fusionkit fuse`` does it where the sources are such."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from fusionkit.cli.notes import answer, say

if TYPE_CHECKING:
    from fusionkit.fuse.model import Model
    from fusionkit.fuse.video import VideoPlan
    from fusionkit.fuse.volume import VolumePlan

__all__ = ["fuse_clip", "fuse_volume"]


def fuse_clip(plan: VideoPlan, load_model: Callable[[], Model]) -> None:
    """Fuse videos, print the result, and say how many frames per second were fused.

    Raises:
        fusionkit.errors.FusionkitError: see :func:`fusionkit.fuse.video.fuse_videos`.
        KeyboardInterrupt: the run was stopped; what was fused until then is kept.
    """
    from fusionkit.cli.progress import jobs_progress
    from fusionkit.fuse.video import fuse_videos

    model = load_model()
    began = time.monotonic()
    try:
        with jobs_progress() as report:
            frames, length = fuse_videos(model, plan, report=report)
    except KeyboardInterrupt:
        if plan.target.exists():
            say(f"note: stopped; {plan.target} plays to where it came")
        raise
    speed = frames / max(time.monotonic() - began, 1e-9)
    say(f"note: {frames} frames ({length:.2f} s) at {speed:.1f} frames per second")
    answer(plan.target)


def fuse_volume(plan: VolumePlan, model: Model) -> None:
    """Fuse volumes and print the result.

    Raises:
        fusionkit.errors.FusionkitError: see :func:`fusionkit.fuse.volume.fuse_volumes`.
    """
    from fusionkit.cli.progress import jobs_progress
    from fusionkit.fuse.volume import fuse_volumes

    with jobs_progress() as report:
        count = fuse_volumes(model, plan, report=report)
    say(f"note: {count} {plan.plane} slices")
    answer(plan.target)
