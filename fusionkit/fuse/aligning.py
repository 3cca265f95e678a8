"""Aligns the sources of scenes with one of them before they are fused, or by a transform that is given."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from fusionkit.contracts import CONFIDENT, Aligner, Alignment, Plane, TransformKind
from fusionkit.errors import DataError, UsageError, did_you_mean
from fusionkit.fuse.georeference import place_alignment
from fusionkit.fuse.transforms import corner_distance, resample, scaling, shift_of, starting_scale
from fusionkit.io.atomic import write_text
from fusionkit.io.images import Image
from fusionkit.io.regular_files import read_json
from fusionkit.plugins import catalogue
from fusionkit.plugins.guard import plugin_call
from fusionkit.runtime.threads import in_threads

__all__ = [
    "ALIGN_CHOICES",
    "PLACE",
    "RESIZE",
    "Aligning",
    "default_aligner",
    "find_alignment",
    "grey",
    "offset",
    "read_transforms",
    "write_transforms",
]

ALIGN_CHOICES = ("none", "auto", *get_args(TransformKind))
"""Values of ``--align``; ``auto`` is the usual kind of the aligner."""

PLACE = "place"
"""Kind of :class:`Aligning` that brings GeoTIFF sources onto the grid of the reference by where they lie."""

RESIZE = "resize"
"""Kind of :class:`Aligning` that brings sources to the size of the reference and searches nothing."""

_SAME_SHAPE = 0.02
"""Largest relative difference of the aspect ratios of images that are resized to one size."""

_RIG = 20
"""Most scenes that a common transform is found over."""


def grey(image: Image) -> Plane:
    """Mean of the channels, ``(H, W)`` in [0, 1]."""
    plane: Plane = image.tensor()[0].mean(0).numpy()
    return plane


def default_aligner(task: str = "") -> str:
    """Name the aligner of a task: one that says so, built-in ones first; else one that is for every task.

    Raises:
        fusionkit.errors.UsageError: no aligner is installed that is for every task.
    """
    usable = sorted(catalogue.aligners.usable().items(), key=lambda one: not catalogue.aligners.entry(one[0]).built_in)
    for name, kind in usable:
        if kind.default_for is not None and task and task in kind.default_for:
            return name
    for name, kind in usable:
        if kind.default_for is None:
            return name
    raise UsageError("no aligner is a default: name one with --aligner")


def find_alignment(
    aligner: type[Aligner],
    moved: Sequence[Plane],
    fixed: Sequence[Plane],
    kind: TransformKind | None = None,
    *,
    scale: float | None = None,
) -> Alignment:
    """Find one transform that brings images onto their references.

    Args:
        aligner: the class that finds it.
        moved: one grey image ``(H, W)`` in [0, 1] per pair, all of one size.
        fixed: the reference of each, all of one size. Sizes of moved images and references may differ.
        kind: kind of transform; the usual one of the aligner where None.
        scale: pixels of the moved image per pixel of the reference, where it is known.

    Raises:
        fusionkit.errors.UsageError: no pairs, images of several sizes, or a kind that the aligner does not find.
        fusionkit.errors.DataError: images are too small.
        fusionkit.errors.PluginError: the aligner fails, or returns no transform.
    """
    if not moved or len(moved) != len(fixed):
        raise UsageError(f"align: one reference per image is needed, got {len(moved)} images and {len(fixed)}")
    chosen = kind or aligner.kinds[0]
    if chosen not in aligner.kinds:
        raise UsageError(f"align {chosen}: {aligner.__name__} finds {', '.join(aligner.kinds)}")
    for images in (moved, fixed):
        if len({image.shape for image in images}) > 1:
            listed = ", ".join(sorted({f"{image.shape[1]}x{image.shape[0]}" for image in images}))
            raise UsageError(f"align: images of one rig have one size, got {listed}")
        height, width = images[0].shape
        if min(height, width) < aligner.smallest:
            raise DataError(f"images of {aligner.smallest} pixels at least are needed, got {width}x{height}")
    start = starting_scale(_size(moved[0]), _size(fixed[0]), scale)
    with plugin_call(aligner, "align"):
        found = aligner().align(moved, fixed, chosen, start=start)
        matrix = np.asarray(found.matrix, float)
        if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or not 0 <= found.confidence <= 1:
            raise ValueError(f"it returns a matrix {matrix.shape} with confidence {found.confidence}")
    return Alignment(matrix / matrix[2, 2], float(found.confidence))


def offset(alignment: Alignment, moved: Image, fixed: Image) -> tuple[float, tuple[float, float]]:
    """Measure how far an alignment moves an image, beyond bringing it to the size of the reference.

    Returns:
        Mean distance of the corners, and shift (x, y) of the centre, both in pixels of the reference.
    """
    shape = _size(fixed.pixels)
    start = starting_scale(_size(moved.pixels), shape, _scale(moved, fixed))
    beyond = np.linalg.inv(start) @ alignment.matrix
    return corner_distance(beyond, np.eye(3), shape), shift_of(beyond, shape)


def _size(pixels: np.ndarray) -> tuple[int, int]:
    return pixels.shape[0], pixels.shape[1]


def _scale(moved: Image, fixed: Image) -> float | None:
    """Pixels of an image per pixel of its reference, where both files state the size of a pixel."""
    return fixed.spacing / moved.spacing if fixed.spacing and moved.spacing else None


@dataclass(frozen=True)
class Aligning:
    """Rules to bring sources onto the grid of their reference.

    Attributes:
        kind: one of :data:`ALIGN_CHOICES` but ``"none"``, :data:`RESIZE` or :data:`PLACE`.
        reference: place of the source that stays, counted from 0.
        scope: ``"pair"``, a transform per scene; ``"folder"``, one for all scenes of a rig.
        given: transforms that are used instead of finding some, one per source; None for the reference.
        common: the alignments found over a folder, one per source.
        aligner: registered name of the aligner; the default one where "".
    """

    kind: str = "auto"
    reference: int = 1
    scope: Literal["pair", "folder"] = "pair"
    given: tuple[np.ndarray | None, ...] = ()
    common: tuple[Alignment | None, ...] = field(default=())
    aligner: str = ""

    def __post_init__(self) -> None:
        if self._is_stated:
            return
        if self.kind not in ALIGN_CHOICES[1:]:
            raise UsageError(f"align {self.kind}: {did_you_mean(self.kind, ALIGN_CHOICES)}")
        if self.kind != "auto" and self.kind not in self._class().kinds:
            raise UsageError(f"--align {self.kind}: {self.name} finds {', '.join(self._class().kinds)}")

    @property
    def _is_stated(self) -> bool:
        """True if files state the transforms, and nothing is searched."""
        return self.kind in (RESIZE, PLACE)

    @property
    def name(self) -> str:
        """Registered name of the aligner."""
        return self.aligner or default_aligner()

    def _class(self) -> type[Aligner]:
        return catalogue.aligners.get(self.name)

    def find(self, images: Sequence[Image]) -> tuple[Alignment | None, ...]:
        """Find the transform of each source of a scene; None for the reference.

        Raises:
            fusionkit.errors.DataError: an alignment is not confident, or an image is too small.
        """
        fixed = self._reference(images)
        if self.given:
            return self._as_given(images, fixed)
        if self.kind == RESIZE:
            return tuple(None if image is fixed else _resizing(image, fixed) for image in images)
        if self.kind == PLACE:
            return tuple(None if image is fixed else place_alignment(image, fixed) for image in images)
        if self.common:
            return self.common
        return tuple(None if image is fixed else self._align([image], [fixed]) for image in images)

    def over(self, scenes: Sequence[Any], read: Callable[[Any], Sequence[Image]]) -> Aligning:
        """Find one transform per source over the scenes of a rig.

        Scenes that cannot be read, or are of another size than the first, are passed over.

        Args:
            scenes: the scenes; of many, twenty at equal distances are taken.
            read: gives the images of a scene.

        Raises:
            fusionkit.errors.DataError: an alignment is not confident, or no scene can be read.
        """
        if self.scope == "pair" or self.given or self._is_stated or not scenes:
            return self
        step = math.ceil(len(scenes) / _RIG)

        def try_read(scene: Any) -> Sequence[Image] | None:
            try:
                return read(scene)
            except DataError:
                return None

        found = [images for images in in_threads(try_read, scenes[::step]) if images is not None]
        if not found:
            raise DataError("no scene of the folders can be read, to align them by")
        shapes = [image.pixels.shape[:2] for image in found[0]]
        alike = [images for images in found if [image.pixels.shape[:2] for image in images] == shapes]
        fixed = [self._reference(images) for images in alike]
        common = tuple(
            None if images is fixed[0] else self._align([images_[place] for images_ in alike], fixed)
            for place, images in enumerate(alike[0])
        )
        return replace(self, common=common)

    def apply(self, images: Sequence[Image], found: Sequence[Alignment | None]) -> list[Image]:
        """Resample each source once onto the grid of the reference; it is continued by its border where it ends."""
        shape = self._reference(images).pixels.shape[:2]
        moved = []
        for image, alignment in zip(images, found, strict=True):
            if alignment is None:
                moved.append(image)
                continue
            values = image.tensor()[0].permute(1, 2, 0).numpy()
            pixels = resample(values, alignment.matrix, shape)[0].clip(0, 1)
            onto = self._reference(images)
            moved.append(replace(image, pixels=np.ascontiguousarray(pixels.astype(np.float32)), geo=onto.geo))
        return moved

    def describe(self) -> dict[str, Any]:
        """List the settings for a record."""
        if self.given or self._is_stated:
            kind, aligner = "given" if self.given else self.kind, None
        else:
            kind, aligner = self._class().kinds[0] if self.kind == "auto" else self.kind, self.name
        return {"kind": kind, "aligner": aligner, "reference": self.reference, "scope": self.scope}

    def _reference(self, images: Sequence[Image]) -> Image:
        if self.reference >= len(images):
            raise UsageError(f"reference: source {self.reference + 1} of {len(images)} is asked for")
        return images[self.reference]

    def _align(self, moved: Sequence[Image], fixed: Sequence[Image]) -> Alignment:
        kind: Any = None if self.kind == "auto" else self.kind
        try:
            found = find_alignment(
                self._class(),
                [grey(one) for one in moved],
                [grey(one) for one in fixed],
                kind,
                scale=_scale(moved[0], fixed[0]),
            )
        except DataError as error:
            raise DataError(f"{moved[0].name}: cannot be aligned: {error}") from None
        if found.confidence < CONFIDENT:
            of_how_many = f" and {len(moved) - 1} more" if len(moved) > 1 else ""
            others = ", ".join(name for name in catalogue.aligners.usable() if name != self.name)
            raise DataError(
                f"{moved[0].name}{of_how_many}: cannot be aligned with {fixed[0].name}: the confidence is "
                f"{found.confidence:.2f} and has to be {CONFIDENT}; try another --aligner ({others}), give "
                "--transform, or leave it (--align none)"
            )
        return found

    def _as_given(self, images: Sequence[Image], fixed: Image) -> tuple[Alignment | None, ...]:
        if len(self.given) != len(images):
            raise DataError(f"the transforms are for {len(self.given)} sources, and {len(images)} are fused")
        return tuple(
            None if image is fixed or matrix is None else Alignment(matrix, 1.0)
            for image, matrix in zip(images, self.given, strict=True)
        )


def _resizing(image: Image, fixed: Image) -> Alignment | None:
    """Bring an image to the size of its reference; None where it has that."""
    (height, width), (rows, columns) = _size(image.pixels), _size(fixed.pixels)
    if (height, width) == (rows, columns):
        return None
    if abs(width * rows / (height * columns) - 1) > _SAME_SHAPE:
        raise DataError(
            f"{image.name}: is {image.size} and {fixed.name} {fixed.size}: resizing would distort it; use --align"
        )
    return Alignment(scaling((height, width), (rows, columns)), 1.0)


def write_transforms(path: Path, found: Sequence[Alignment | None], *, reference: int) -> None:
    """Write the transforms of a scene or a rig, to be given again.

    Raises:
        fusionkit.errors.DataError: the file cannot be written.
    """
    record = {
        "reference": reference,
        "transforms": [None if one is None else one.matrix.tolist() for one in found],
        "confidence": [None if one is None else round(one.confidence, 4) for one in found],
    }
    write_text(path, json.dumps(record, indent=2) + "\n")


def read_transforms(path: Path) -> tuple[int, tuple[np.ndarray | None, ...]]:
    """Read the reference and the transforms that :func:`write_transforms` wrote.

    Raises:
        fusionkit.errors.DataError: no such file, or not of this form.
    """
    try:
        record = read_json(path)
        matrices = tuple(None if one is None else np.array(one, float) for one in record["transforms"])
        reference = record["reference"]
        whole = isinstance(record, Mapping) and isinstance(reference, int) and 0 <= reference < len(matrices)
        if not whole or any(
            one is not None and (one.shape != (3, 3) or not np.isfinite(one).all() or abs(np.linalg.det(one)) < 1e-9)
            for one in matrices
        ):
            raise ValueError("3x3 matrices that can be inverted are needed")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}): check the name") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: is no file of transforms ({error}): 'fusionkit align' writes one") from None
    return reference, matrices
