"""Multi-focus fusion of any number of sources by selection: every pixel is taken from one source, except at seams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from fusionkit.contracts import Capabilities, Fuser
from fusionkit_classical.focus_decision import Decision, Draft, GuidedMask, Labels, Plane, fill_regions, misfit, vote
from fusionkit_classical.method import FLOATING, check_sources
from fusionkit_classical.options import Deviation, Levels, Positive, Radius, Share

__all__ = ["FocusSelect", "FocusSelectConfig"]

_GREY = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class FocusSelectConfig:
    """Options of :class:`FocusSelect`.

    Attributes:
        levels: number of halvings of the draft's pyramid; coarser differences of the sources are not looked at.
        sigma: standard deviation of the Gaussian that gathers the energy of a level of the draft, in its pixels.
        spread: standard deviation in pixels of the Gaussian that gathers a source's difference from the draft.
        tail: number of halvings by which the difference is spread further.
        falloff: weight of each of these halvings relative to the finer one, 0 to 1.
        vote: standard deviation in pixels of the window in which pixels vote by confidence; 0 for no vote.
        smallest_region: regions smaller than this part of the image are small, 0 to 1.
        tolerance: a small region stays if another source there is farther from the draft by this part of white.
        radius: window radius in pixels of the guided filter on the decision; 0 for a hard seam.
        epsilon: its epsilon, a variance of images in [0, 1].
    """

    levels: Levels = 3
    sigma: Positive = 2.0
    spread: Positive = 2.5
    tail: Levels = 6
    falloff: Share = 0.2
    vote: Deviation = 2.0
    smallest_region: Share = 0.03
    tolerance: Share = 0.02
    radius: Radius = 3
    epsilon: Positive = 0.01

    REMOVED: ClassVar[Mapping[str, tuple[Any, str]]] = {
        "window": (None, "detail is now that of a Laplacian pyramid: see the option levels"),
        "sure": (None, "a small region is now kept for what filling it would cost: see the option tolerance"),
    }


class FocusSelect(Fuser):
    """Multi-focus fusion by selection: takes each pixel from the source that is in focus there, blended at seams only.

        D = Laplacian pyramid fusion of all I_k but for its coarsest level
        C_k = (I_k - D)^2, again but for the coarsest level, gathered around each pixel
        T = argmin_k C_k, put to the vote, small regions filled where it costs next to nothing
        W_k = GF([T = k]; I_T),   F = sum_k W_k I_k / sum_k W_k

    The draft D knows which source is in focus on every scale: a light out of focus is no disc in it. It is not exact,
    since its levels come from several sources; the pixels of the source nearest to it are. Colour is selected with the
    luminance, so a pixel keeps its source's colour, and brightness is never changed.

    Any number of sources, in float32; each is looked up three times and none is kept. Sources that tie
    leave a pixel to the first; of equal sources it returns them.

    Source: the project's own; the refinement by the guided filter follows Li, Kang, Hu, "Image Fusion with Guided
    Filtering", IEEE Trans. Image Processing 22(7), 2013.
    """

    Config = FocusSelectConfig
    config: FocusSelectConfig
    capabilities = Capabilities(dtypes=FLOATING, max_sources=None)
    space = "rgb"
    tasks = ("mfif",)
    default_for: ClassVar[tuple[str, ...]] = ("mfif",)
    reference = "fusionkit; its refinement: Li, Kang, Hu, IEEE Trans. Image Processing 22(7), 2013"

    def forward(self, *sources: Tensor) -> Tensor:
        """Fuse sources ``(B, C, H, W)`` in [0, 1], C 1 or 3, into one image of the same shape."""
        check_sources(sources)
        return self.fuse_stream(sources)

    def fuse_stream(self, sources: Sequence[Tensor]) -> Tensor:
        """Fuse sources that are read when they are looked up; each is looked up three times, in order."""
        masks = [self._mask(labels, guide) for labels, guide, _ in self._decide(sources)]
        fused = totals = like = torch.empty(0)
        for k in range(len(sources)):
            source = sources[k]
            if k == 0:
                like = source.new_empty(0)
                fused = torch.zeros(source.shape, dtype=_working(source), device="cpu")
                totals = torch.zeros((source.shape[0], *source.shape[2:]), dtype=fused.dtype)
            pixels = source.detach().to("cpu", fused.dtype)
            del source  # one source is in memory at a time
            for sample, mask in enumerate(masks):
                if (found := mask.weight(k)) is None:
                    continue
                (rows, columns), values = found
                weight = torch.from_numpy(values).to(fused.dtype)
                fused[sample, :, rows, columns].addcmul_(weight, pixels[sample, :, rows, columns])
                totals[sample, rows, columns] += weight
            del pixels
        return fused.div_(totals[:, None]).clamp_(0, 1).to(like)

    def maps(self, *sources: Tensor) -> Mapping[str, Tensor]:
        """Compute the weight of each source, its number as a part of the last one's, and the confidence of the choice.

        ``index`` is ``k / (S - 1)`` of the chosen source; ``confidence`` is ``(second - best) / (second + best)`` of
        the two least costs, 0 where nothing tells the sources apart.
        """
        check_sources(sources)
        decided = self._decide(sources)
        weights = [torch.zeros_like(sources[0][:, :1], dtype=torch.float32, device="cpu") for _ in sources]
        for sample, (labels, guide, _) in enumerate(decided):
            mask = self._mask(labels, guide)
            for k, weight in enumerate(weights):
                if (found := mask.weight(k)) is not None:
                    (rows, columns), values = found
                    weight[sample, 0, rows, columns] = torch.from_numpy(values)
        total = torch.stack(weights).sum(0)
        shown = {f"w_{chr(ord('a') + k)}": weight / total for k, weight in enumerate(weights[:26])}
        if len(sources) == 2:
            del shown["w_b"]
        numbers = np.stack([labels for labels, _, _ in decided]).astype(np.float32) / (len(sources) - 1)
        shown["index"] = torch.from_numpy(numbers)[:, None]
        shown["confidence"] = torch.from_numpy(np.stack([confidence for _, _, confidence in decided]))[:, None]
        return {name: image.to(sources[0]) for name, image in shown.items()}

    def _decide(self, sources: Sequence[Tensor]) -> list[tuple[Labels, Plane, Plane]]:
        """Decide every sample: the number of its source at each pixel, the luminance there, and the confidence."""
        c = self.config
        drafts: list[Draft] = []
        for k in range(len(sources)):
            for sample, image in enumerate(_luminance(sources[k])):
                if not k:
                    drafts.append(Draft(levels=c.levels, sigma=c.sigma))
                drafts[sample].add(image)
        expected = [draft.image() for draft in drafts]
        decisions = [Decision() for _ in expected]
        for k in range(len(sources)):
            for image, draft, decision in zip(_luminance(sources[k]), expected, decisions, strict=True):
                decision.add(misfit(image, draft, levels=c.levels, spread=c.spread, tail=c.tail, falloff=c.falloff))
        return [
            self._refine(decision, draft, len(sources)) for decision, draft in zip(decisions, expected, strict=True)
        ]

    def _refine(self, decision: Decision, draft: Plane, count: int) -> tuple[Labels, Plane, Plane]:
        c, confidence = self.config, decision.confidence()
        labels = vote(decision.labels, confidence, count=count, sigma=c.vote)
        area = c.smallest_region * labels.size
        return fill_regions(labels, decision.coarse, area=area, tolerance=c.tolerance), draft, confidence

    def _mask(self, labels: Labels, guide: Plane) -> GuidedMask:
        return GuidedMask(labels, guide, radius=self.config.radius, epsilon=self.config.epsilon)


def _working(source: Tensor) -> torch.dtype:
    return torch.float64 if source.dtype == torch.float64 else torch.float32


def _luminance(source: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """The luminance of a source ``(B, C, H, W)`` as ``(B, H, W)``; the mean of other numbers of channels than 3."""
    image = source.detach().to("cpu", torch.float32)
    if image.shape[1] == 3:
        red, green, blue = image.unbind(1)
        grey = (_GREY[0] * red).add_(green, alpha=_GREY[1]).add_(blue, alpha=_GREY[2])
    else:
        grey = image.mean(1)
    return np.ascontiguousarray(grey.numpy())
