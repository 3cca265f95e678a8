"""Medical pairs: slices of an analytic head phantom as MRI and as CT, PET or SPECT images.

The head is drawn in the tradition of the Shepp-Logan phantom, with folded cortex: outlines are ellipses deformed by low
harmonics, folds are level lines of a band-limited random field. MRI gives soft tissue by a contrast (T1, T2 or proton
density), a bias field and Rician noise; CT gives bone, faint soft tissue and calcification; PET and SPECT give
activity, coarse and in false colour. Every head is another draw. There is no known fused image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from fusionkit.data.sample.photographs import Floats, Scene, floats, to_bytes
from fusionkit.data.sample.random_fields import clouds, smooth

__all__ = ["TISSUES", "Head", "colour_map", "draw_head", "slice_scenes"]

_SIDE = 256

TISSUES = ("air", "scalp", "bone", "fluid", "grey", "white", "nuclei", "lesion", "calcium")
"""Tissues by their index in :attr:`Head.tissue`."""

_AIR, _SCALP, _BONE, _FLUID, _GREY, _WHITE, _NUCLEI, _LESION, _CALCIUM = range(len(TISSUES))

_MRI = {
    "T1": (0.0, 0.85, 0.06, 0.14, 0.50, 0.74, 0.58, 0.34, 0.10),
    "T2": (0.0, 0.42, 0.05, 0.97, 0.56, 0.36, 0.42, 0.88, 0.08),
    "PD": (0.0, 0.62, 0.07, 0.34, 0.66, 0.48, 0.55, 0.80, 0.10),
}
_CT = (0.0, 0.10, 1.0, 0.16, 0.35, 0.29, 0.36, 0.24, 0.95)
_PET = (0.0, 0.05, 0.02, 0.04, 0.82, 0.30, 0.88, 1.15, 0.02)
_SPECT = (0.0, 0.12, 0.04, 0.06, 0.78, 0.34, 0.72, 0.10, 0.02)

_RAINBOW = (
    (0, 0, 0),
    (0, 0, 90),
    (0, 20, 190),
    (10, 110, 210),
    (240, 240, 40),
    (255, 170, 0),
    (235, 40, 0),
    (255, 0, 190),
)
_FIRE = (
    (0, 0, 0),
    (28, 48, 52),
    (52, 62, 78),
    (70, 10, 120),
    (120, 20, 140),
    (225, 95, 40),
    (255, 150, 40),
    (255, 225, 150),
)

_PLANS: tuple[tuple[Literal["CT", "PET", "SPECT"], str, str, bool], ...] = (
    ("CT", "T2", "train", True),
    ("CT", "T2", "train", False),
    ("CT", "T1", "train", True),
    ("CT", "PD", "train", True),
    ("PET", "T1", "train", True),
    ("PET", "T1", "train", False),
    ("PET", "T1", "train", True),
    ("SPECT", "T2", "train", True),
    ("SPECT", "T2", "train", True),
    ("SPECT", "PD", "train", False),
    ("CT", "T2", "test", True),
    ("PET", "T1", "test", True),
    ("SPECT", "T2", "test", True),
)


@dataclass(frozen=True)
class Head:
    """A slice of a head: the tissue of each pixel (index into :data:`TISSUES`), ``(H, W)``."""

    tissue: NDArray[np.int64]

    def show(self, values: tuple[float, ...], *, blur: float) -> Floats:
        """Give each tissue its value, blurred by ``blur`` pixels."""
        return smooth(np.array(values, np.float32)[self.tissue], blur)


def draw_head(rng: Generator, *, ventricles: bool, lesion: bool) -> Head:
    """Draw a transverse slice.

    Args:
        rng: draws the patient.
        ventricles: whether the slice passes through the ventricles and basal nuclei, or above them.
        lesion: whether there is a round lesion in the white matter.
    """
    rows, columns = floats(np.mgrid[:_SIDE, :_SIDE])
    tilt = rng.uniform(-0.05, 0.05)
    y, x = (rows - _SIDE / 2) / (_SIDE / 2), (columns - _SIDE / 2) / (_SIDE / 2)
    y, x = y * np.cos(tilt) - x * np.sin(tilt), y * np.sin(tilt) + x * np.cos(tilt)
    size = 0.90 if ventricles else rng.uniform(0.76, 0.86)
    across, along = size * rng.uniform(0.74, 0.80), size * rng.uniform(0.90, 0.96)
    angle, radius = np.arctan2(y / along, x / across), np.hypot(x / across, y / along)
    outline = 1 + 0.018 * np.cos(2 * angle + rng.uniform(0, 6)) + 0.012 * np.cos(3 * angle + rng.uniform(0, 6))
    depth = 1 - radius / outline + 0.006 * np.sin(5 * angle + rng.uniform(0, 6))

    tissue = np.full((_SIDE, _SIDE), _AIR)
    scalp = 0.055 + 0.012 * np.cos(2 * angle + rng.uniform(0, 6))
    skull = scalp + 0.075 + 0.016 * np.cos(2 * angle + rng.uniform(0, 6)) + 0.02 * (np.sin(angle) > 0.93)
    tissue[depth > 0] = _SCALP
    tissue[depth > scalp] = _BONE
    tissue[depth > skull] = _FLUID
    inside = depth - skull - 0.015
    brain = inside > 0
    # Folds of both halves resemble each other without being mirror images.
    field = clouds((_SIDE, _SIDE), rng, scale=7, octaves=2)
    own = clouds((_SIDE, _SIDE), rng, scale=7, octaves=2)
    fold = 0.6 * (field + field[:, ::-1]) / 2 + 0.4 * own
    fold = (fold - fold.mean()) / fold.std()
    fissure = np.abs(x + 0.01 * np.sin(7 * y + rng.uniform(0, 6)))
    if ventricles:
        fissure = fissure + 0.6 * np.clip(1.25 - np.abs(y + 0.03) / (0.42 * along), 0, 0.5)
    surface = np.minimum(inside, 0.8 * fissure)
    reach = 0.20 + 0.07 * clouds((_SIDE, _SIDE), rng, scale=30)
    tissue[brain] = _WHITE
    tissue[brain & (np.abs(fold) < 0.62) & (surface < reach)] = _GREY
    tissue[brain & (surface < 0.045)] = _GREY
    tissue[brain & (np.abs(fold) < 0.13) & (surface < 0.8 * reach)] = _FLUID
    tissue[brain & (fissure < 0.010)] = _FLUID
    if ventricles:
        _draw_centre(tissue, brain, x, y, rng)
    if lesion:
        side = 1 if rng.random() < 0.5 else -1
        centre = (side * rng.uniform(0.22, 0.34), rng.uniform(-0.35, 0.35))
        ragged = 0.10 * (clouds((_SIDE, _SIDE), rng, scale=9) - 0.5)
        tissue[brain & (np.hypot(x - centre[0], y - centre[1]) + ragged < rng.uniform(0.07, 0.11))] = _LESION
    return Head(tissue)


def _draw_centre(tissue: NDArray[np.int64], brain: NDArray[np.bool_], x: Floats, y: Floats, rng: Generator) -> None:
    """Draw basal nuclei, ventricles and their calcified spots into ``tissue``."""
    width, bend = rng.uniform(0.05, 0.075), rng.uniform(0.25, 0.45)
    right = np.abs(x)
    for across, down, wide, high in ((0.20, -0.02, 0.075, 0.15), (0.11, 0.08, 0.075, 0.11), (0.11, -0.20, 0.05, 0.09)):
        tissue[brain & (((right - across) / wide) ** 2 + ((y - down) / high) ** 2 < 1)] = _NUCLEI
    for down, high, lean in ((-0.22, 0.17, bend), (0.24, 0.19, -bend)):
        middle = 0.045 + np.abs(y - 0.02) * abs(lean) * 0.55
        tissue[brain & (((right - middle) / width) ** 2 + ((y - down) / high) ** 2 < 1)] = _FLUID
    tissue[brain & (right < 0.012) & (np.abs(y - 0.08) < 0.10)] = _FLUID
    for across, down in (
        (rng.uniform(-0.02, 0.02), 0.22),
        (-rng.uniform(0.12, 0.15), 0.30),
        (rng.uniform(0.12, 0.15), 0.30),
    ):
        tissue[np.hypot(x - across, y - down) < rng.uniform(0.016, 0.030)] = _CALCIUM


def colour_map(values: Floats, knots: tuple[tuple[int, int, int], ...]) -> Floats:
    """False colour: ``values`` in [0, 1] by linear interpolation between equally spaced RGB knots (0..255)."""
    at = np.linspace(0, 1, len(knots))
    table = np.array(knots, np.float32) / 255
    return floats(np.stack([np.interp(values, at, table[:, channel]) for channel in range(3)], axis=2))


def slice_scenes(rng: Generator) -> list[Scene]:
    """Make the medical sample: sources CT (grey), PET or SPECT (false colour), and MRI (grey)."""
    scenes = []
    count: dict[str, int] = {}
    for modality, contrast, split, ventricles in _PLANS:
        count[modality] = count.get(modality, 0) + 1
        head = draw_head(rng, ventricles=ventricles, lesion=bool(rng.random() < 0.6))
        other = _tomography(head, rng) if modality == "CT" else _activity(head, modality, rng)
        name = f"{modality.lower()}-{contrast.lower()}-{count[modality]}"
        scenes.append(Scene(name, split, (to_bytes(other), to_bytes(_resonance(head, contrast, rng)))))
    return scenes


def _resonance(head: Head, contrast: str, rng: Generator) -> Floats:
    signal = head.show(_MRI[contrast], blur=0.7)
    grain = 1 + 0.10 * (clouds(signal.shape, rng, scale=2.5) - 0.5)
    bias = 1 + 0.18 * (clouds(signal.shape, rng, scale=70, octaves=1) - 0.5)
    real, imaginary = 0.012 * rng.standard_normal((2, *signal.shape), dtype=np.float32)
    return floats(np.hypot(signal * grain * bias + real, imaginary))


def _tomography(head: Head, rng: Generator) -> Floats:
    shown = head.show(_CT, blur=0.8)
    noise = smooth(rng.standard_normal(shown.shape, dtype=np.float32), 0.8)
    inside = smooth((head.tissue != _AIR).astype(np.float32), 1.0)
    image = shown + 0.02 * noise * inside
    rows, columns = floats(np.mgrid[: shown.shape[0], : shown.shape[1]])
    # The head rest, which AANLIB's slices show too.
    rest = np.abs(np.hypot(columns - shown.shape[1] / 2, rows - 96) - 152)
    low = (rows > 210) & (np.abs(columns - shown.shape[1] / 2) > 20) & (head.tissue == _AIR)
    return floats(np.where(low, np.clip(1.6 - rest, 0, 1), image))


def _activity(head: Head, modality: Literal["PET", "SPECT"], rng: Generator) -> Floats:
    values, blur, knots = (_PET, 2.6, _RAINBOW) if modality == "PET" else (_SPECT, 4.2, _FIRE)
    uptake = np.array(values, np.float32)[head.tissue]
    regional = 1 + 0.5 * (clouds(uptake.shape, rng, scale=22, octaves=2) - 0.5)
    background = 0.3 if modality == "SPECT" else 0.05
    counts = smooth(floats(rng.poisson(30 * uptake * regional + background) / 30), blur)
    return colour_map(np.clip(counts / np.percentile(counts, 99.7), 0, 1), knots)
