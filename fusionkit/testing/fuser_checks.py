"""The contract of a Fuser, tried out."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import functional_call

from fusionkit.contracts import Fuser
from fusionkit.testing.examples import example_sources
from fusionkit.testing.module_checks import build, check_functional, check_gradient, check_weights_file, trainable
from fusionkit.testing.rules import Notes, fail, require, require_close, require_same
from fusionkit.train.bilevel.hypergradient import fused_tangent, supports_forward_mode

SIZES = ((1, 1), (1, 9), (7, 1), (2, 3), (17, 31), (48, 40))
"""Sizes that every fuser takes."""

_SLACK = 1e-5  # of [0, 1]: sums of float32 weights miss 1 by rounding


def check_fuser(fuser: type[Fuser] | Fuser, *, sizes: Sequence[tuple[int, int]] = SIZES) -> Notes:
    """Check that a fuser keeps its contract.

    Any size down to 1x1, float32 and float64, results in [0, 1] of the sources' shape, inputs left alone, samples
    independent, equal calls equal, no state; and, where it has parameters, correct gradients, weights that survive a
    safetensors file, and the derivatives that meta-learning takes.

    Args:
        fuser: the class, tried with its default options, or an instance with others, which is not changed.
        sizes: heights and widths to try.

    Returns:
        Notes on what is allowed and worth knowing.

    Raises:
        AssertionError: a rule is broken; the message says which and what to do.
    """
    subject, module, another = build(fuser, Fuser)
    _check_declared(subject, module)
    channels = 3 if module.space == "rgb" else 1
    for dtype in (torch.float32, torch.float64):
        for count in _counts(module):
            for size in sizes:
                sources = example_sources(size, count=count, batch=2, channels=channels, dtype=dtype)
                _check_results(subject, module.to(dtype).train(), sources)
        _check_results(subject, module.eval(), sources)
    sources = example_sources((9, 8), channels=channels, batch=2, dtype=torch.float64)
    _check_extremes(subject, module.double(), sources)
    _check_maps(subject, module, sources)
    _check_memory_layout(subject, module, example_sources((18, 16), channels=channels, dtype=torch.float64))
    check_weights_file(subject, module, another, lambda each: [each(*sources)])
    if not trainable(module):
        return ()
    check_functional(subject, module, another, lambda each: each(*sources))
    check_gradient(
        subject, "the fused image", lambda weights: functional_call(module, dict(weights), sources), trainable(module)
    )
    return _check_second_derivatives(subject, module, sources)


def _counts(module: Fuser) -> tuple[int, ...]:
    """Numbers of sources to try."""
    return (2, 3) if module.max_sources is None or module.max_sources >= 3 else (2,)


def _check_declared(subject: str, module: Fuser) -> None:
    space, most, tasks, stretch = module.space, module.max_sources, module.tasks, module.stretch
    require(space in ("luminance", "rgb"), subject, f"space is {space!r}", 'set it to "luminance" or "rgb"')
    require(most is None or most >= 2, subject, f"max_sources is {most}", "set it to 2 or more, or None for any number")
    names = tasks is None or (isinstance(tasks, tuple) and all(isinstance(name, str) for name in tasks))
    require(names, subject, f"tasks is {tasks!r}", "set it to a tuple of task names, or None for all")
    require(stretch in ("full", "none"), subject, f"stretch is {stretch!r}", 'set it to "full" or "none"')
    for task, file in type(module).pretrained().items():
        require(file.is_file(), subject, f"pretrained() names {file} for {task}, which is not there", "ship the file")


def _fuse(
    subject: str, module: Fuser, sources: Sequence[Tensor], *, remedy: str = "take any H, W >= 1; pad inside"
) -> Tensor:
    kept = [source.clone() for source in sources]
    shapes = " and ".join(str(tuple(source.shape)) for source in sources)
    try:
        with torch.no_grad():
            fused = module(*sources)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
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
    require(
        tuple(fused.shape) == shape, subject, f"sources {shape} give {tuple(fused.shape)}", "give the same size back"
    )
    require(fused.dtype == dtype, subject, f"{dtype} sources give {fused.dtype}", "return the dtype of the sources")
    _check_range(subject, f"sources {shape}", fused)
    mode = "training" if module.training else "evaluation"
    again = _fuse(subject, module, sources)
    remedy = "keep no state between calls and draw nothing at random"
    require_same(subject, f"two equal calls in {mode} mode differ", again, fused, remedy)
    for name, value in module.state_dict().items():
        require_same(subject, f"a call in {mode} mode changes {name!r}", value, before[name], remedy)
    singles = torch.cat([_fuse(subject, module, [s[k : k + 1] for s in sources]) for k in range(len(fused))])
    tolerance = 1e-4 if dtype == torch.float32 else 1e-9
    what = f"a batch of {len(fused)} of size {shape[2:]} in {mode} mode is not what its samples give singly"
    require_close(subject, what, fused, singles, tolerance, "treat samples apart: no statistics over the batch")


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
        "two black sources": (black, black),
        "two white sources": (white, white),
        "a black and a white source": (black, white),
        "constant sources": (black + 0.25, black + 0.5),
        "binary sources": (binary, 1 - binary),
        "one image twice": (sources[0], sources[0]),
    }.items():
        _check_range(subject, what, _fuse(subject, module, pair))


def _check_maps(subject: str, module: Fuser, sources: tuple[Tensor, ...]) -> None:
    """What :meth:`Fuser.maps` gives can be shown: named for a file, one channel, of the sources' size, in [0, 1]."""
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
    views = [source[..., ::2, 1::2] for source in sources]
    copies = [view.clone(memory_format=torch.contiguous_format) for view in views]
    remedy = "take strided views: use reshape in place of view, or call contiguous()"
    one, other = _fuse(subject, module, views, remedy=remedy), _fuse(subject, module, copies)
    what = "sources that are strided views give another image than their copies"
    require_close(subject, what, one, other, 1e-9, remedy)


def _check_second_derivatives(subject: str, module: Fuser, sources: tuple[Tensor, ...]) -> Notes:
    """Either forward-mode AD, right, or a gradient that can be differentiated again."""
    weights = trainable(module)
    generator = torch.Generator().manual_seed(1)
    along = {n: torch.randn(p.shape, generator=generator, dtype=p.dtype) for n, p in weights.items()}
    fixed = {n: torch.zeros_like(p) for n, p in module.named_parameters() if n not in along}
    if supports_forward_mode(module, sources):
        tangent = fused_tangent(module, {**along, **fixed}, sources)
        fused = module(*sources)
        toward = torch.randn(fused.shape, generator=generator, dtype=fused.dtype)
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
