"""The kit passes a sound aligner and names the rule that each broken one breaks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pytest

from fusionkit.contracts import Aligner, Alignment, Matrix, Plane, TransformKind
from fusionkit.errors import PluginError, UsageError
from fusionkit.fuse.aligning import default_aligner, find_alignment
from fusionkit.fuse.transforms import resample
from fusionkit.plugins import catalogue
from fusionkit.testing import check_aligner


class Shift(Aligner):
    kinds = ("translation",)
    reference = "none: a test"

    def align(self, moved: Sequence[Plane], fixed: Sequence[Plane], kind: TransformKind, *, start: Matrix) -> Alignment:
        shape = (fixed[0].shape[0], fixed[0].shape[1])
        image, _ = resample(moved[0], start, shape)
        (x, y), peak = cv2.phaseCorrelate(fixed[0].copy(), image, cv2.createHanningWindow(shape[::-1], cv2.CV_32F))
        return Alignment(start @ np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]]), float(np.clip(2 * peak, 0, 1)))


def broken(change: Any) -> type[Aligner]:
    """A class whose result is changed."""

    class Broken(Shift):
        def align(
            self, moved: Sequence[Plane], fixed: Sequence[Plane], kind: TransformKind, *, start: Matrix
        ) -> Alignment:
            return change(super().align(moved, fixed, kind, start=start))

    return Broken


def test_a_sound_aligner_passes() -> None:
    assert check_aligner(Shift) == ()


@pytest.mark.parametrize(
    ("aligner", "words"),
    [
        (broken(lambda a: Alignment(np.linalg.inv(a.matrix), a.confidence)), "pixels off"),
        (broken(lambda a: Alignment(a.matrix, 1.0)), "are aligned with confidence 1.00"),
        (broken(lambda a: Alignment(a.matrix, 0.1)), "has the confidence 0.10"),
        (broken(lambda a: Alignment(a.matrix * [1.01, 1, 1], a.confidence)), "keep the scale of start"),
        (broken(lambda a: Alignment(a.matrix[:2], a.confidence)), "returns a matrix"),
        (type("Kindless", (Shift,), {"kinds": ("shift",)}), "kinds is"),
        (type("Nameless", (Shift,), {"reference": " "}), "reference is blank"),
    ],
)
def test_each_broken_rule_is_named(aligner: type[Aligner], words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        check_aligner(aligner)


def test_what_an_aligner_does_wrong_is_one_line_with_its_name() -> None:
    scene = np.random.default_rng(0).random((64, 80), np.float32)
    with pytest.raises(PluginError, match=r"Broken .* cannot align: ZeroDivisionError"):
        find_alignment(broken(lambda _: 1 / 0), [scene], [scene])
    with pytest.raises(UsageError, match="align rigid: Shift finds translation"):
        find_alignment(Shift, [scene], [scene], "rigid")


def test_an_aligner_can_be_the_default_of_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_aligner("ivif") == default_aligner()
    monkeypatch.setattr(catalogue.aligners, "_registered", {})
    catalogue.aligners.register("mine", type("Mine", (Shift,), {"default_for": ("ivif",)}))
    assert default_aligner("ivif") == "mine"
    assert default_aligner("mfif") == default_aligner() != "mine"
