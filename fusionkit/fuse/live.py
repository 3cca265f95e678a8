"""Fuses live streams: the newest frames of all sources, by a fixed transform, without delay."""

from __future__ import annotations

import math
import time
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from threading import Condition
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusionkit.errors import DataError, FusionNote, UsageError
from fusionkit.fuse.adapter import check_size, plan_calls
from fusionkit.fuse.aligning import Aligning
from fusionkit.fuse.model import Model
from fusionkit.fuse.reading import Reading
from fusionkit.fuse.series_stretch import SETTLING, ClipStretch
from fusionkit.io.images import Image, as_pixels
from fusionkit.io.live_streams import LiveFrame, LiveStream
from fusionkit.io.ranges import Range, Sampled
from fusionkit.io.videos import Frame

__all__ = ["LivePlan", "LiveStatus", "fuse_live"]

_AWAKE = 0.1
_STALLED = 1.0
_RECENT = 50


@dataclass(frozen=True)
class LivePlan:
    """Streams to fuse.

    Attributes:
        sources: see :class:`fusionkit.io.live_streams.LiveStream`, in the task's order.
        reading: the ranges of the sources; a range that is found follows the stream slowly.
        aligning: one transform for the run, given or found from the first frames; or None.
        seconds: how long to fuse; until a source ends where None.
        patience: seconds in which every source has to deliver its first frame.
    """

    sources: tuple[str, ...]
    reading: Reading = field(default_factory=Reading)
    aligning: Aligning | None = None
    seconds: float | None = None
    patience: float = 20.0


@dataclass(frozen=True)
class LiveStatus:
    """Speed of a run so far.

    Attributes:
        fused: frames that were fused.
        rate: fused frames per second, of the last 50.
        latency: seconds from the arrival of the newest frame to its fused image, median of the last 50.
        dropped: frames per source that arrived and were not fused.
        stalled: sources that have delivered nothing for a second.
    """

    fused: int
    rate: float
    latency: float
    dropped: tuple[int, ...]
    stalled: tuple[str, ...]


def fuse_live(
    model: Model,
    plan: LivePlan,
    show: Callable[[Frame], bool],
    *,
    report: Callable[[LiveStatus], None] | None = None,
) -> LiveStatus:
    """Fuse the newest frames of live streams until one ends.

    Whenever the stream with the most frames per second has a new frame, it is fused with the newest frames of the
    others; while it stalls, any new frame is. Frames that arrive meanwhile are dropped, so that the fused picture is
    never later than one fusing takes. A source that stalls is shown as it was, with a note, and taken up when it goes
    on.

    Args:
        model: what to fuse with. Its stretch follows slowly, see :class:`fusionkit.fuse.series_stretch.ClipStretch`.
        plan: what to fuse.
        show: called with every fused frame, ``(H, W, C)`` uint8, and the seconds since the first; False ends the run.
        report: called about once a second.

    Returns:
        The speed at the end.

    Raises:
        fusionkit.errors.UsageError: fewer than two sources, or a number that the model does not take, or no PyAV.
        fusionkit.errors.DataError: a source cannot be read or does not begin, sizes differ and nothing aligns them, or
            an alignment that is not confident.

    Warns:
        FusionNote: a source stalls, goes on, or ends.
    """
    if len(plan.sources) < 2:
        raise UsageError(f"two or more sources are needed to fuse, got {len(plan.sources)}")
    plan_calls(model.fuser.capabilities, len(plan.sources), name=model.name)
    news = Condition()
    with ExitStack() as stack:
        streams = [stack.enter_context(LiveStream(source, news)) for source in plan.sources]
        _wait_for_first(streams, news, plan.patience)
        return _Run(model, plan, streams, news).go(show, report)


def _wait_for_first(streams: Sequence[LiveStream], news: Condition, patience: float) -> None:
    until = time.monotonic() + patience
    with news:
        while not all(stream.newest for stream in streams):
            for stream in streams:
                if stream.ended and stream.newest is None:
                    why = stream.fault or "it holds no frame"
                    raise DataError(f"{stream.source}: cannot be read ({why}): check that it plays elsewhere")
            if time.monotonic() > until:
                late = [stream for stream in streams if stream.newest is None]
                names = ", ".join(stream.source for stream in late)
                why = next((f" ({stream.fault})" for stream in late if stream.fault), "")
                raise DataError(f"{names}: no frame in {patience:g} s{why}: check that it sends")
            news.wait(_AWAKE)


class _Run:
    def __init__(self, model: Model, plan: LivePlan, streams: Sequence[LiveStream], news: Condition) -> None:
        self.plan, self.streams, self.news = plan, streams, news
        # Range and stretch follow in time, so the model itself leaves values as they are.
        self.still = Model(model.fuser, name=model.name, device=model.device, stretch="none", gamut=model.gamut)
        self.stretch = ClipStretch(model.gamut) if model.stretch == "full" else None
        self.ranges = [_FollowedRange(plan.reading.range_of(place)) for place in range(len(streams))]
        self.began = time.monotonic()
        images = self._images([_newest(stream) for stream in streams])
        self.aligning = plan.aligning
        if self.aligning is not None:
            self.aligning = replace(self.aligning, scope="folder").over([images], lambda one: one)
            images = list(self.aligning.apply(images, self.aligning.common or self.aligning.find(images)))
        if len({image.size for image in images}) > 1:
            listed = ", ".join(f"{image.name} {image.size}" for image in images)
            raise DataError(f"sources differ in size ({listed}): --transform, --align or --resize brings them to one")
        check_size(model.fuser, images[0].pixels.shape[:2], name=model.name, image=images[0].name)
        self.used = [0] * len(streams)
        self.dropped = [0] * len(streams)
        self.fused = 0
        self.moments: deque[float] = deque(maxlen=_RECENT)
        self.latencies: deque[float] = deque(maxlen=_RECENT)
        self.stalled: set[str] = set()
        # Among equally fast streams the first leads.
        self.leader = max(range(len(streams)), key=lambda place: (round(streams[place].rate, 1), -place))

    def go(self, show: Callable[[Frame], bool], report: Callable[[LiveStatus], None] | None) -> LiveStatus:
        reported = self.began
        while (frames := self._next()) is not None:
            for place, live in enumerate(frames):
                self.dropped[place] += max(live.number - self.used[place] - 1, 0) if self.used[place] else 0
                self.used[place] = live.number
            pixels = self._fuse(frames)
            done = time.monotonic()
            self.fused += 1
            self.moments.append(done)
            self.latencies.append(done - max(live.arrived for live in frames))
            if not show(Frame(done - self.began, pixels)):
                break
            if report and done - reported >= 1:
                report(self.status())
                reported = done
        return self.status()

    def status(self) -> LiveStatus:
        spans = self.moments[-1] - self.moments[0] if len(self.moments) > 1 else 0.0
        return LiveStatus(
            self.fused,
            (len(self.moments) - 1) / spans if spans else 0.0,
            float(np.median(self.latencies)) if self.latencies else 0.0,
            tuple(self.dropped),
            tuple(sorted(self.stalled)),
        )

    def _next(self) -> list[LiveFrame] | None:
        """Wait for new frames; None where the run is over."""
        with self.news:
            while True:
                self._note_stalls()
                if self.plan.seconds is not None and time.monotonic() - self.began >= self.plan.seconds:
                    return None
                newest = [_newest(stream) for stream in self.streams]
                fresh = [live.number > used for live, used in zip(newest, self.used, strict=True)]
                if fresh[self.leader] or (any(fresh) and self.streams[self.leader].source in self.stalled):
                    return newest
                if any(stream.ended for stream in self.streams):
                    for stream in self.streams:
                        if stream.ended:
                            _note(f"{stream.source}: has ended{f' ({stream.fault})' if stream.fault else ''}")
                    return None
                self.news.wait(_AWAKE)

    def _note_stalls(self) -> None:
        now = time.monotonic()
        for stream in self.streams:
            silent = now - _newest(stream).arrived
            if silent > _STALLED and stream.source not in self.stalled and not stream.ended:
                self.stalled.add(stream.source)
                _note(f"{stream.source}: no frame for {silent:.1f} s; its last one is shown until it goes on")
            elif silent < _STALLED and stream.source in self.stalled:
                self.stalled.discard(stream.source)
                _note(f"{stream.source}: goes on, after frame {_newest(stream).number - 1}")

    def _images(self, frames: Sequence[LiveFrame]) -> list[Image]:
        images = []
        for place, live in enumerate(frames):
            rule = self.ranges[place].at(live)
            name = self.plan.sources[place]
            pixels, limits, filled = as_pixels(
                live.frame.pixels, values=rule, fill=self.plan.reading.fill_invalid, name=name
            )
            images.append(Image(pixels, name=name, limits=limits, filled=filled))
        return images

    def _fuse(self, frames: Sequence[LiveFrame]) -> NDArray[Any]:
        images = self._images(frames)
        if self.aligning is not None:
            images = list(self.aligning.apply(images, self.aligning.common or self.aligning.find(images)))
        fused = self.still.fuse(*images, bits=8)
        if self.stretch is not None:
            fused = replace(fused, tensor=self.stretch(fused.tensor, time.monotonic() - self.began))
        return fused.image.pixels


class _FollowedRange:
    """A range that is found follows the stream as :class:`fusionkit.fuse.series_stretch.ClipStretch` does."""

    def __init__(self, rule: Range) -> None:
        self._rule = rule
        self._limits: tuple[float, float] | None = None
        self._at = 0.0

    def at(self, live: LiveFrame) -> Range:
        if self._rule.kind in ("full", "fixed"):
            return self._rule
        try:
            limits = self._rule.limits(Sampled().add(live.frame.pixels))
        except DataError:
            # A frame of one value, as of a closed shutter, says nothing about the range.
            limits = self._limits
        if limits is None:
            return Range("full", text=self._rule.text)
        if self._limits is not None:
            share = 1 - math.exp(-max(live.arrived - self._at, 0.0) / SETTLING)
            low, high = (old + share * (new - old) for old, new in zip(self._limits, limits, strict=True))
            limits = low, high
        self._limits, self._at = limits, live.arrived
        return Range("fixed", *limits, text=self._rule.text)


def _newest(stream: LiveStream) -> LiveFrame:
    assert stream.newest is not None
    return stream.newest


def _note(text: str) -> None:
    warnings.warn(text, FusionNote, stacklevel=3)
