"""Tests a Downstream outer loss against its contract."""

from __future__ import annotations

import typing
from collections.abc import Sequence

import torch
from torch import Tensor

from fusionkit.contracts import Batch, Downstream
from fusionkit.contracts.label_types import IGNORE, Boxes, LabelKind
from fusionkit.runtime.precision import float32_products
from fusionkit.testing.examples import EXAMPLE_CLASSES, example_labels, example_sources
from fusionkit.testing.outer_loss_checks import check_loss
from fusionkit.testing.rules import (
    Notes,
    check_config,
    fail,
    place_of,
    require,
    require_close,
    require_same,
    require_terms,
)

Predictions = Tensor | tuple[Boxes, ...]


def check_downstream(
    outer_loss: type[Downstream] | Downstream,
    *,
    classes: Sequence[str] = EXAMPLE_CLASSES,
    size: tuple[int, int] = (64, 96),
    device: torch.device | str = "cpu",
) -> Notes:
    """Check that a downstream network keeps its contract: its loss on labelled images, and predictions that fit.

    Args:
        outer_loss: the class, tried with its default options, or an instance with others, which is not changed.
        classes: names of the classes that a class is built for.
        size: height and width of the images that it is tried on.
        device: where to run it, such as what the pytest fixture ``fusionkit_device`` gives.

    Raises:
        AssertionError: a rule is broken; the message says which and what to do.
        unittest.SkipTest: ``device`` is a CUDA device and there is none here.
    """
    place = place_of(device)
    kind = outer_loss if isinstance(outer_loss, type) else type(outer_loss)
    subject = f"Downstream {kind.__name__}"
    require(issubclass(kind, Downstream), subject, "it is not a Downstream", "subclass Downstream")
    known = typing.get_args(LabelKind)
    require(kind.kind in known, subject, f"kind is {kind.kind!r}", f"set it to {' or '.join(map(repr, known))}")
    check_config(subject, kind.Config)
    config = kind.Config() if isinstance(outer_loss, type) else outer_loss.config
    names = tuple(classes if isinstance(outer_loss, type) else outer_loss.classes)

    def another() -> Downstream:
        return kind(config, classes=names).to(place)

    module = another()
    if not isinstance(outer_loss, type):
        module.load_state_dict(outer_loss.state_dict())
    remedy = "pass config and classes on to Downstream.__init__"
    require(module.config == config and module.classes == names, subject, "it does not keep them", remedy)
    sources = example_sources(size, batch=2, device=place)
    labels = example_labels(kind.kind, size, batch=2, classes=len(names), device=place)
    with float32_products():
        _check_state(subject, module, sources, labels)
        _check_nothing(subject, module, sources)
        _check_predictions(subject, module, sources[0], len(names))
        check_loss(subject, module, another, _batch(sources, labels), separable=False)
    return ()


def _batch(sources: tuple[Tensor, ...], labels: Sequence[Tensor] | Sequence[Boxes]) -> Batch:
    masks = [label for label in labels if isinstance(label, Tensor)]
    return Batch(sources, torch.stack(masks) if masks else tuple(labels))


def _check_state(
    subject: str, module: Downstream, sources: tuple[Tensor, ...], labels: Sequence[Tensor] | Sequence[Boxes]
) -> None:
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with torch.no_grad():
        module.loss(sources[0], _batch(sources, labels))
        module.predict(sources[0])
    for name, value in module.state_dict().items():
        remedy = "replace batch normalisation: a trial step would leave its running statistics behind"
        require_same(subject, f"a call changes {name!r}", value, before[name], remedy)


def _check_nothing(subject: str, module: Downstream, sources: tuple[Tensor, ...]) -> None:
    """A batch in which nothing is labelled has a finite loss with a finite gradient."""
    fused = sources[0].clone().requires_grad_()
    blank: Tensor | tuple[Boxes, ...]
    if module.kind == "segmentation":
        blank = torch.full((len(fused), *fused.shape[2:]), IGNORE, device=fused.device)
    else:
        corners, ids = fused.new_zeros(0, 4, requires_grad=False), fused.new_zeros(0, dtype=torch.int64)
        blank = tuple(Boxes(corners, ids) for _ in fused)
    terms = module.loss(fused, Batch(sources, blank))
    require_terms(f"{subject}, on images without labels", terms)
    if terms["total"].requires_grad:
        (slope,) = torch.autograd.grad(terms["total"], fused, allow_unused=True)
        finite = slope is None or bool(torch.isfinite(slope).all())
        require(finite, subject, "its gradient is not finite on images without labels", "guard divisions by a count")


def _check_predictions(subject: str, module: Downstream, fused: Tensor, classes: int) -> None:
    kept = fused.clone()
    found = module.predict(fused)
    require_same(subject, "predict changes the fused image in place", fused, kept, "work on a copy")
    _check_fit(subject, module.kind, found, fused, classes)
    singles = [module.predict(fused[k : k + 1]) for k in range(len(fused))]
    remedy = "treat samples apart: no statistics over the batch"
    for k, single in enumerate(singles):
        whole, alone = _sample(found, k), _sample(single, 0)
        what = "what it sees in a batch is not what it sees in the image alone"
        if module.kind == "segmentation":
            require_close(subject, what, whole, alone, 1e-3, remedy)
        else:
            # Rounding may swap boxes of nearly equal scores, and one of them may then suppress another.
            require(_found_again(whole, alone) >= 0.9 and _found_again(alone, whole) >= 0.9, subject, what, remedy)


def _found_again(these: Tensor, those: Tensor) -> float:
    """Share of the rows of ``these`` that ``those`` has, too, to a thousandth of the largest number."""
    if len(these) == 0 or len(those) == 0:
        return float(len(these) == len(those))
    gaps = (these[:, None] - those[None]).abs().amax(2).amin(1)
    return float((gaps <= 1e-3 * these.abs().max()).double().mean())


def _check_fit(subject: str, kind: LabelKind, found: Predictions, fused: Tensor, classes: int) -> None:
    height, width = fused.shape[2:]
    if kind == "segmentation":
        shape = (len(fused), height, width)
        fits = isinstance(found, Tensor) and tuple(found.shape) == shape and found.dtype == torch.int64
        require(fits, subject, "predict does not give class ids", f"return int64 {shape}")
        assert isinstance(found, Tensor)
        low, high = int(found.min()), int(found.max())
        require(low >= 0 and high < classes, subject, f"it gives class ids {low} to {high}", f"keep below {classes}")
        return
    if not isinstance(found, tuple) or len(found) != len(fused) or not all(isinstance(b, Boxes) for b in found):
        fail(subject, "predict does not give boxes", "return a tuple of one Boxes per sample")
    assert not isinstance(found, Tensor)
    for boxes in found:
        count = len(boxes.classes)
        whole = boxes.scores is not None and tuple(boxes.corners.shape) == (count, 4)
        require(whole, subject, "its boxes lack scores or corners", "give (n, 4) corners, (n,) classes, (n,) scores")
        assert boxes.scores is not None
        x0, y0, x1, y1 = boxes.corners.unbind(1)
        inside = bool(((x0 >= 0) & (y0 >= 0) & (x0 < x1) & (y0 < y1) & (x1 <= width) & (y1 <= height)).all())
        require(inside, subject, "a box is empty or leaves the image", "clip boxes and drop what is left empty")
        sure = bool(((boxes.scores >= 0) & (boxes.scores <= 1)).all() and (boxes.scores.diff() <= 0).all())
        require(sure, subject, "its scores are not in [0, 1], highest first", "sort the boxes by score")
        known = bool(((boxes.classes >= 0) & (boxes.classes < classes)).all())
        require(known, subject, "a box has an unknown class", f"keep class ids below {classes}")


def _sample(found: Predictions, k: int) -> Tensor:
    one = found[k]
    return one if isinstance(one, Tensor) else torch.cat((one.corners, one.classes[:, None].to(one.corners)), 1)
