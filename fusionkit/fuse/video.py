"""Fuses videos frame by frame: matched by time, with one transform and one range for the clip, without flicker."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fusionkit.errors import DataError, FusionNote, UsageError
from fusionkit.fuse.adapter import check_size, plan_calls
from fusionkit.fuse.aligning import Aligning
from fusionkit.fuse.model import Model
from fusionkit.fuse.offset_note import SCENES, note_offset
from fusionkit.fuse.reading import Reading
from fusionkit.fuse.series_stretch import ClipStretch
from fusionkit.io.images import Image, as_pixels
from fusionkit.io.ranges import FULL, Range, Sampled
from fusionkit.io.videos import Frame, Video, VideoWriter, check_video_target

__all__ = ["VideoPlan", "fuse_videos"]

SAMPLES = 10
"""Frames at equal distances that the range and the alignment of a clip are found from."""


@dataclass(frozen=True)
class VideoPlan:
    """Videos to fuse into one.

    Attributes:
        sources: the videos, in the task's order.
        target: ``.mp4``, ``.mov`` or ``.mkv``.
        reading: how frames are read; a range is found once for the clip.
        aligning: how sources are aligned, by one transform for the clip; or None.
        lossless: write without loss, ``.mkv`` alone.
        force: replace an existing result.
        look_for_shift: say so if the sources are shifted against each other.
    """

    sources: tuple[Path, ...]
    target: Path
    reading: Reading = field(default_factory=Reading)
    aligning: Aligning | None = None
    lossless: bool = False
    force: bool = False
    look_for_shift: bool = False


def fuse_videos(
    model: Model, plan: VideoPlan, *, report: Callable[[str, int, int], None] | None = None
) -> tuple[int, float]:
    """Fuse videos into one, whose frames have the times of the source with the most frames per second.

    Each frame is fused with the frame of every other source that is nearest in time, counted from the first frame of
    each. The result ends with the shortest source. Sound is copied from the first source that has some.
    KeyboardInterrupt leaves a video that ends there.

    Args:
        model: what to fuse with; its stretch follows the clip slowly, see
            :class:`fusionkit.fuse.series_stretch.ClipStretch`.
        plan: what to fuse.
        report: called after every frame.

    Returns:
        Number of frames, and their time in seconds.

    Raises:
        fusionkit.errors.UsageError: fewer than two sources, a target that is there or cannot hold a video, a number of
            sources that the model does not take, or no PyAV.
        fusionkit.errors.DataError: a video cannot be read to its end, sizes differ and nothing aligns them, an
            alignment that is not confident, or a result that cannot be written; no file is left.

    Warns:
        FusionNote: frame rates or lengths differ, a range was stretched, sides were made even, sound is left out.
    """
    _check_target(plan)
    videos = [Video(path) for path in plan.sources]
    if len(videos) < 2:
        raise UsageError(f"two or more videos are needed to fuse, got {len(videos)}")
    plan_calls(model.fuser.capabilities, len(videos), name=model.name)
    reading, aligning, size = _prepare(model, plan, videos)
    clock = max(range(len(videos)), key=lambda k: videos[k].rate)
    _note_differences(videos, clock)
    sound = next((video for video in videos if video.sound), None)
    total = round(min((video.duration or 0) for video in videos) * videos[clock].rate)
    still = Model(model.fuser, name=model.name, device=model.device, stretch="none", gamut=model.gamut)
    stretch = ClipStretch(model.gamut) if model.stretch == "full" else None
    done, time, filled = 0, 0.0, 0
    with VideoWriter(plan.target, size, rate=videos[clock].rate, sound=sound, lossless=plan.lossless) as writer:
        if writer.padded:
            _note(f"{plan.target.name}: H.264 needs even sides: the last row or column is repeated")
        if writer.sound_left_out:
            _note(f"{plan.target.name}: the sound cannot be copied into it ({writer.sound_left_out})")
        for time, frames in _together(videos, clock):
            images = _images(videos, frames, reading)
            filled += sum(image.filled for image in images)
            if aligning is not None:
                images = aligning.apply(images, aligning.common or aligning.find(images))
            fused = still.fuse(*images, bits=8)
            if stretch is not None:
                fused = replace(fused, tensor=stretch(fused.tensor, time))
            writer.write(Frame(time, fused.image.pixels))
            done += 1
            if report:
                report("fusing", done, max(total, done))
    if filled:
        _note(f"{filled} invalid values are filled")
    return done, time + 1 / videos[clock].rate


def _check_target(plan: VideoPlan) -> None:
    check_video_target(plan.target, lossless=plan.lossless)
    if plan.target.resolve() in {source.resolve() for source in plan.sources}:
        raise UsageError(f"{plan.target}: the result would replace a source; name another place")
    if plan.target.exists() and not plan.force:
        raise UsageError(f"{plan.target}: is there already; name another place, or replace it with --force")


def _prepare(
    model: Model, plan: VideoPlan, videos: Sequence[Video]
) -> tuple[Reading, Aligning | None, tuple[int, int]]:
    """Find the ranges and the transforms of the clip from a few frames, and the size of the result."""
    ends = [video.duration for video in videos if video.duration is not None]
    shortest = min(ends) if ends else 0.0
    times = [shortest * k / SAMPLES for k in range(SAMPLES)] if shortest else [0.0]
    sampled = [video.frames_at(times) for video in videos]
    for video, frames in zip(videos, sampled, strict=True):
        if not frames:
            raise DataError(f"{video.path}: no frame of it can be decoded: get the file again")
    reading = replace(
        plan.reading,
        ranges=tuple(
            _clip_range(video, plan.reading.range_of(place), frames)
            for place, (video, frames) in enumerate(zip(videos, sampled, strict=True))
        ),
    )
    scenes = [_images(videos, frames, reading) for frames in zip(*sampled, strict=False)]
    aligning = plan.aligning
    if aligning is not None:
        aligning = replace(aligning, scope="folder").over(scenes, lambda images: images)
        reference = scenes[0][aligning.reference]
    else:
        reference = scenes[0][0]
        if len({image.size for image in scenes[0]}) > 1:
            listed = ", ".join(f"{image.name} {image.size}" for image in scenes[0])
            raise DataError(f"sources differ in size ({listed}): --align or --resize brings them to one")
        if plan.look_for_shift:
            note_offset(scenes[:: max(len(scenes) // SCENES, 1)], task=model.task or "")
    height, width = reference.pixels.shape[:2]
    check_size(model.fuser, (height, width), name=model.name, image=reference.name)
    return reading, aligning, (height, width)


def _clip_range(video: Video, rule: Range, frames: Sequence[Frame]) -> Range:
    if rule.kind in ("full", "fixed"):
        return rule
    values = Sampled()
    for frame in frames:
        values.add(frame.pixels)
    try:
        limits = rule.limits(values)
    except DataError as error:
        raise DataError(f"{video.path}: {error}") from None
    if limits is None:
        return FULL
    _note(f"{video.path.name}: {limits[0]:g} to {limits[1]:g} are scaled to 0..1 in the whole clip")
    return Range("fixed", *limits, text=rule.text)


def _images(videos: Sequence[Video], frames: Sequence[Frame], reading: Reading) -> list[Image]:
    images = []
    for place, (video, frame) in enumerate(zip(videos, frames, strict=True)):
        name = f"{video.path.name} at {frame.time:.2f} s"
        pixels, limits, filled = as_pixels(
            frame.pixels, values=reading.range_of(place), fill=reading.fill_invalid, name=name
        )
        images.append(Image(pixels, name=name, limits=limits, filled=filled))
    return images


def _together(videos: Sequence[Video], clock: int) -> Iterator[tuple[float, list[Frame]]]:
    """Frames of the clock with the nearest ones of the other videos, until one of them ends."""
    streams = [_Nearest(video) for video in videos]
    for frame in videos[clock].frames():
        found = [frame if k == clock else stream.at(frame.time) for k, stream in enumerate(streams)]
        frames = [one for one in found if one is not None]
        if len(frames) < len(found):
            return
        yield frame.time, frames


class _Nearest:
    """Gives the frame of a video that is nearest to a time, for times that grow; None after its end."""

    def __init__(self, video: Video) -> None:
        self._frames = video.frames()
        self._interval = 1 / video.rate
        self._before: Frame | None = None
        self._after: Frame | None = None

    def at(self, time: float) -> Frame | None:
        while self._after is None or self._after.time < time:
            following = next(self._frames, None)
            if following is None:
                last = self._after or self._before
                return last if last is not None and time < last.time + self._interval - 1e-6 else None
            self._before, self._after = self._after, following
        if self._before is not None and time - self._before.time < self._after.time - time:
            return self._before
        return self._after


def _note_differences(videos: Sequence[Video], clock: int) -> None:
    rates = {round(video.rate, 2) for video in videos}
    if len(rates) > 1:
        listed = ", ".join(f"{video.path.name} {video.rate:.4g}" for video in videos)
        _note(f"frame rates differ ({listed}): the result has the frames of {videos[clock].path.name}")
    known = [video for video in videos if video.duration is not None]
    ends = [video.duration for video in known if video.duration is not None]
    if len(ends) > 1 and max(ends) - min(ends) > 1 / min(video.rate for video in videos):
        listed = ", ".join(f"{video.path.name} {video.duration:.2f} s" for video in known)
        _note(f"lengths differ ({listed}): the result ends with the shortest")


def _note(text: str) -> None:
    warnings.warn(text, FusionNote, stacklevel=3)
