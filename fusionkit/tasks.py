"""The four fusion tasks of the field, as data: what the sources are and what is measured.

A task says nothing about a method. A third party adds one with an entry point in ``fusionkit.tasks``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Task:
    """One fusion task.

    Attributes:
        name: short name used on the command line.
        title: name in words.
        sources: the role of each source, in the order that fusers and published weights expect.
        folders: usual names of the source folders in public data sets, one tuple per source.
        metrics: the metrics of the field's tables for this task, in table order.
        profile: the metric profile of those tables; blank for that of the paper whose protocol it is
            (``protocol_of`` of a plugin's published tables), or ``standard`` without one.
        reference: where the protocol comes from.
        default_model: the shipped model, ``FUSER:TASK`` or the name of a fuser, that the task is fused with where no
            fuser ships one for it; "" for none.
        choice_per_pixel: whether each pixel is right in one source, as in near and far focus; such a choice is lost
            where shrunk sources are fused.
    """

    name: str
    title: str
    sources: tuple[str, ...]
    folders: tuple[tuple[str, ...], ...]
    metrics: tuple[str, ...]
    profile: str = ""
    reference: str = "Bai et al., ReFusion, IJCV 2025, section 4"
    default_model: str = ""
    choice_per_pixel: bool = False


_DETAIL = ("EN", "SD", "SF", "AG", "SCD", "SSIM")
_PERCEPTION = ("EN", "SD", "SF", "VIFp", "QCB", "QNCIE")

IVIF = Task(
    name="ivif",
    title="infrared-visible image fusion",
    sources=("infrared", "visible"),
    folders=(("ir", "infrared", "inf", "a"), ("vi", "vis", "visible", "b")),
    metrics=_DETAIL,
)
MIF = Task(
    name="mif",
    title="medical image fusion",
    sources=("functional", "mri"),
    folders=(("ct", "pet", "spect", "functional", "a"), ("mri", "mr", "b")),
    metrics=_DETAIL,
)
MFIF = Task(
    name="mfif",
    title="multi-focus image fusion",
    sources=("near", "far"),
    folders=(("near", "a"), ("far", "b")),
    metrics=_PERCEPTION,
    choice_per_pixel=True,
)
MEIF = Task(
    name="meif",
    title="multi-exposure image fusion",
    sources=("under", "over"),
    folders=(("under", "a"), ("over", "b")),
    metrics=_PERCEPTION,
)
