"""Tests a LossProposer against its contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.func import functional_call

from fusionkit.contracts import LossProposer, Proposal
from fusionkit.runtime.parameters import trainable
from fusionkit.runtime.precision import float32_products
from fusionkit.testing.examples import example_sources
from fusionkit.testing.fuser_checks import SIZES
from fusionkit.testing.module_checks import build, check_gradient, check_weights_file, unit
from fusionkit.testing.rules import (
    Notes,
    fail,
    place_of,
    require,
    require_close,
    require_same,
    require_terms,
)
from fusionkit.train.bilevel.hypergradient import derivative_along

Sources = tuple[Tensor, ...]


def check_loss_proposer(
    proposer: type[LossProposer] | LossProposer,
    *,
    count: int = 2,
    channels: int = 1,
    sizes: Sequence[tuple[int, int]] = SIZES,
    device: torch.device | str = "cpu",
) -> Notes:
    """Check that a loss proposer keeps its contract.

    Maps of the sources' size, one channel per source, not negative and summing to 1; a finite loss that is a mean over
    the batch; correct gradients in the parameters and the fused image; where it names a minimiser, an image with a
    smaller loss than the sources and their mean; and, where there is something to learn, the mixed derivative that the
    hypergradient is made of.

    Args:
        proposer: the class, tried with its default options, or an instance with others, which is not changed.
        count: sources that it is made for.
        channels: 1 for luminance, 3 for RGB.
        sizes: heights and widths to try.
        device: where to run it, such as what the pytest fixture ``fusionkit_device`` gives.

    Raises:
        AssertionError: a rule is broken; the message says which and what to do.
        unittest.SkipTest: ``device`` is a CUDA device and there is none here.
    """
    place = place_of(device)
    subject, module, another = build(proposer, LossProposer, place)

    def drawn(size: tuple[int, int], dtype: torch.dtype = torch.float64, batch: int = 2, seed: int = 0) -> Sources:
        return example_sources(size, count=count, batch=batch, channels=channels, dtype=dtype, device=place, seed=seed)

    with float32_products():
        for size in sizes:
            for dtype in (torch.float32, torch.float64):
                _check_results(subject, module.to(dtype), drawn(size, dtype))
        module.double()
        # Large enough that a border taken otherwise than by the loss does not tell.
        _check_minimiser(subject, module, drawn((24, 20), batch=1))
        _check_learning(subject, module, another, drawn((6, 7)), drawn((6, 7), seed=2)[0])
    return ()


def _check_learning(
    subject: str, module: LossProposer, another: Callable[[], LossProposer], sources: Sources, fused: Tensor
) -> None:
    """Derivatives of the loss and of the proposal, and weights that survive a file."""
    _check_loss_gradient(subject, module, sources, fused)
    check_weights_file(subject, module, another, lambda each: list(each(*sources).values()))
    if not trainable(module):
        return

    def proposed(weights: Mapping[str, Tensor]) -> Tensor:
        maps: Proposal = functional_call(module, dict(weights), sources)
        return torch.cat([each.flatten() for each in maps.values()])

    check_gradient(subject, "the proposal", proposed, trainable(module))
    _check_hypergradient(subject, module, sources, fused)


def _check_minimiser(subject: str, module: LossProposer, sources: Sources) -> None:
    leaves = {name: maps.requires_grad_() for name, maps in _propose(subject, module, sources).items()}
    image = module.minimiser(leaves, sources)
    if image is None:
        return
    kind, shape = sources[0].dtype, tuple(sources[0].shape)
    found = f"its minimiser is {image.dtype} {tuple(image.shape)}"
    require(tuple(image.shape) == shape and image.dtype == kind, subject, found, f"make it {kind} {shape}")
    inside = bool(((image >= 0) & (image <= 1)).all())
    require(inside, subject, "its minimiser leaves [0, 1]", "limit it, as a fuser's output is")
    require(image.requires_grad, subject, "its minimiser has no gradient in the proposal", "detach nothing in it")
    with torch.no_grad():
        least = float(module.loss(leaves, image, sources)["total"])
        for other in (*sources, torch.stack(sources).mean(0)):
            more = float(module.loss(leaves, other, sources)["total"])
            said = f"its loss is {least:.6g} at its minimiser and {more:.6g} at another image"
            require(least <= more + 1e-6 * abs(more), subject, said, "return the image with the smallest, or None")


def _propose(subject: str, module: LossProposer, sources: Sequence[Tensor]) -> Proposal:
    kept = [source.clone() for source in sources]
    try:
        with torch.no_grad():
            proposal = module(*sources)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        reason, shape = " ".join(str(error).split())[:200], tuple(sources[0].shape)
        fail(subject, f"it fails on {len(sources)} sources {shape} ({reason})", "take any H, W >= 1; pad inside")
    for k, (source, before) in enumerate(zip(sources, kept, strict=True)):
        require_same(subject, f"it changes source {k} in place", source, before, "work on a copy")
    fine = isinstance(proposal, Mapping) and len(proposal) > 0
    require(fine, subject, f"it returns a {type(proposal).__name__}", "return named maps, {name: (B, S, H, W)}")
    return proposal


def _check_results(subject: str, module: LossProposer, sources: Sources) -> None:
    proposal = _propose(subject, module, sources)
    again = _propose(subject, module, sources)
    batch, _, height, width = sources[0].shape
    tolerance = 1e-5 if sources[0].dtype == torch.float32 else 1e-9
    for name, maps in proposal.items():
        shape = (batch, len(sources), height, width)
        fits = tuple(maps.shape) == shape and maps.dtype == sources[0].dtype and maps.device == sources[0].device
        found = f"the map {name!r} is {maps.dtype} {tuple(maps.shape)}"
        require(fits, subject, found, f"make it {sources[0].dtype} {shape}: one channel per source")
        remedy = "put a softmax over the sources last"
        require(bool((maps >= -tolerance).all()), subject, f"the map {name!r} has negative weights", remedy)
        total = maps.sum(1)
        require_close(subject, f"the map {name!r} does not sum to 1", total, torch.ones_like(total), tolerance, remedy)
        require_same(subject, f"two equal calls give other maps {name!r}", again[name], maps, "keep no state")
    singles = [_propose(subject, module, [s[k : k + 1] for s in sources]) for k in range(batch)]
    remedy = "treat samples apart: no statistics over the batch"
    for name, maps in proposal.items():
        one = torch.cat([each[name] for each in singles])
        what = f"the map {name!r} of a batch is not that of its samples"
        require_close(subject, what, maps, one, 10 * tolerance, remedy)
    with torch.no_grad():
        fused = sources[0].flip(-1)
        terms = module.loss(proposal, fused, sources)
        require_terms(subject, terms)
        require_terms(subject, module.loss(proposal, sources[0], [sources[0]] * len(sources)))
        parts = [
            module.loss(singles[k], fused[k : k + 1], [s[k : k + 1] for s in sources])["total"] for k in range(batch)
        ]
    what = "the loss of a batch is not the mean of its samples' losses"
    require_close(subject, what, terms["total"], torch.stack(parts).mean(), 10 * tolerance, "average over the batch")


def _check_loss_gradient(subject: str, module: LossProposer, sources: Sources, fused: Tensor) -> None:
    with torch.no_grad():
        proposal = {name: maps.clone() for name, maps in module(*sources).items()}

    def loss(leaf: Mapping[str, Tensor]) -> Tensor:
        return module.loss(proposal, leaf["fused image"], sources)["total"]

    check_gradient(subject, "the loss", loss, {"fused image": fused})


def _check_hypergradient(subject: str, module: LossProposer, sources: Sources, fused: Tensor) -> None:
    """The derivative in the parameters of the loss's slope along a direction, against central differences."""
    generator = torch.Generator().manual_seed(3)
    toward = torch.randn(fused.shape, generator=generator, dtype=fused.dtype).to(fused.device)
    weights = {name: p.detach() for name, p in trainable(module).items()}
    # Of length 1 over all weights: a longer step would carry many of them across a kink.
    step = unit({n: torch.randn(p.shape, generator=generator, dtype=p.dtype).to(p.device) for n, p in weights.items()})

    def slope(shift: float) -> Tensor:
        leaf = fused.clone().requires_grad_()
        with torch.no_grad():
            proposal = functional_call(module, {n: w + shift * step[n] for n, w in weights.items()}, sources)
        (gradient,) = torch.autograd.grad(module.loss(proposal, leaf, sources)["total"], leaf)
        return (gradient * toward).sum()

    size = 1e-4
    expected = (slope(size) - slope(-size)) / (2 * size)
    found = "its parameters do not change the gradient of the loss in the fused image: nothing can be learned"
    remedy = "let the proposal weigh terms that contain the fused image"
    require(float(expected.abs()) > 0, subject, found, remedy)
    remedy = "write the loss in torch operations that have forward- and reverse-mode derivatives, without detach"
    try:
        bracket = derivative_along(module, module(*sources), fused, toward, sources)
        leaves = trainable(module)
        gradients = torch.autograd.grad(bracket, list(leaves.values()), allow_unused=True)
    except (RuntimeError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:200]
        fail(subject, f"its loss cannot be differentiated in the fused image and its parameters ({reason})", remedy)
    parts = zip(leaves, gradients, strict=True)
    got = torch.stack([(g * step[name]).sum() for name, g in parts if g is not None]).sum()
    scale = max(float(expected.abs()), 1e-8)
    what = "the hypergradient is not what central differences give, relative to its size"
    require_close(subject, what, got / scale, expected / scale, 1e-3, remedy)
