"""Tests an OuterLoss or a Reconstructor against its contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from fusionkit.contracts import Batch, OuterLoss, Reconstructor
from fusionkit.runtime.parameters import trainable
from fusionkit.runtime.precision import float32_products
from fusionkit.testing.examples import example_sources
from fusionkit.testing.fuser_checks import SIZES
from fusionkit.testing.module_checks import build, check_gradient, check_weights_file
from fusionkit.testing.rules import (
    Notes,
    fail,
    place_of,
    require,
    require_close,
    require_same,
    require_terms,
)


def check_outer_loss(
    outer_loss: type[OuterLoss] | OuterLoss,
    *,
    batch: Batch | None = None,
    channels: int = 1,
    device: torch.device | str = "cpu",
) -> Notes:
    """Check that an outer loss keeps its contract: a finite loss, correct gradients, weights that survive a file.

    Args:
        outer_loss: the class, tried with its default options, or an instance with others, which is not changed.
        batch: a small batch on ``device`` with the targets that it needs; without one it is tried on sources alone.
        channels: 1 for luminance, 3 for RGB; where no batch is given.
        device: where to run it, such as what the pytest fixture ``fusionkit_device`` gives.

    Raises:
        AssertionError: a rule is broken; the message says which and what to do.
        unittest.SkipTest: ``device`` is a CUDA device and there is none here.
    """
    place = place_of(device)
    subject, module, another = build(outer_loss, OuterLoss, place)
    given = batch or Batch(example_sources((6, 7), batch=2, channels=channels, device=place))
    with float32_products():
        check_loss(subject, module, another, given, separable=batch is None)
    return ()


def check_reconstructor(
    reconstructor: type[Reconstructor] | Reconstructor,
    *,
    count: int = 2,
    channels: int = 1,
    sizes: Sequence[tuple[int, int]] = SIZES,
    device: torch.device | str = "cpu",
) -> Notes:
    """Check that a reconstructor keeps its contract: one image per source, and that of an outer loss.

    Args:
        reconstructor: the class, tried with its default options, or an instance with others, which is not changed.
        count: sources that it rebuilds.
        channels: 1 for luminance, 3 for RGB.
        sizes: heights and widths to try.
        device: where to run it, such as what the pytest fixture ``fusionkit_device`` gives.

    Raises:
        AssertionError: a rule is broken; the message says which and what to do.
        unittest.SkipTest: ``device`` is a CUDA device and there is none here.
    """
    place = place_of(device)
    subject, module, another = build(reconstructor, Reconstructor, place)
    with float32_products():
        for size in sizes:
            for dtype in (torch.float32, torch.float64):
                (fused,) = example_sources(size, count=1, batch=2, channels=channels, dtype=dtype, device=place)
                _check_rebuilt(subject, module.to(dtype), fused, count)
        sources = example_sources((6, 7), count=count, batch=2, channels=channels, device=place)
        check_loss(subject, module, another, Batch(sources))
    return ()


def _check_rebuilt(subject: str, module: Reconstructor, fused: Tensor, count: int) -> None:
    kept = fused.clone()
    try:
        with torch.no_grad():
            rebuilt, again = module(fused), module(fused)
            singles = [module(fused[k : k + 1]) for k in range(len(fused))]
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        fail(subject, f"it fails on a fused image {tuple(fused.shape)} ({reason})", "take any H, W >= 1; pad inside")
    require_same(subject, "it changes the fused image in place", fused, kept, "work on a copy")
    fine = isinstance(rebuilt, tuple) and len(rebuilt) == count
    require(fine, subject, f"it does not return {count} images", "return a tuple of one image per source")
    tolerance = 1e-4 if fused.dtype == torch.float32 else 1e-9
    for k, image in enumerate(rebuilt):
        found = f"source {k} comes back as {image.dtype} {tuple(image.shape)}"
        fits = image.shape == fused.shape and image.dtype == fused.dtype and image.device == fused.device
        require(fits, subject, found, f"make it {fused.dtype} {tuple(fused.shape)}")
        require(bool(torch.isfinite(image).all()), subject, f"source {k} is not finite", "guard divisions and roots")
        require_same(subject, f"two equal calls give other images of source {k}", again[k], image, "keep no state")
        one = torch.cat([each[k] for each in singles])
        what = f"source {k} of a batch is not that of its samples"
        require_close(subject, what, image, one, tolerance, "treat samples apart: no statistics over the batch")


def check_loss(
    subject: str, module: OuterLoss, another: Callable[[], OuterLoss], batch: Batch, *, separable: bool = True
) -> None:
    """Check an outer loss on a batch: finite, the same twice, with correct gradients, and its weights in a file.

    Args:
        subject: what to call it in messages.
        module: the outer loss; it is left in float64.
        another: makes another one of the same options.
        batch: a batch with the targets that it needs.
        separable: whether the batch's loss is the mean of its samples'.
    """
    module.double()
    sources = tuple(source.double() for source in batch.sources)
    batch = Batch(sources, batch.targets)
    fused = torch.stack(sources).mean(0)
    terms = _judge(subject, module, fused, batch)
    require_terms(subject, terms)
    again = _judge(subject, module, fused, batch)["total"]
    require_same(subject, "two equal calls give other losses", again, terms["total"], "draw nothing at random")
    if separable:
        parts = [
            _judge(subject, module, fused[k : k + 1], Batch(tuple(s[k : k + 1] for s in sources)))["total"]
            for k in range(len(fused))
        ]
        what = "the loss of a batch is not the mean of its samples' losses"
        require_close(subject, what, terms["total"], torch.stack(parts).mean(), 1e-8, "average over the batch")

    def of_image(leaf: Mapping[str, Tensor]) -> Tensor:
        return module.loss(leaf["fused image"], batch)["total"]

    exact = not module.assigns_targets
    check_gradient(subject, "the loss", of_image, {"fused image": fused}, exact=exact)
    check_weights_file(subject, module, another, lambda each: [each.loss(fused, batch)["total"]])
    if trainable(module):
        wrapped = _Loss(module)

        def of_weights(weights: Mapping[str, Tensor]) -> Tensor:
            named = {f"outer_loss.{name}": w for name, w in weights.items()}
            total: Tensor = functional_call(wrapped, named, (fused, batch))
            return total

        check_gradient(subject, "the loss", of_weights, trainable(module), exact=exact)


def _judge(subject: str, module: OuterLoss, fused: Tensor, batch: Batch) -> Mapping[str, Tensor]:
    kept = [tensor.clone() for tensor in (fused, *batch.sources)]
    try:
        with torch.no_grad():
            terms = module.loss(fused, batch)
    except (RuntimeError, ValueError, IndexError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        remedy = "pass check_outer_loss a batch with the targets that it needs, or correct it"
        fail(subject, f"its loss fails on {tuple(fused.shape)} {fused.dtype} ({reason})", remedy)
    for tensor, before in zip((fused, *batch.sources), kept, strict=True):
        require_same(subject, "its loss changes its inputs in place", tensor, before, "work on a copy")
    return terms


class _Loss(nn.Module):
    """``outer_loss.loss(...)["total"]`` as a forward, so that ``functional_call`` can run it."""

    def __init__(self, outer_loss: OuterLoss) -> None:
        super().__init__()
        self.outer_loss = outer_loss

    def forward(self, fused: Tensor, batch: Batch) -> Tensor:
        return self.outer_loss.loss(fused, batch)["total"]
