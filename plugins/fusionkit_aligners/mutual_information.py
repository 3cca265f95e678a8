"""Rigid alignment by mutual information, for modalities that share no edges, such as PET and SPECT with MRI."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from fusionkit.contracts import Aligner, Alignment, Matrix, Plane, TransformKind
from fusionkit.errors import UsageError
from fusionkit.fuse.transforms import corner_distance, resample

__all__ = ["MutualInformationAligner"]

_BINS = 32
_TURNS = (-0.09, 0.0, 0.09)  # radians
_KEPT = 3
# Information in nats, and disagreement of the parts as a share of the size, at which confidence is 0 and 1.
_INFORMATION = (0.2, 0.5)
_DISAGREEMENT = (0.011, 0.003)
# Distance to another maximum as high, and to the transform found the other way round, likewise.
_AMBIGUITY = (0.04, 0.01)
_RIVAL = 0.98
_CELLS = (4, 5, 6)


class MutualInformationAligner(Aligner):
    """Maximises Mattes' mutual information over rotation and shift, from several starts, with SimpleITK.

    The scale is that of the start. The moved image is continued by its border, so that all pixels of the reference
    count everywhere: where the overlap may shrink, information per pixel rises at wrong places. Half of the pixels, in
    squares of six chess boards, are aligned again by themselves; the transform is the median of all, and how far these
    lie apart says how sure it is, together with the search the other way round, with reference and image exchanged, and
    with other maxima as high. One pair per call: of several the one with the most information in it decides.
    """

    kinds = ("rigid",)
    reference = "D. Mattes et al., PET-CT image registration in the chest using free-form deformations, TMI 2003"
    smallest = 48

    def align(self, moved: Sequence[Plane], fixed: Sequence[Plane], kind: TransformKind, *, start: Matrix) -> Alignment:
        """Find the transform; see :meth:`fusionkit.contracts.Aligner.align`.

        Raises:
            fusionkit.errors.UsageError: SimpleITK is not installed.
        """
        sitk = _simpleitk()
        shape = (fixed[0].shape[0], fixed[0].shape[1])
        best = Alignment(start, 0.0)
        for image, reference in zip(moved, fixed, strict=True):
            plane = resample(image.astype(np.float32), start, shape)[0]
            if not (np.ptp(plane) > 0 and np.ptp(reference) > 0):
                continue
            matrix, sure = _align_pair(sitk, plane, reference.astype(np.float32))
            if sure > best.confidence:
                best = Alignment(start @ matrix, sure)
        return best


def _simpleitk() -> ModuleType:
    try:
        import SimpleITK
    except ImportError:
        raise UsageError(
            "alignment by mutual information needs SimpleITK: pip install 'image-fusionkit[registration]'"
        ) from None
    # One alignment per thread of the caller; ITK's own threads would also change the last bits of the result.
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    return SimpleITK


def _align_pair(sitk: ModuleType, plane: Plane, reference: Plane) -> tuple[Matrix, float]:
    """Rigid transform of one pair at equal scale, and its confidence."""
    shape = (reference.shape[0], reference.shape[1])
    still, continued = sitk.GetImageFromArray(reference), _continued(sitk, plane)
    found = _search(sitk, still, continued, _centroid(plane) - _centroid(reference))
    back = _search(
        sitk, sitk.GetImageFromArray(plane), _continued(sitk, reference), _centroid(reference) - _centroid(plane)
    )
    if not found or not back:
        return np.eye(3), 0.0
    best, information = found[0]
    parts = [
        part[0]
        for mask in _halves(shape)
        if (part := _climb(sitk, still, continued, best, levels=((2, 1.0),), step=1.0, mask=mask))
    ]
    middle = _matrix(np.median([best, *parts], axis=0), shape)
    apart = [corner_distance(middle, _matrix(np.asarray(part), shape), shape) for part in parts]
    rivals = [other for other, much in found[1:] if much > _RIVAL * information]
    turned_back = corner_distance(
        middle, np.asarray(np.linalg.inv(_matrix(np.asarray(back[0][0]), shape)), np.float64), shape
    )
    rival = max((corner_distance(middle, _matrix(np.asarray(other), shape), shape) for other in rivals), default=0.0)
    size = np.sqrt(shape[0] * shape[1])
    sure = min(
        _share(information, *_INFORMATION),
        _share(float(np.median(apart)) / size, *_DISAGREEMENT) if apart else 0.0,
        _share(max(turned_back, rival) / size, *_AMBIGUITY),
    )
    return middle, sure


def _continued(sitk: ModuleType, plane: Plane) -> Any:
    """Image that is continued by its border on all sides, with the origin where it was."""
    margin = max(plane.shape) * 3 // 8
    image = sitk.GetImageFromArray(np.pad(plane, margin, mode="edge"))
    image.SetOrigin((-float(margin), -float(margin)))
    return image


def _search(
    sitk: ModuleType, still: Any, continued: Any, between_centroids: np.ndarray
) -> list[tuple[tuple[float, ...], float]]:
    """Find the maxima of the information from several starts, the highest first."""
    coarse = [
        found
        for turn in _TURNS
        for shift in ((0.0, 0.0), between_centroids)
        if (found := _climb(sitk, still, continued, (turn, *shift), levels=((8, 4.0), (4, 2.0)), step=4.0))
    ]
    coarse.sort(key=lambda found: -found[1])
    fine = [
        found
        for begin, _ in coarse[:_KEPT]
        if (found := _climb(sitk, still, continued, begin, levels=((2, 2.0), (1, 1.0)), step=2.0))
    ]
    return sorted(fine, key=lambda found: -found[1])


def _share(value: float, none: float, whole: float) -> float:
    return float(np.clip((value - none) / (whole - none), 0, 1))


def _centroid(plane: Plane) -> np.ndarray:
    y, x = np.mgrid[: plane.shape[0], : plane.shape[1]]
    weight = plane - plane.min()
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


def _halves(shape: tuple[int, int]) -> Iterator[np.ndarray]:
    """Masks of the two colours of chess boards."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    for cells in _CELLS:
        colour = (y * cells // shape[0] + x * cells // shape[1]) % 2
        yield (colour == 0).astype(np.uint8)
        yield (colour == 1).astype(np.uint8)


def _climb(
    sitk: ModuleType,
    still: Any,
    continued: Any,
    begin: Sequence[float],
    *,
    levels: Sequence[tuple[int, float]],
    step: float,
    mask: np.ndarray | None = None,
) -> tuple[tuple[float, ...], float] | None:
    """Climb to the nearest maximum of the information; return None where ITK finds no overlap."""
    width, height = still.GetSize()
    transform = sitk.Euler2DTransform()
    transform.SetCenter(((width - 1) / 2, (height - 1) / 2))
    transform.SetParameters(tuple(float(value) for value in begin))
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(_BINS)
    method.SetMetricSamplingStrategy(method.NONE)
    method.SetInterpolator(sitk.sitkLinear)
    if mask is not None:
        method.SetMetricFixedMask(sitk.GetImageFromArray(mask))
    method.SetOptimizerAsRegularStepGradientDescent(step, 0.02, 60, relaxationFactor=0.7)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([shrink for shrink, _ in levels])
    method.SetSmoothingSigmasPerLevel([sigma for _, sigma in levels])
    method.SetInitialTransform(transform, inPlace=True)
    try:
        method.Execute(still, continued)
    except RuntimeError:
        return None
    return tuple(transform.GetParameters()), -float(method.GetMetricValue())


def _matrix(pose: np.ndarray, shape: tuple[int, int]) -> Matrix:
    turn, x, y = pose
    centre = np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])
    result = np.eye(3)
    result[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    result[:2, 2] = np.array([x, y]) + centre - result[:2, :2] @ centre
    return result
