"""Tests a Fuser against its contract and against the capabilities that it states."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from unittest import SkipTest

import torch
from torch import Tensor
from torch.func import functional_call

from fusionkit.contracts import Capabilities, Fuser
from fusionkit.errors import FusionkitError
from fusionkit.fuse.tiling import crop, tiles
from fusionkit.models.shipped import shipped_models
from fusionkit.runtime.parameters import trainable
from fusionkit.runtime.precision import float32_products
from fusionkit.testing.examples import example_sources
from fusionkit.testing.module_checks import build, check_functional, check_gradient, check_weights_file
from fusionkit.testing.rules import Notes, fail, place_of, require, require_close, require_same
from fusionkit.train.bilevel.hypergradient import fused_tangent, supports_forward_mode

SIZES = ((1, 1), (1, 9), (7, 1), (2, 3), (17, 31), (48, 40))
"""Sizes to try; each is enlarged to the least one that the fuser states to take."""

_SLACK = 1e-5  # of [0, 1]: sums of float32 weights miss 1 by rounding
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 5e-3, torch.bfloat16: 4e-2}
"""Of [0, 1], how far a result may be from the same one in another batch or in a finer type."""


def check_fuser(
    fuser: type[Fuser] | Fuser, *, sizes: Sequence[tuple[int, int]] = SIZES, device: torch.device | str = "cpu"
) -> Notes:
    """Check that a fuser keeps its contract and does what its capabilities state.

    In every type, number of sources and size that it states: results in [0, 1] of the sources' shape and type, inputs
    left alone, samples independent, equal calls equal, no state. Coarser types give the result of the finest; tiles
    with the stated halo give the result of the whole image. With parameters, also: correct gradients, weights that
    survive a safetensors file, and the derivatives that meta-learning takes, which are computed in float64.

    Args:
        fuser: the class, tried with its default options, or an instance with others, which is not changed.
        sizes: heights and widths to try.
        device: where to run it, such as what the pytest fixture ``fusionkit_device`` gives.

    Returns:
        Notes on what is allowed and worth knowing.

    Raises:
        AssertionError: a rule is broken; the message says which and what to do.
        unittest.SkipTest: the fuser needs CUDA and ``device`` is another one, or there is no CUDA device here. pytest
            counts it as a skipped test.
    """
    place = place_of(device)
    subject, module, another = build(fuser, Fuser, place)
    _check_declared(subject, module)
    able = module.capabilities
    if able.needs_cuda and place.type != "cuda":
        raise SkipTest(f"{subject} needs a CUDA device: run the kit with --fusionkit-device cuda")
    channels = 3 if module.space == "rgb" else 1
    fitting = list(dict.fromkeys(_fitting(able, *size) for size in sizes))
    with float32_products():
        for dtype in able.dtypes:
            for count in _counts(able):
                for size in fitting if dtype in (torch.float32, torch.float64) else fitting[-1:]:
                    sources = example_sources(size, count=count, batch=2, channels=channels, dtype=dtype, device=place)
                    _check_results(subject, module.to(dtype).train(), sources)
            _check_results(subject, module.eval(), sources)
        finest = min(able.dtypes, key=lambda dtype: torch.finfo(dtype).eps)
        count = able.min_sources
        sources = example_sources(_fitting(able, 17, 31), count=count, channels=channels, device=place)
        _check_dtypes(subject, module, sources, finest)
        sources = example_sources(
            _fitting(able, 9, 8), count=count, channels=channels, batch=2, dtype=finest, device=place
        )
        _check_extremes(subject, module.to(finest), sources)
        _check_maps(subject, module, sources)
        _check_memory_layout(subject, module, sources)
        if able.halo is not None:
            _check_tiles(subject, module, channels, finest, place)
        check_weights_file(subject, module, another, lambda each: [each(*sources)])
        if not trainable(module):
            return ()
        check_functional(subject, module, another, lambda each: each(*sources))
        if finest != torch.float64:
            return (f"{subject} is not right in float64, in which gradients are tested: they were not",)

        def fuse_with(weights: Mapping[str, Tensor]) -> Tensor:
            fused: Tensor = functional_call(module, dict(weights), sources)
            return fused

        check_gradient(subject, "the fused image", fuse_with, trainable(module))
        return _check_second_derivatives(subject, module, sources)


def _counts(able: Capabilities) -> tuple[int, ...]:
    """Numbers of sources to try: the smallest, and one more if it takes more."""
    more = able.max_sources is None or able.max_sources > able.min_sources
    return (able.min_sources, able.min_sources + 1) if more else (able.min_sources,)


def _fitting(able: Capabilities, height: int, width: int) -> tuple[int, int]:
    """The least size from this one on that a fuser states to take."""
    rounded = [-(-max(length, able.min_size) // able.multiple) * able.multiple for length in (height, width)]
    return (max(rounded), max(rounded)) if able.square else (rounded[0], rounded[1])


def _check_declared(subject: str, module: Fuser) -> None:
    space, tasks, stretch = module.space, module.tasks, module.stretch
    stated = isinstance(module.capabilities, Capabilities)
    remedy = "set it to an instance of fusionkit.contracts.Capabilities"
    require(stated, subject, f"capabilities is {module.capabilities!r}", remedy)
    require(space in ("luminance", "rgb"), subject, f"space is {space!r}", 'set it to "luminance" or "rgb"')
    names = tasks is None or (isinstance(tasks, tuple) and all(isinstance(name, str) for name in tasks))
    require(names, subject, f"tasks is {tasks!r}", "set it to a tuple of task names, or None for all")
    require(stretch in ("full", "none"), subject, f"stretch is {stretch!r}", 'set it to "full" or "none"')
    try:
        shipped = shipped_models(type(module))
    except FusionkitError as error:
        fail(subject, f"pretrained() cannot be read ({error})", "return ShippedModel records")
    known = {(model.task, model.tag) for model in shipped}
    for model in shipped:
        name = f"{model.task}@{model.tag}"
        require(
            model.file.is_file(),
            subject,
            f"pretrained() names {model.file} for {name}, which is not there",
            "ship the file",
        )
        replaced = not model.superseded_by or (model.task, model.superseded_by) in known
        require(replaced, subject, f"{name} is superseded by {model.superseded_by!r}, which is not shipped", "ship it")


def _fuse(subject: str, module: Fuser, sources: Sequence[Tensor], *, remedy: str = "") -> Tensor:
    kept = [source.clone() for source in sources]
    shapes = " and ".join(str(tuple(source.shape)) for source in sources)
    able = module.capabilities
    remedy = remedy or (
        f"take any H, W >= {able.min_size}{f' in multiples of {able.multiple}' if able.multiple > 1 else ''} and "
        f"{sources[0].dtype}; pad inside, or state in its capabilities what it takes"
    )
    try:
        with torch.no_grad():
            fused = module(*sources)
    except (RuntimeError, ValueError, IndexError, TypeError, AssertionError) as error:
        reason = " ".join(str(error).split())[:200]
        fail(subject, f"it fails on {sources[0].dtype} sources {shapes} ({reason})", remedy)
    require(isinstance(fused, Tensor), subject, f"it returns a {type(fused).__name__}", "return one tensor")
    for k, (source, before) in enumerate(zip(sources, kept, strict=True)):
        require_same(subject, f"it changes source {k} in place", source, before, "work on a copy")
    return fused


def _check_results(subject: str, module: Fuser, sources: tuple[Tensor, ...]) -> None:
    before = {name: value.clone() for name, value in module.state_dict().items()}
    fused = _fuse(subject, module, sources)
    shape, dtype = tuple(sources[0].shape), sources[0].dtype
    same = "give the same size back, or state in its capabilities which sizes it takes"
    require(tuple(fused.shape) == shape, subject, f"sources {shape} give {tuple(fused.shape)}", same)
    require(fused.dtype == dtype, subject, f"{dtype} sources give {fused.dtype}", "return the dtype of the sources")
    where = sources[0].device
    require(fused.device == where, subject, f"sources on {where} give {fused.device}", "return the sources' device")
    _check_range(subject, f"sources {shape}", fused)
    mode = "training" if module.training else "evaluation"
    again = _fuse(subject, module, sources)
    remedy = "keep no state between calls and draw nothing at random"
    require_same(subject, f"two equal calls in {mode} mode differ", again, fused, remedy)
    for name, value in module.state_dict().items():
        require_same(subject, f"a call in {mode} mode changes {name!r}", value, before[name], remedy)
    singles = torch.cat([_fuse(subject, module, [s[k : k + 1] for s in sources]) for k in range(len(fused))])
    what = f"a batch of {len(fused)} of size {shape[2:]} in {mode} mode is not what its samples give singly"
    remedy = "treat samples apart: no statistics over the batch"
    require_close(subject, what, fused, singles, _TOLERANCE[dtype], remedy)


def _check_dtypes(subject: str, module: Fuser, sources: tuple[Tensor, ...], finest: torch.dtype) -> None:
    """In every stated type it gives the result of the finest one, up to the rounding of the coarser."""
    for dtype in module.capabilities.dtypes:
        rounded = [source.to(dtype) for source in sources]
        with torch.no_grad():
            weights = copy.deepcopy(module).to(dtype)
            fused = _fuse(subject, weights, rounded)
            exact = _fuse(subject, weights.to(finest), [source.to(finest) for source in rounded])
        what = f"in {dtype} it does not give the result of {finest}"
        remedy = f"compute it in {finest}, or leave {dtype} out of the dtypes of its capabilities"
        require_close(subject, what, fused.to(finest), exact, _TOLERANCE[dtype], remedy)


def _check_tiles(subject: str, module: Fuser, channels: int, dtype: torch.dtype, device: torch.device) -> None:
    """Tiles cut with the stated halo give the result of the whole image, at the border and inside."""
    able = module.capabilities
    grid = able.grid or able.multiple
    halo = -(-(able.halo or 0) // grid) * grid
    side = -(-_fitting(able, 8, 8)[0] // grid) * grid
    # Of an odd size where the fuser takes one: in a pyramid it decides how the levels are padded.
    whole = 2 * halo + 3 * side + (able.multiple if grid > able.multiple else 0)
    sources = example_sources((whole, whole), count=able.min_sources, channels=channels, dtype=dtype, device=device)
    fused = _fuse(subject, module, sources)
    cut = list(tiles((whole, whole), side, able))
    middle = len(cut) // 2 + round(len(cut) ** 0.5) // 2
    for tile in (cut[0], cut[1], cut[middle], cut[-1]):
        part = crop(_fuse(subject, module, [crop(source, tile.seen) for source in sources]), tile.inner)
        expected = crop(fused, tile.kept)
        top, left = (place.start for place in tile.kept)
        what = f"a tile at {top}, {left} with a halo of {able.halo} pixels is not what the whole image gives there"
        remedy = "state a wider halo or grid in its capabilities, or None where a pixel depends on the whole image"
        require_close(subject, what, part, expected, _TOLERANCE[dtype], remedy)


def _check_range(subject: str, what: str, fused: Tensor) -> None:
    finite = bool(torch.isfinite(fused).all())
    require(finite, subject, f"{what} give values that are not finite", "guard divisions, roots and logarithms")
    low, high = float(fused.min()), float(fused.max())
    within = low >= -_SLACK and high <= 1 + _SLACK
    require(within, subject, f"{what} give values from {low:.6g} to {high:.6g}", "keep the result in [0, 1]: clamp it")


def _check_extremes(subject: str, module: Fuser, sources: tuple[Tensor, ...]) -> None:
    """Constant, black, white and binary sources give finite images in range."""
    black, white = torch.zeros_like(sources[0]), torch.ones_like(sources[0])
    binary = sources[0].gt(0.5).to(sources[0])
    for what, pair in {
        "black sources": (black, black),
        "white sources": (white, white),
        "a black and a white source": (black, white),
        "constant sources": (black + 0.25, black + 0.5),
        "binary sources": (binary, 1 - binary),
        "one image as every source": (sources[0], sources[0]),
    }.items():
        _check_range(subject, what, _fuse(subject, module, (*pair, *sources[2:])))


def _check_maps(subject: str, module: Fuser, sources: tuple[Tensor, ...]) -> None:
    """Check that the maps can be drawn: names fit for files, one channel, the sources' size, values in [0, 1]."""
    kept = [source.clone() for source in sources]
    with torch.no_grad():
        maps = module.maps(*sources)
    for k, (source, before) in enumerate(zip(sources, kept, strict=True)):
        require_same(subject, f"maps() changes source {k} in place", source, before, "work on a copy")
    shape = (len(sources[0]), 1, *sources[0].shape[2:])
    for name, image in maps.items():
        plain = re.fullmatch(r"[A-Za-z0-9_]+", name) is not None
        require(plain, subject, f"maps() names a map {name!r}", "use letters, digits and underscores")
        require(tuple(image.shape) == shape, subject, f"the map {name!r} is {tuple(image.shape)}", f"make it {shape}")
        _check_range(subject, f"the pixels of the map {name!r}", image)


def _check_memory_layout(subject: str, module: Fuser, sources: tuple[Tensor, ...]) -> None:
    """Strided views give what their copies give."""
    views = [source.repeat_interleave(2, 2).repeat_interleave(2, 3)[..., ::2, 1::2] for source in sources]
    copies = [view.clone(memory_format=torch.contiguous_format) for view in views]
    remedy = "take strided views: use reshape in place of view, or call contiguous()"
    one, other = _fuse(subject, module, views, remedy=remedy), _fuse(subject, module, copies)
    what = "sources that are strided views give another image than their copies"
    require_close(subject, what, one, other, _TOLERANCE[sources[0].dtype], remedy)


def _check_second_derivatives(subject: str, module: Fuser, sources: tuple[Tensor, ...]) -> Notes:
    """Either forward-mode AD, right, or a gradient that can be differentiated again."""
    weights = trainable(module)
    generator = torch.Generator().manual_seed(1)
    along = {n: torch.randn(p.shape, generator=generator, dtype=p.dtype).to(p.device) for n, p in weights.items()}
    fixed = {n: torch.zeros_like(p) for n, p in module.named_parameters() if n not in along}
    if supports_forward_mode(module, sources):
        tangent = fused_tangent(module, {**along, **fixed}, sources)
        fused = module(*sources)
        toward = torch.randn(fused.shape, generator=generator, dtype=fused.dtype).to(fused.device)
        slopes = torch.autograd.grad((fused * toward).sum(), list(weights.values()))
        backward = sum((s * along[n]).sum() for n, s in zip(weights, slopes, strict=True))
        what = "its forward-mode derivative is not that of its backward"
        remedy = "correct the jvp of its autograd.Function"
        require_close(subject, what, (tangent * toward).sum(), torch.as_tensor(backward), 1e-7, remedy)
        return ()
    copied = copy.deepcopy(module)
    leaves = list(trainable(copied).values())
    try:
        slopes = torch.autograd.grad(copied(*sources).square().sum(), leaves, create_graph=True)
        torch.autograd.grad(sum((slope * slope.detach()).sum() for slope in slopes), leaves, allow_unused=True)  # type: ignore[arg-type]
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        found = f"it has neither forward-mode nor second derivatives ({reason})"
        fail(subject, found, "build it of operations that can be differentiated twice")
    return (f"{subject} has no forward-mode derivative: meta steps take double backward, slower and larger",)
