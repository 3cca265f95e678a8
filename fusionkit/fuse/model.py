"""Fuses images with a trained model or a classical method: from files, arrays or tensors to a result to save.

The toolkit handles here what a :class:`fusionkit.contracts.Fuser` need not handle: colour, bit depth, the range
stretch, metadata, and more sources than it takes at once.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray
from torch import Tensor

from fusionkit.config import as_dict, resolve
from fusionkit.contracts import Fuser
from fusionkit.errors import DataError, FusionNote, UsageError, did_you_mean
from fusionkit.fuse.adapter import check_device, check_size, plan_calls
from fusionkit.fuse.aligning import Aligning, default_aligner
from fusionkit.fuse.array_sources import as_array
from fusionkit.fuse.backends import Backend, use_backend
from fusionkit.fuse.balance import balanced, check_balance
from fusionkit.fuse.fused import Fused
from fusionkit.fuse.georeference import common_place
from fusionkit.fuse.reading import Reading, make_reading, note_facts, note_range, upright_where_they_differ
from fusionkit.fuse.reduced import SHRINKING, Speed, at_speed, check_sources_at, check_speed
from fusionkit.fuse.stack import fuse_stack, is_streamed
from fusionkit.fuse.tensors import (
    Gamut,
    SourceRows,
    Stretch,
    check_gamut,
    check_stretch,
    fuse_sources,
    fuse_tensors,
)
from fusionkit.io.images import Image, as_pixels, read_image
from fusionkit.plugins.guard import plugin_call
from fusionkit.runtime.devices import choose_device, is_out_of_memory
from fusionkit.runtime.freed_memory import keep_freed_memory
from fusionkit.runtime.precision import float32_products

__all__ = ["Fused", "FusionNote", "Model", "Source", "Stretch", "fuse_tensors", "load"]

Source: TypeAlias = "str | Path | Image | PIL.Image.Image | NDArray[Any] | Tensor"
"""A source to fuse: a file, an image, an array ``(H, W)`` or ``(H, W, C)``, or a tensor of two to four dimensions."""


class Model:
    """A fuser that is ready to fuse images: on its device, with its range stretch.

    Args:
        fuser: any fuser; it is moved to the device and set to evaluation mode.
        name: its name in messages and records: a registered name, a run folder, a file.
        task: the task it was trained for, or "".
        tag: tag of the shipped weights, or "".
        device: device to fuse on.
        stretch: range stretch of the result; the fuser's own default where None.
        gamut: how a colour that leaves RGB is brought back, see :func:`fusionkit.fuse.tensors.fuse_tensors`.
        digest: SHA-256 of its weights file in hexadecimal, or "".
        backend: ``"auto"`` uses the fuser's native form on a CPU where there is one, ``"native"`` demands it,
            ``"torch"`` does not use it.
        speed: ``"exact"`` fuses all pixels; ``"half"``, ``"quarter"`` and ``"eighth"`` approximate that from shrunk
            sources, see :class:`fusionkit.fuse.reduced.ReducedFuser`.
        balance: moves the result of two sources towards the first (-1) or the second (1); 0 is what the method does,
            see :class:`fusionkit.fuse.balance.BalancedFuser`.

    Raises:
        fusionkit.errors.UsageError: an unknown stretch, gamut rule, backend or speed, a device that the fuser cannot
            run on, no native form where one is demanded, a fuser that has no other speed than ``"exact"``, or a
            balance that is not possible.
    """

    def __init__(
        self,
        fuser: Fuser,
        *,
        name: str = "",
        task: str = "",
        tag: str = "",
        device: torch.device | str = "cpu",
        stretch: Stretch | None = None,
        gamut: Gamut = "keep-luminance",
        digest: str = "",
        backend: Backend = "auto",
        speed: Speed = "exact",
        balance: float = 0.0,
    ) -> None:
        self.stretch: Stretch = fuser.stretch if stretch is None else stretch
        check_stretch(self.stretch)
        self.gamut: Gamut = gamut
        check_gamut(gamut)
        self.device = torch.device(device)
        self.name = name or type(fuser).__name__
        check_device(fuser, self.device, name=self.name)
        keep_freed_memory()
        self.method = fuser.to(self.device).eval()
        self.task = task
        self.tag = tag
        self.digest = digest
        self.backend = use_backend(self.method, self.device, backend)
        self.speed: Speed = speed
        self._unbalanced = at_speed(self.method, speed, name=self.name)
        self.balance = balance
        self.fuser = balanced(self._unbalanced, balance, name=self.name)

    def __repr__(self) -> str:
        task = f", task={self.task!r}" if self.task else ""
        return f"Model({self.name!r}{task}, device={str(self.device)!r}, stretch={self.stretch!r})"

    def fuse(
        self,
        *sources: Source,
        bits: int | None = None,
        ranges: str | Sequence[str] = "auto",
        fill_invalid: bool = False,
        balance: float | None = None,
        align: str | Aligning = "none",
    ) -> Fused:
        """Fuse aligned sources of one size, in the order of the task.

        A source whose three channels are equal everywhere is grey; where all are grey so is the result. Pixels are
        fused as they are stored and their EXIF orientation is kept if all sources share it; else each source is turned
        upright, and so is the result, with a :class:`FusionNote`. EXIF and ICC profile come from the first source with
        colour, else from the first.

        Args:
            sources: two or more files, images (Pillow's too), arrays or tensors. Arrays are ``(H, W)``,
                ``(H, W, 1)`` or ``(H, W, 3)`` RGB, tensors ``(H, W)``, ``(C, H, W)`` or ``(1, C, H, W)``; of uint8,
                uint16, or floats in [0, 1], bfloat16 among them.
            bits: bits of the result, 8, 16 or 32 (float); where None, the most of any source. Float arrays and
                tensors count as 8, since nothing says what they came from.
            ranges: the values of files, arrays and tensors that become 0 and 1: one rule for all sources or one per
                source, see :func:`fusionkit.io.ranges.parse_range`. ``"auto"`` scales integers of 16 bits that fill
                less than an eighth of their range, signed integers and floats outside [0, 1], with a
                :class:`FusionNote`. An :class:`Image` is taken as it is.
            fill_invalid: replace values that are not finite and stuck pixels by the median of their neighbours.
            balance: as for :class:`Model`, of this result alone; the model's where None.
            align: ``"auto"``, ``"translation"``, ``"rigid"``, ``"affine"``, ``"homography"``, ``"resize"`` or
                ``"place"`` (of GeoTIFF) bring the other sources onto the grid of the second one first; an
                :class:`fusionkit.fuse.aligning.Aligning` has
                more settings.

        Raises:
            fusionkit.errors.DataError: a source cannot be read, used or aligned, sizes differ or are smaller than the
                model takes, the fused values are not finite, or memory does not suffice.
            fusionkit.errors.UsageError: a number of sources that the model does not take, impossible bits, or a balance
                that is not possible.
        """
        if balance is not None and balance != self.balance:
            other = copy(self)
            other.balance, other.fuser = balance, balanced(self._unbalanced, balance, name=self.name)
            return other.fuse(*sources, bits=bits, ranges=ranges, fill_invalid=fill_invalid, align=align)
        if bits not in (None, 8, 16, 32):
            raise UsageError(f"bits: 8, 16 or 32 (float) are possible, got {bits}")
        if len(sources) < 2:
            raise UsageError(f"two or more sources are needed to fuse, got {len(sources)}")
        self.check_count(len(sources))
        reading = make_reading(ranges, sources=len(sources), fill_invalid=fill_invalid)
        images, depths = zip(*(_as_image(source, k, reading) for k, source in enumerate(sources)), strict=True)
        for k, (image, source) in enumerate(zip(images, sources, strict=True)):
            if not isinstance(source, Image):
                note_range(image, reading.range_of(k), option="ranges")
                note_facts(image)
        images = upright_where_they_differ(images)
        if align != "none":
            rule = align if isinstance(align, Aligning) else Aligning(align, aligner=default_aligner(self.task or ""))
            images = tuple(rule.apply(images, rule.find(images)))
        _check_sizes(images)
        check_size(self.fuser, images[0].pixels.shape[:2], name=self.name, image=images[0].name)
        grey = [image.is_grey for image in images]
        described = images[grey.index(False)] if False in grey else images[0]
        return Fused(
            self._fuse(images, [1 if is_grey else 3 for is_grey in grey]),
            bits=max(depths) if bits is None else bits,
            exif=described.exif,
            orientation=images[0].orientation,
            icc=described.icc,
            geo=common_place(images),
        )

    def check_count(self, count: int) -> None:
        """Refuse a number of sources that cannot be fused.

        Raises:
            fusionkit.errors.UsageError: always in that case.
        """
        check_sources_at(self.speed, count, name=self.name)
        check_balance(self.balance, count, name=self.name)
        plan_calls(self.fuser.capabilities, count, name=self.name)

    def _fuse(self, images: Sequence[Image], channels: Sequence[int]) -> Tensor:
        """Fuse images whose tensors are made when they are needed: a strip of rows, or of a stack one image."""
        height, width = images[0].pixels.shape[:2]

        def read(k: int, rows: slice = slice(None)) -> Tensor:
            return images[k].tensor(rows, channels=channels[k]).to(self.device)

        try:
            with torch.inference_mode(), float32_products():
                if is_streamed(self.fuser, len(images)):
                    fused = fuse_stack(self.fuser, read, len(images), stretch=self.stretch, gamut=self.gamut)
                else:
                    sources = [SourceRows(c, height, width, partial(read, k)) for k, c in enumerate(channels)]
                    fused = fuse_sources(self.fuser, sources, stretch=self.stretch, gamut=self.gamut)
                fused = fused.float().cpu()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise DataError(
                f"{images[0].size} images do not fit into the memory of {self.device}: "
                "fuse smaller ones, or on another device"
            ) from None
        if not torch.isfinite(torch.stack(torch.aminmax(fused))).all():
            raise DataError(
                f"{self.name}: the fused values are not finite: its weights are damaged or diverged; use others"
            )
        return fused

    def describe(self) -> dict[str, Any]:
        """List everything beside the sources that decides the result, for the record that is kept with it."""
        from importlib import metadata

        return {
            "model": self.name,
            "fuser": f"{type(self.method).__module__}:{type(self.method).__qualname__}",
            "task": self.task,
            "tag": self.tag,
            "weights_sha256": self.digest,
            "stretch": self.stretch,
            "gamut": self.gamut,
            "config": as_dict(self.method.config),
            "device": str(self.device),
            "backend": self.backend,
            "speed": self.speed,
            "balance": self.balance,
            "versions": {name: metadata.version(name) for name in ("image-fusionkit", "torch", "numpy")},
        }


def _as_image(source: Source, place: int, reading: Reading) -> tuple[Image, int]:
    """Convert a source to an image, and state its bits per sample."""
    rule, fill = reading.range_of(place), reading.fill_invalid
    if isinstance(source, (str, Path)):
        image = read_image(source, values=rule, fill=fill)
        return image, image.bits
    if isinstance(source, Image):
        return source, source.bits
    name = f"source {place + 1}"
    array = as_array(source, name)
    floats = array.dtype.kind == "f"
    if array.ndim == 3 and array.size and (floats or array.dtype.kind in "iu"):
        stored = array.astype(np.float32) if floats else array
        array, limits, filled = as_pixels(stored, values=rule, fill=fill, name=name)
        image = Image(array, name=name, limits=limits, filled=filled)
    else:
        image = Image(array, name=name)
    return image, 8 if floats else image.bits


def _check_sizes(images: Sequence[Image]) -> None:
    if len({image.size for image in images}) == 1:
        return
    listed = ", ".join(f"{image.name} {image.size}" for image in images)
    raise DataError(
        f"sources differ in size ({listed}): bring them to one size: fusionkit fuse --align or --resize, or "
        'Model.fuse(..., align="auto") or "resize"'
    )


def load(
    model: str | Path,
    task: str | None = None,
    *,
    device: str | torch.device = "auto",
    stretch: Stretch | None = None,
    gamut: Gamut = "keep-luminance",
    options: Mapping[str, Any] | None = None,
    backend: Backend = "auto",
    speed: Speed = "exact",
    balance: float = 0.0,
) -> Model:
    """Load a model to fuse with.

    Args:
        model: a run folder, a weights file of fusionkit's, the name of a registered fuser, or that of a shipped model:
            ``FUSER:TASK`` or ``FUSER:TASK@TAG``. A name comes first: a folder that is called like a fuser is written
            ``./name``.
        task: the task that the model must have been trained for. Needed if only a fuser is named that ships models
            for several tasks; the current one of the task is loaded.
        device: ``"auto"`` (CUDA where there is one), ``"cpu"``, ``"cuda"``, ``"cuda:1"``.
        stretch: ``"full"`` or ``"none"``; the fuser's own default where None.
        gamut: ``"keep-luminance"`` or ``"clip"``, see :func:`fusionkit.fuse.tensors.fuse_tensors`.
        options: options of a fuser that needs no training, such as ``{"r": 8}``; weights have theirs in the file.
        backend: ``"auto"``, ``"torch"`` or ``"native"``, see :class:`Model`.
        speed: ``"exact"``, ``"half"``, ``"quarter"`` or ``"eighth"``, see :class:`Model`.
        balance: -1 to 1, see :class:`Model`.

    Raises:
        fusionkit.errors.UsageError: an unknown name, tag, task, device, stretch, gamut rule, backend, speed or balance,
            a device that the fuser cannot run on, a fuser that has to be trained first or has no such speed, or options
            that are unknown, invalid or of a model that has weights.
        fusionkit.errors.DataError: the weights cannot be read.
        fusionkit.errors.PluginError: the fuser's plugin is not usable.

    Warns:
        FusionNote: the named model is superseded by another one, or the speed is too coarse for the task.
    """
    from fusionkit.models.shipped import split_name
    from fusionkit.models.trained_model import weights_file
    from fusionkit.plugins import catalogue

    if task is not None:
        catalogue.tasks.get(task)
    place = choose_device(str(device))
    check_gamut(gamut)
    check_speed(speed)
    build = partial(Model, device=place, stretch=stretch, gamut=gamut, backend=backend, speed=speed, balance=balance)
    named = split_name(model) if isinstance(model, str) else None
    if named is not None:
        loaded = _registered(build, str(model), *named, task, place, options or {})
    elif options:
        raise UsageError(f"{model}: has its options from its training: options are for fusers without weights")
    else:
        loaded = _from_file(build, weights_file(model), str(model), task)
    known = loaded.task in catalogue.tasks.names()
    if SHRINKING[speed] > 2 and known and catalogue.tasks.get(loaded.task).choice_per_pixel:
        line = f"speed {speed}: {loaded.task} needs a choice per pixel, which is lost here: use half or exact"
        warnings.warn(line, FusionNote, stacklevel=2)
    return loaded


def _from_file(build: Callable[..., Model], file: Path, name: str, task: str | None, *, tag: str = "") -> Model:
    from fusionkit.models.weights import load_fuser

    fuser, info = load_fuser(file)
    if task and info.task and task != info.task:
        raise UsageError(f"{file}: was trained for task {info.task}, not {task}; leave the task out to use it anyway")
    place = info.task or task or ""
    return build(fuser, name=name, task=place, tag=tag, digest=info.digest)


def _registered(
    build: Callable[..., Model],
    name: str,
    fuser: str,
    wanted: str,
    task: str | None,
    device: torch.device,
    options: Mapping[str, Any],
) -> Model:
    """Build a registered fuser, with the shipped weights that it has for the task."""
    from fusionkit.models.shipped import choose_model, shipped_models
    from fusionkit.plugins import catalogue

    kind = catalogue.fusers.get(fuser)
    # A task may state a model of another task that serves it too.
    serves = task if task is not None and wanted and catalogue.tasks.get(task).default_model == name else None
    if serves:
        task = None
    if task and kind.tasks is not None and task not in kind.tasks:
        raise UsageError(f"{fuser} is not made for task {task!r}: {did_you_mean(task, kind.tasks)}")
    check_device(kind, device, name=name)
    shipped = choose_model(kind, fuser, wanted, task=task)
    if shipped is not None:
        if options:
            raise UsageError(f"{name}: has its options from its training: options are for fusers without weights")
        if shipped.superseded_by:
            known = f"{fuser}:{shipped.task}@"
            line = f"{known}{shipped.tag} is superseded by {known}{shipped.superseded_by}"
            warnings.warn(line, FusionNote, stacklevel=3)
        loaded = _from_file(build, shipped.file, name, shipped.task, tag=shipped.tag)
        loaded.task = serves or loaded.task
        return loaded
    config: Any = resolve(kind.Config, ("--set", options)) if options else None
    with plugin_call(kind, "be built"):
        built: Fuser = kind(config)
    if any(True for _ in built.parameters()):
        tasks = ", ".join(sorted({model.task for model in shipped_models(kind)}))
        has = f" (there are weights for: {tasks})" if tasks else ""
        how = f"train it and give its run folder: fusionkit train {fuser} --task {task or 'TASK'}"
        if kind.published_weights:
            source = kind.published_weights[0].source
            how = (
                f"import those that its authors published ({source}): fusionkit weights import FILE -o OUT.safetensors"
            )
        raise UsageError(f"{fuser} has no trained weights{f' for task {task}' if task else ''}{has}; {how}")
    return build(built, name=name, task=task or "")
