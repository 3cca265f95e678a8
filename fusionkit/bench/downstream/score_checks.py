"""Scores of detectors computed again from the predicted boxes of a record and the labels on the disk."""

from __future__ import annotations

import math
from pathlib import Path

from fusionkit.bench.downstream.downstream_records import DownstreamRecord, PredictedBox, Prediction
from fusionkit.contracts.label_types import Boxes
from fusionkit.errors import FusionkitError
from fusionkit.io.digest import file_digest

__all__ = ["as_boxes", "box_faults"]

_TOLERANCE = 1e-5
"""Scores are computed in float32, in parts."""


def as_boxes(written: tuple[PredictedBox, ...]) -> Boxes:
    """Return the boxes of a prediction as a network predicts them."""
    import torch

    return Boxes(
        corners=torch.tensor([box.corners for box in written], dtype=torch.float64).reshape(-1, 4),
        classes=torch.tensor([box.label for box in written], dtype=torch.int64),
        scores=torch.tensor([box.score for box in written], dtype=torch.float64),
    )


def box_faults(out: Path, record: DownstreamRecord) -> tuple[str, ...]:
    """List how scores contradict the predicted boxes, a few words each.

    Nothing is found where it cannot be known: a label or a fused image is no longer the recorded one, or torchmetrics
    is not installed.

    Args:
        out: the bench's folder.
        record: of either kind; confusion matrices are checked by
            :meth:`fusionkit.bench.downstream.downstream_records.DownstreamRecord.contradictions`.
    """
    if record.kind != "detection" or not record.images:
        return ()
    try:
        from fusionkit.bench.downstream.label_scores import detection_scores, require_torchmetrics

        require_torchmetrics()
        known = [_known(out, record, image) for image in record.images]
    except FusionkitError:
        return ()
    if None in known:
        return ()
    predicted = [as_boxes(image.boxes or ()) for image in record.images]
    overall, per_class = detection_scores(predicted, [boxes for boxes in known if boxes is not None], record.classes)
    told = [(record.scores, overall), *((record.per_class[name], per_class[name]) for name in record.classes)]
    if all(_equal(own.get(key), value) for own, own_known in told for key, value in own_known.items()):
        return ()
    return ("its scores do not follow from its boxes and the labels",)


def _known(out: Path, record: DownstreamRecord, image: Prediction) -> Boxes | None:
    """Return the label's boxes in the size that the network saw; None if the files are not the recorded ones."""
    from fusionkit.data.labels.label_files import read_boxes
    from fusionkit.data.labels.label_transforms import scale_boxes
    from fusionkit.data.pair_checks import header_size

    label, fused = out / image.label, out / image.fused
    if not (_is(label, image.label_sha256) and _is(fused, image.fused_sha256)):
        return None
    width, height = header_size(fused)
    rows, columns = record.protocol["size"]
    return scale_boxes(read_boxes(label, (height, width), record.classes), (height, width), (rows, columns))


def _is(file: Path, digest: str) -> bool:
    return file.is_file() and file_digest(file) == digest


def _equal(one: float | None, other: float | None) -> bool:
    return one is other is None or (
        one is not None and other is not None and math.isclose(one, other, abs_tol=_TOLERANCE)
    )
