"""Checks of labels before training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fusionkit.contracts.label_types import IGNORE, Boxes, LabelSpec
from fusionkit.data.labels.label_files import read_boxes, read_mask
from fusionkit.data.pair_checks import header_size, report
from fusionkit.data.pair_set import Pair, PairSet
from fusionkit.errors import DataError
from fusionkit.io.digest import file_digest
from fusionkit.runtime.threads import in_threads

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["count_labels", "read_label", "verify_labels"]


def verify_labels(pairs: PairSet, *, digests: bool = True) -> None:
    """Read the label of every pair and report everything that is wrong in one error.

    Checked: a label exists and can be read; a mask has the size of its image and holds only ids of known classes (or
    :data:`fusionkit.contracts.IGNORE`); a box has a known class and an area, and lies in the image; the digest is
    right where it is known. :func:`fusionkit.data.verify` checks the images.

    Args:
        pairs: labelled pairs.
        digests: also hash each label whose digest is known.

    Raises:
        fusionkit.errors.DataError: something is wrong, or the pairs were found without labels; one line with the first
            ten by name, and the count.
    """
    spec = pairs.labels
    if spec is None:
        raise DataError(f"{pairs.origin}: the pairs were found without labels")
    faults = [str(problem) for problem in pairs.problems]
    for pair, fault in zip(pairs, in_threads(lambda pair: _fault(pair, spec, digests), pairs.pairs), strict=True):
        faults += [f"{pair.key}: {fault}"] if fault else []
    report(pairs, faults)


def read_label(pair: Pair, spec: LabelSpec, size: tuple[int, int]) -> Tensor | Boxes:
    """Read the label of one pair: a mask ``(H, W)`` int64, or boxes.

    Args:
        pair: a labelled pair.
        spec: kind and classes of the label.
        size: height and width of its images.

    Raises:
        fusionkit.errors.DataError: there is none, it cannot be read, or it does not fit.
    """
    if pair.label is None:
        none = "; an empty .txt says that there is nothing in the image" if spec.kind == "detection" else ""
        raise DataError(f"no label for {pair.files[0]}{none}")
    if spec.kind == "detection":
        return read_boxes(pair.label, size, spec.classes)
    mask = read_mask(pair.label)
    if tuple(mask.shape) != size:
        raise DataError(f"{pair.label}: the mask is {mask.shape[1]}x{mask.shape[0]}, the image {size[1]}x{size[0]}")
    present = mask.flatten().bincount().nonzero().flatten().tolist()
    unknown = [number for number in present if number >= len(spec.classes) and number != IGNORE]
    if unknown:
        listed = ", ".join(str(number) for number in unknown[:4]) + (", ..." if len(unknown) > 4 else "")
        known = f"known: 0 to {len(spec.classes) - 1}, and {IGNORE} for pixels that do not count"
        raise DataError(f"{pair.label}: unknown class id {listed} ({known})")
    return mask


def count_labels(pairs: PairSet) -> dict[str, int]:
    """Count the pixels of masks, or the boxes, of each class: class name -> count.

    Raises:
        fusionkit.errors.DataError: a label does not fit, or the pairs were found without labels.
    """
    import torch

    spec = pairs.labels
    if spec is None:
        raise DataError(f"{pairs.origin}: the pairs were found without labels")

    def ids(pair: Pair) -> Tensor:
        width, height = header_size(pair.files[0])
        label = read_label(pair, spec, (height, width))
        return (label.classes if isinstance(label, Boxes) else label.flatten()).bincount(minlength=IGNORE + 1)

    total = torch.stack(in_threads(ids, pairs.pairs)).sum(0).tolist()
    return dict(zip(spec.classes, total[: len(spec.classes)], strict=True))


def _fault(pair: Pair, spec: LabelSpec, digests: bool) -> str:
    try:
        width, height = header_size(pair.files[0])
        read_label(pair, spec, (height, width))
        if digests and pair.label is not None and pair.label_sha256 and file_digest(pair.label) != pair.label_sha256:
            return f"{pair.label} is not the file that the manifest lists: its sha256 differs"
    except DataError as error:
        return str(error)
    return ""
