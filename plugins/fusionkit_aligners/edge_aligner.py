"""Alignment by edges: images of one modality or of two, one pair or all pairs of one rig."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fusionkit.contracts import Aligner, Alignment, Matrix, Plane, TransformKind
from fusionkit.fuse.transforms import resample
from fusionkit_aligners.coarse_search import ROTATIONS, SCALES, coarse_search
from fusionkit_aligners.refinement import refine

__all__ = ["EdgeAligner"]


class EdgeAligner(Aligner):
    """Compares edges, by gradients that do not change where bright and dark are exchanged.

    So infrared and visible, or two exposures, can be aligned. First rotations, scales and shifts are searched at low
    resolution; then one model is fitted to the correlation surfaces of all windows together. The confidence is the
    share of windows that agree with the model, times how far the best candidate is ahead of the second.
    """

    kinds = ("affine", "translation", "rigid", "homography")
    reference = "none: doubled-angle gradients, FFT correlation and expectation-maximisation over window surfaces"
    default_for = None
    smallest = 48

    def align(self, moved: Sequence[Plane], fixed: Sequence[Plane], kind: TransformKind, *, start: Matrix) -> Alignment:
        """Find the transform; see :meth:`fusionkit.contracts.Aligner.align`."""
        shape = (fixed[0].shape[0], fixed[0].shape[1])
        planes = [resample(m.astype(np.float32), start, shape)[0].clip(0, 1) for m in moved]
        references = [f.astype(np.float32) for f in fixed]
        free = kind in ("affine", "homography")
        found = coarse_search(
            planes,
            references,
            rotations=(0.0,) if kind == "translation" else ROTATIONS,
            scales=SCALES if free else (1.0,),
        )
        best_score = found[0][1]
        tried = [
            refine(planes, references, matrix, kind)
            for matrix, score in found
            if score >= best_score - 0.15 * abs(best_score)
        ]
        best = max(tried, key=lambda refined: refined.agreement * refined.score)
        ratio = found[1][1] / best_score if len(found) > 1 and best_score > 0 else 0.0
        sure = np.clip((best.agreement - 0.1) / 0.5, 0, 1) * np.clip((1 - ratio) / 0.1, 0, 1)
        matrix = start @ best.matrix
        return Alignment(matrix / matrix[2, 2], float(sure) if best_score > 0 else 0.0)
