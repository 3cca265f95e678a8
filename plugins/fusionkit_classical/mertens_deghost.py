"""Exposure fusion of scenes in which something moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, overload

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from fusionkit.contracts import Capabilities, Fuser
from fusionkit.errors import UsageError
from fusionkit_classical.disagreement import Exposure, IntensityMapping, find_disagreement, map_intensities
from fusionkit_classical.mertens import exposure_weights, stream_mertens
from fusionkit_classical.method import FLOATING, check_sources, lettered
from fusionkit_classical.options import Exponent, Positive, Share

__all__ = ["MertensDeghost", "MertensDeghostConfig"]

_CLIPPED = (0.06, 0.94)


@dataclass(frozen=True)
class MertensDeghostConfig:
    """Options of :class:`MertensDeghost`.

    Attributes:
        reference: the exposure that shows where things are: its place, counted from 1, or a letter; ``auto`` takes the
            one with the fewest pixels near black or white; of several the one whose mean is nearest to grey.
        tolerance: difference that counts as disagreement, in standard deviations of the intensities that usually go
            with each other.
        smallest: regions with less certain disagreement than this part of the image are left alone, 0 to 1.
        contrast: exponent of the contrast measure.
        saturation: exponent of the saturation measure.
        exposure: exponent of the well-exposedness measure.
    """

    reference: Annotated[str, Field(pattern=r"^(auto|[a-z]|[1-9][0-9]{0,3})$")] = "auto"
    tolerance: Positive = 2.5
    smallest: Share = 0.0001
    contrast: Exponent = 1.0
    saturation: Exponent = 1.0
    exposure: Exponent = 1.0


class MertensDeghost(Fuser):
    """Exposure fusion without ghosts: what moves is taken from one exposure, the reference; the rest from all.

    The other exposures are examined in the order of their brightness, going out from the reference on either side.
    Each is compared with the one before it:

        T = mapping of intensities from I_{k-1} to I_k,    D_k = where I_k is not T(I_{k-1}),
        I_k <- (1 - D_k) I_k + D_k T(I_{k-1}),

    so that where something moved, every exposure shows what the reference shows, as it would look at its own exposure.
    The result is the exposure fusion (:class:`fusionkit_classical.mertens.Mertens`) of these. Where an exposure agrees
    it is not changed: without motion the result is that of Mertens.

    What cannot be seen cannot be found: where the reference is clipped, any intensity beyond agrees with it, and what
    moves there is seen as the other exposures show it.

    Any number of exposures, in any order, colour or grey; one is in memory at a time, with the reference and the one
    before it. Of equal sources it returns them.

    Source: the mapping after Grossberg, Nayar, IEEE Trans. PAMI 25(11), 2003; the replacement by a mapped reference
    after Zheng, Li, Zhu, Wu, Rahardja, "Hybrid Patching for a Sequence of Differently Exposed Images With Moving
    Objects", IEEE Trans. Image Processing 22(12), 2013; what disagrees is found in the project's own way.
    """

    Config = MertensDeghostConfig
    config: MertensDeghostConfig
    capabilities = Capabilities(dtypes=FLOATING, max_sources=None)
    space = "rgb"
    tasks = ("meif",)
    reference = (
        "Mertens, Kautz, Van Reeth, Pacific Graphics 2007; moving things after Zheng et al., IEEE Trans. Image "
        "Processing 22(12), 2013"
    )

    def forward(self, *sources: Tensor) -> Tensor:
        """Fuse exposures ``(B, C, H, W)`` in [0, 1], C 3 (RGB) or 1 (grey), into one image of the same shape."""
        check_sources(sources)
        return self.fuse_stream(sources)

    @torch.no_grad()  # what is found has no gradient
    def fuse_stream(self, sources: Sequence[Tensor]) -> Tensor:
        """Fuse exposures that are read when they are looked up: each three times, the reference once more."""
        c, first = self.config, sources[0]
        like, batch = first.new_empty(0), first.shape[0]
        del first
        exponents = {"contrast": c.contrast, "saturation": c.saturation, "exposure": c.exposure}
        fused = [stream_mertens(self._reconciled(sources, sample), **exponents) for sample in range(batch)]
        return torch.cat(fused).clamp(0, 1).to(like)

    @torch.no_grad()
    def maps(self, *sources: Tensor) -> Mapping[str, Tensor]:
        """Compute the weight of each exposure, and ``moving``: where some exposure gave way to the reference."""
        check_sources(sources)
        c = self.config
        found = []
        for sample in range(sources[0].shape[0]):
            reconciled = self._reconciled(sources, sample)
            stack = torch.stack(list(reconciled))
            weights = exposure_weights(stack, contrast=c.contrast, saturation=c.saturation, exposure=c.exposure)
            kept = torch.from_numpy(np.stack(reconciled.replaced))[:, None, None].to(weights)
            own = weights * (1 - kept)
            own[0] += (weights * kept).sum(0)
            inverse = torch.tensor(reconciled.order).argsort()
            found.append((own[inverse], kept.amax(0)))
        weights = torch.cat([each for each, _ in found], 1)
        shown = {**lettered("w", weights), "moving": torch.cat([moving for _, moving in found])}
        return {name: image.clamp(0, 1).to(sources[0]) for name, image in shown.items()}

    def _reconciled(self, sources: Sequence[Tensor], sample: int) -> _ReconciledExposures:
        return _ReconciledExposures(sources, sample, self.config)


class _ReconciledExposures(Sequence[Tensor]):
    """Exposures of one sample that all show what the reference shows: reference first, then brighter, then darker ones.

    They are looked up from the first to the last, any number of times.

    Attributes:
        order: place of each exposure among the sources.
        replaced: where each exposure is replaced, ``(H, W)``; as many as were looked up.
    """

    def __init__(self, sources: Sequence[Tensor], sample: int, config: MertensDeghostConfig) -> None:
        self._sources, self._sample, self._config = sources, sample, config
        usable, bright = [], []
        for k in range(len(sources)):
            image = self._read(k)
            usable.append(float(((image > _CLIPPED[0]) & (image < _CLIPPED[1])).mean()))
            bright.append(float(image.mean()))
        reference = _place(config.reference, len(sources))
        if reference is None:
            reference = max(range(len(usable)), key=lambda k: (usable[k], -abs(bright[k] - 0.5), -bright[k]))
        rank = sorted(range(len(bright)), key=lambda k: (bright[k], k))
        here = rank.index(reference)
        self.order = [reference, *rank[here + 1 :], *reversed(rank[:here])]
        self._brighter = len(rank) - here - 1
        self.replaced: list[Exposure] = []
        self._mappings: list[IntensityMapping | None] = []
        self._previous: Exposure = np.empty(0, np.float32)

    def _read(self, k: int) -> Exposure:
        image = self._sources[k][self._sample].detach().to("cpu", torch.float32)
        return np.ascontiguousarray(image.numpy())

    def __len__(self) -> int:
        return len(self.order)

    @overload
    def __getitem__(self, k: int) -> Tensor: ...

    @overload
    def __getitem__(self, k: slice) -> list[Tensor]: ...

    def __getitem__(self, k: int | slice) -> Tensor | list[Tensor]:
        if isinstance(k, slice):
            return [self[place] for place in range(len(self))[k]]
        image = self._read(self.order[k])
        if k == 0:
            if not self.replaced:
                self.replaced.append(np.zeros(image.shape[1:], np.float32))
                self._mappings.append(None)
        else:
            # The darker ones begin from the reference again.
            before = self._read(self.order[0]) if k == self._brighter + 1 else self._previous
            image = self._reconcile(k, before, image)
        self._previous = image
        return torch.from_numpy(image)[None].double()

    def _reconcile(self, k: int, before: Exposure, image: Exposure) -> Exposure:
        if k == len(self.replaced):
            c = self._config
            mapping = map_intensities(before, image)
            part = find_disagreement(before, image, mapping, tolerance=c.tolerance, smallest=c.smallest)
            self._mappings.append(mapping if part.any() else None)
            self.replaced.append(part)
        known = self._mappings[k]
        return image if known is None else image + self.replaced[k] * (known.apply(before) - image)


def _place(text: str, count: int) -> int | None:
    """The place of the reference, counted from 0; None where it is to be chosen."""
    if text == "auto":
        return None
    place = int(text) - 1 if text.isdigit() else ord(text) - ord("a")
    if place >= count:
        raise UsageError(f"reference {text}: there are {count} exposures")
    return place
