"""Note of a shift between sources that are fused without an alignment."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from fusionkit.contracts import CONFIDENT
from fusionkit.errors import FusionkitError, FusionNote
from fusionkit.fuse.aligning import default_aligner, find_alignment, grey, offset
from fusionkit.io.images import Image
from fusionkit.plugins import catalogue

__all__ = ["SCENES", "note_offset"]

SCENES = 3
"""Most scenes of a folder or clip that are looked at; their common shift is found."""

_FROM = 3.0  # pixels


def note_offset(scenes: Sequence[Sequence[Image]], *, task: str = "") -> None:
    """Look for a shift between the first and the last source, and say so.

    Only shifts are looked for, with the default aligner of the task, in some tenths of a second. Nothing is said where
    it is not confident, sizes differ, or images are too small.

    Args:
        scenes: some scenes of one rig, each with its images.
        task: name of the fusion task.

    Warns:
        FusionNote: the shift is 3 pixels or more.
    """
    alike = [images for images in scenes if {image.size for image in images} == {scenes[0][0].size}][:SCENES]
    if not alike:
        return
    try:
        aligner = catalogue.aligners.get(default_aligner(task))
        if "translation" not in aligner.kinds:
            return
        pairs = [(grey(images[0]), grey(images[-1])) for images in alike]
        found = find_alignment(aligner, [one for one, _ in pairs], [other for _, other in pairs], "translation")
    except FusionkitError:
        # Fusing does not need it; an image that cannot be aligned can be fused.
        return
    first, last = alike[0][0], alike[0][-1]
    distance, (x, y) = offset(found, first, last)
    if found.confidence >= CONFIDENT and distance >= _FROM:
        warnings.warn(
            f"{first.name} seems to be shifted against {last.name} by about ({x:.0f}, {y:.0f}) pixels: --align auto "
            "aligns them, --align none leaves them without this note",
            FusionNote,
            stacklevel=3,
        )
